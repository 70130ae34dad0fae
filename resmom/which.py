"""Which of a run's networks is meant: words of options, files and results. Without torch, so that all may use them."""

from typing import Literal

Network = Literal["student", "teacher"]
Which = Literal["student", "teacher", "both"]
Alone = Literal["init", "random", "given"]
"""What weights without a run are called: those of a file, random ones, and a module's as it was given in Python."""

UNLEARNED = ("raw pixels", "normalised pixels", "random init", "before training")
"""What stands in the place of a network where features that cost nothing are measured, as a floor."""
