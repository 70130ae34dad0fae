"""Who takes part, and what is asked of lightly-train. Standard library alone: its environment reads this too."""

import json
from dataclasses import asdict, dataclass, replace
from typing import Literal

Network = Literal["resnet18", "small"]

OURS = "resmom, everything derived"
BEFORE = "resmom, derived as before, with its predictor"
OWN_WORDS: dict[str, tuple[str, ...]] = {
    OURS: (),
    BEFORE: ("--method.predictor-layers", "2", "--residual.site", "p", "--residual.weight", "2"),
}
"""What is asked of ours beside the time."""
SMALL = (16, 32, 64, 128)
"""Widths of the small ResNet that is derived for a CPU."""
SIDES = (64, 128)
"""Pixels at which every network is tested; one that was trained at lightly-train's own size, at that too."""
BATCH = 128
"""lightly-train's own default, and what is derived for a CPU."""


@dataclass(frozen=True)
class Theirs:
    """One training by lightly-train: its defaults but for what stands here.

    `side`: of the global views in pixels; 0 is its default, 224. `local_views`: whether DINO has its six, of 96 pixels.
    """

    method: Literal["dino", "simclr"]
    network: Network
    side: int = 0
    local_views: bool = True

    @property
    def sides(self) -> tuple[int, ...]:
        """Pixels at which its network is tested."""
        return SIDES if self.side else (*SIDES, 224)


@dataclass(frozen=True)
class Ask:
    """What one process of lightly-train is to do. Without `steps`, only to find how fast it is, in about `seconds`."""

    theirs: Theirs
    data: str
    out: str
    seed: int
    steps: int = 0
    epochs: int = 1
    seconds: float = 30.0

    def text(self) -> str:
        return json.dumps(asdict(self))

    @staticmethod
    def read(text: str) -> "Ask":
        said = json.loads(text)
        return replace(Ask(**said), theirs=Theirs(**said["theirs"]))


ARMS: dict[str, Theirs | None] = {
    **dict.fromkeys(OWN_WORDS),
    "lightly-train, simclr, its defaults": Theirs("simclr", "resnet18"),
    "lightly-train, dino, its defaults": Theirs("dino", "resnet18"),
    "lightly-train, simclr, views of 64": Theirs("simclr", "resnet18", 64),
    "lightly-train, dino, two views of 64": Theirs("dino", "resnet18", 64, local_views=False),
    "lightly-train, simclr, views of 64, our network": Theirs("simclr", "small", 64),
    "lightly-train, dino, two views of 64, our network": Theirs("dino", "small", 64, local_views=False),
}
"""None is ours. torchvision's ResNet-18 is what lightly-train's documentation begins with."""


def steps_within(seconds: float, start_up: float, per_step: float) -> int:
    """Steps that fit: ours plans with 95 % of its time, so they have as much. At least one."""
    return max(1, int((0.95 * seconds - start_up) / per_step))
