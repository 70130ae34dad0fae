"""Which network is meant, where it is read and in which form it is exported: words of options, files and results.

Without torch, so that all may use them.
"""

from typing import Literal

Network = Literal["student", "teacher"]
Which = Literal["student", "teacher", "both"]
Alone = Literal["init", "random", "given"]
"""What weights without a run are called: those of a file, random ones, and a module's as it was given in Python."""

Site = Literal["h", "z", "p", "logits"]
"""Where a network is read: representation (what is kept), projection, prediction (student only; its partner is z), and
the similarities to prototypes of methods that have these."""
H = "h"
"""The name of the network's own representation."""
Stem = Literal["imagenet", "small", "small_pad2", "small_pool"]
"""The first layers of a ResNet, which its weights do not always tell."""
Form = Literal["safetensors", "detectron2", "onnx"]
"""The formats of exported files."""

UNLEARNED = ("raw pixels", "normalised pixels", "random init", "before training")
"""What stands in the place of a network where features that cost nothing are measured, as a floor."""
