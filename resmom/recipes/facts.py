"""What the settings of a run without a recipe are derived from, and within."""

from dataclasses import dataclass, field

from resmom.methodconfig import MethodConfig
from resmom.methods.mocov3 import MoCoV3
from resmom.nets.backbones import BackboneConfig
from resmom.recipes.orientation import Orientation
from resmom.views.policy import Interpolation, Numbers

KEPT = 6
"""Checkpoints that are kept beside the last, evenly spaced, where the disk has room: what `resmom gap` and
`resmom evaluate --all` look at over training."""


@dataclass(frozen=True)
class Seen:
    """What a network was trained to see: mean and deviation per channel, in [0, 1], the side of its views, and how
    images were resized to it, None where that is not known. `fixed`: whether a run that goes on from there keeps the
    side; published weights are fine-tuned at any that they take."""

    mean: Numbers
    std: Numbers
    side: int
    resize: Interpolation | None = None
    fixed: bool = True


@dataclass(frozen=True)
class Facts:
    """What the settings are derived from.

    `side` is the median of the images' shorter sides in pixels; `grey` whether all images looked at are without colour;
    `mean` and `std` are of the pixels in [0, 1], per channel; `fast_bf16` whether the machine computes bfloat16 faster
    than float32; `init` names a file of weights to start from, `seen` what the file says that its network was trained
    to see, and `backbone` the architecture found in it, or the one that the user asked for, of which a
    transformer's image and patch follow the views. `view` (the side of the views), `batch` and `steps` are those the
    user asked for (0: none), since others follow them; `orientation` is what the user says of the images. `own`: the
    user asked for another method than the derived one, or brings method or backbone from Python, so that what was
    measured of the derived ones says nothing. `method`: the kind of method that was asked for by its name, as
    published, or the derived one. `processes`: among so many the batch is shared out evenly.
    """

    images: int
    side: int
    mean: Numbers
    std: Numbers
    grey: bool = False
    gpu: bool = False
    fast_bf16: bool = False
    init: str = ""
    seen: Seen | None = None
    backbone: BackboneConfig | None = None
    view: int = 0
    batch: int = 0
    steps: int = 0
    orientation: Orientation = "upright"
    own: bool = False
    method: MethodConfig = field(default_factory=MoCoV3)
    processes: int = 1


@dataclass(frozen=True)
class Limits:
    """What a trial on the machine found possible: images of a batch held at once, steps within time, measurements that
    are not too dear (0: no limit), and checkpoints that the disk has room to keep."""

    batch: int = 0
    steps: int = 0
    measures: int = 0
    kept: int = KEPT
