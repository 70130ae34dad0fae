"""What the finished cells of a grid say: each arm's mean and spread, and its difference from the first arm by seed."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from resmom.diagnose.paired import Paired, Spread
from resmom.diagnose.rise import Rise


@dataclass(frozen=True)
class Arm:
    """One arm. `learned`: whether kNN has risen clearly; None where there is no kNN. `before` is the student's kNN at
    step 0, `rise` what came since. `against` is empty for the first arm, and where either of the two did not learn.
    """

    name: str
    settings: Mapping[str, Any]
    seeds: tuple[int, ...]
    diverged: tuple[int, ...]
    learned: bool | None
    before: Spread | None
    rise: Rise | None
    measures: Mapping[str, Spread]
    against: Mapping[str, Paired] = field(default_factory=dict)
    protocols: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By which its own runs were measured, by kind: more than one, or others than the first arm's, do not compare."""
    otherwise: tuple[str, ...] = ()
    """The kinds that were measured otherwise than in the first arm."""
    base: str = ""
    """The arm that it is compared with; empty for one that others are compared with, and where there is none."""
    base_fault: str = ""
    """Why nothing is concluded against that arm: its `fault`."""

    @property
    def counts(self) -> bool:
        """Whether anything may be concluded from it."""
        return self.learned is not False

    @property
    def fault(self) -> str:
        """Why nothing may be concluded from it, as a sentence goes on after its name; empty where it counts."""
        if self.diverged:
            return "diverged"
        return "" if self.counts else "is not shown to have learned"


@dataclass(frozen=True)
class Compared:
    """All arms, the first of which the others are compared with; the protocols of each kind of number.

    `left` cells were to be finished and are not.
    """

    arms: tuple[Arm, ...]
    protocols: Mapping[str, tuple[str, ...]]
    left: int = 0
    short: str = ""
    """That the runs are too short to be judged, in words, if they are."""
    with_term: tuple[str, ...] = ()
    """The arms that were trained with the residual term."""
    together: bool = False
    """Whether the intervals of each measure hold together, for all arms, or each for itself."""
    shared: str = ""
    """The option and value, such as weight=0, of the arms that each other arm is compared with one of; empty where all
    are compared with the first."""
    own: str = ""
    """What `shared` could be, where all are compared with the first."""

    @property
    def against(self) -> str:
        """What the arms are compared with, in words."""
        return f"the same with {self.shared}" if self.shared else self.arms[0].name

    @property
    def firsts(self) -> tuple[Arm, ...]:
        """The arms that others are compared with."""
        others = {arm.base for arm in self.arms}
        return tuple(arm for arm in self.arms if arm.name in others or (arm is self.arms[0] and not self.shared))

    def plain(self) -> dict[str, Any]:
        """As plain values for JSON."""
        return {
            "against": self.shared or (self.arms[0].name if self.arms else None),
            "arms": [_plain_arm(arm) for arm in self.arms],
            "protocols": {kind: list(found) for kind, found in self.protocols.items()},
            "left": self.left,
            "short": self.short,
            "with_term": list(self.with_term),
            "together": self.together,
        }


def _plain_arm(arm: Arm) -> dict[str, Any]:
    plain = asdict(arm)
    for name, pair in arm.against.items():
        plain["against"][name]["resolved"] = pair.resolved
    return plain
