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

METHODS = (
    *("mocov3", "byol", "simsiam", "simclr", "barlow", "vicreg", "nnclr", "dino", "ibot", "dinov2"),
    *("mocov2", "ressl", "densecl", "msf", "nnclr_ema"),
)
"""The names of the methods, of which `resmom.methodconfig` knows the classes."""
BACKBONES = (
    "small, resnet18, resnet34, resnet50, vit-micro, vit-tiny, vit-small, vit-base, dino-vit-micro, dino-vit-tiny, "
    "dino-vit-small, dino-vit-base, dino-vit-large, timm:NAME"
)
"""The names by which `resmom.nets.backbones.backbone_named` knows backbones."""

UNLEARNED = ("raw pixels", "normalised pixels", "random init", "before training")
"""What stands in the place of a network where features that cost nothing are measured, as a floor."""
