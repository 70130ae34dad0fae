"""Where a network has BatchNorm, as the names of its tensors say: what is told of its statistics must be true of it."""

from collections.abc import Iterable
from dataclasses import dataclass

BACKBONE = "backbone."
"""How the names of a backbone's tensors begin within an `Encoder`."""


@dataclass(frozen=True)
class Normed:
    """Whether the backbone, and whether what follows it, has BatchNorm with running statistics."""

    backbone: bool
    heads: bool

    @property
    def anywhere(self) -> bool:
        return self.backbone or self.heads


def normed(names: Iterable[str]) -> Normed:
    """Of the tensors in an encoder's state, by their names."""
    tracked = [name for name in names if name.endswith("running_mean")]
    within = [name for name in tracked if name.startswith(BACKBONE)]
    return Normed(bool(within), len(tracked) > len(within))
