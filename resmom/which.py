"""Which of a run's networks is meant: words of options, files and results. Without torch, so that all may use them."""

from typing import Literal

Network = Literal["student", "teacher"]
Which = Literal["student", "teacher", "both"]
