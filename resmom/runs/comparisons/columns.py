"""What the tables of a comparison show, in whatever form they are written: which there are, their columns, and what is
said of each arm."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple

from resmom.called import called
from resmom.diagnose.paired import Spread
from resmom.runs.comparisons.compared import Arm, Compared
from resmom.types import GAP_SITES

NAMES = {
    "knn/student": "kNN of the student, top-1 in %",
    "knn/teacher": "kNN of the teacher, top-1 in %",
    "linear/student": "linear probe of the student, top-1 in %",
    "linear/teacher": "linear probe of the teacher, top-1 in %",
    "online/student": "online classifier of the student, top-1 in %",
}
PERCENTAGES = {name.partition("/")[0] for name in NAMES}
"""Kinds of measures that are shares of the test images."""
WITHOUT_LABELS = {
    "health/student/retrieval": "own other view found by the student, in %",
    "health/teacher/retrieval": "own other view found by the teacher, in %",
    "health/student/rankme": "RankMe of the student",
    "health/teacher/rankme": "RankMe of the teacher",
}
"""Shown where there are no labels to measure by."""
Names = Mapping[str, str]
"""Arms by name, with what they are called in a table; an arm that is not there is called by its name."""
OWN_NAMES: Names = MappingProxyType({})


class Table(NamedTuple):
    """What a table shows of all arms: mean ± sd of the measure `name`, with so many digits, under a title, by a
    protocol, and the difference in it.

    `of`: what of the title that measure is, if there is more. `around`: the measures whose means stand before it, by
    their heads.
    """

    name: str
    title: str
    protocol: str
    digits: int
    of: str = ""
    around: Mapping[str, str] = MappingProxyType({})

    @property
    def heads(self) -> tuple[str, ...]:
        """Of the columns with numbers: how many seeds, the means around, and mean ± sd."""
        return "n", *self.around, ", ".join(filter(None, (self.of, "mean ± sd")))

    def numbers(self, arm: Arm) -> tuple[str, ...]:
        """What stands under these heads; empty where the arm has no such measure."""
        value = arm.measures.get(self.name)
        around = (arm.measures.get(name) for name in self.around.values())
        means = ("" if one is None else f"{one.mean:.{self.digits}f}" for one in around)
        return str(0 if value is None else value.n), *means, "" if value is None else told(value, self.digits)

    def against(self, base: str) -> str:
        """The head of the differences from what is called `base`."""
        return " ".join(filter(None, (self.of, "against", base)))

    def verdict(self, arm: Arm, names: Names = OWN_NAMES) -> str:
        """The arm's difference in the measure, and whether it is resolved, or why there is none."""
        return verdict(arm, self.name, self.digits, names)


def tables_of(found: Compared) -> Iterator[Table]:
    """The tables that a comparison is shown as: accuracies, or label-free measures where there are none, and gaps."""
    known = {name for arm in found.arms for name in arm.measures}
    unlabelled = known.isdisjoint(NAMES)
    for name, title in (WITHOUT_LABELS if unlabelled else NAMES).items():
        if name in known:
            yield Table(name, title, _protocol(found, name.partition("/")[0]), 2)
    for site in GAP_SITES:
        if f"gap/{site}/intra" in known:
            around = {other: f"gap/{site}/{other}" for other in ("inter", "chance")}
            yield Table(f"gap/{site}/intra", f"gap at {site}, 1 - cos", _protocol(found, "gap"), 4, "intra", around)


def _protocol(found: Compared, kind: str) -> str:
    protocols = found.protocols.get(kind, ())
    if len(protocols) > 1:
        return "PROTOCOLS DIFFER, not comparable: " + " / ".join(protocols)
    return "".join(protocols)


def told(value: Spread | None, digits: int = 2) -> str:
    """Mean ± standard deviation, the mean alone of one value, a dash for none."""
    if value is None:
        return "–"
    return f"{value.mean:.{digits}f}" + ("" if value.sd is None else f" ± {value.sd:.{digits}f}")


def verdict(arm: Arm, name: str, digits: int, names: Names = OWN_NAMES) -> str:
    """The arm's difference from the one that it is compared with in a measure, and whether it is resolved, or why there
    is none; empty where nothing was to be compared."""
    if arm.diverged:
        return f"diverged (seed {', '.join(map(str, arm.diverged))})"
    if name not in arm.measures:  # a method without this site has nothing here that could be judged
        return ""
    if not arm.counts:
        return "not shown to have learned"
    if arm.base_fault:
        return f"{names.get(arm.base, arm.base)} {arm.base_fault}"
    if name.partition("/")[0] in arm.otherwise:
        return "measured otherwise: not comparable"
    pair = arm.against.get(name)
    if pair is None:
        return ""
    told = f"{pair.difference.mean:+.{digits}f}"
    if pair.low is None or pair.high is None:
        return f"{told}, {'one seed' if pair.difference.n == 1 else 'the same of all seeds'}: no interval"
    told += f" [{pair.low:+.{digits}f}, {pair.high:+.{digits}f}], n = {pair.difference.n}: "
    if pair.resolved:
        return told + "resolved"
    if pair.needed is None:
        return told + "not resolved, and no number of seeds would do"
    return told + f"not resolved; a difference of this size needs about {pair.needed} seeds (80 % power)"


def diverged_words(arm: Arm) -> str:
    """That the loss of some of an arm's runs did not stay finite."""
    seeds, rate = ", ".join(map(str, arm.diverged)), called("optim.lr")
    return f"of seed {seeds} the loss did not stay finite (lower {rate}, for instance)"


def unsound(found: Compared) -> Iterator[tuple[Arm, str]]:
    """The arms that others are compared with and that do not count, each with a sentence that says so."""
    others = "others" if found.shared else "the others"
    for first in found.firsts:
        if first.fault:
            told = f"{first.name}, which {others} are compared with, {first.fault}: no difference from it is shown"
            yield first, told


def about(found: Compared) -> str:
    """What the numbers of all tables are, in two lines."""
    each = " that hold together for all arms of a table (Bonferroni)"
    if not found.together:
        each = ", each for itself (of twenty intervals about one misses)"
    return (
        f"last epoch, mean ± sd over seeds; differences are against {found.against} on the same seeds, with\n"
        f"95 % Student-t intervals{each}"
    )
