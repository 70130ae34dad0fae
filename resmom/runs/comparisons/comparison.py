"""What the finished cells of a grid say: each arm's mean and spread, and its difference from the first arm by seed."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from resmom.called import called, either
from resmom.diagnose.paired import Paired, Spread
from resmom.diagnose.rise import LEARNED, Rise
from resmom.types import GAP_SITES


@dataclass(frozen=True)
class Arm:
    """One arm. `learned`: whether kNN has risen clearly; None where there is no kNN. `before` is the student's kNN at
    step 0, `rise` what came since. `against` is empty for the first
    arm, and for arms that did not learn or are compared with one that did not.
    """

    name: str
    settings: Mapping[str, Any]
    seeds: tuple[int, ...]
    diverged: tuple[int, ...]
    learned: bool | None
    before: Spread | None
    rise: Rise | None
    measures: Mapping[str, Spread]
    against: Mapping[str, Paired]
    protocols: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By which its own runs were measured, by kind: more than one, or others than the first arm's, do not compare."""
    otherwise: tuple[str, ...] = ()
    """The kinds that were measured otherwise than in the first arm."""
    base: str = ""
    """The arm that it is compared with; empty for one that others are compared with, and where there is none."""
    unsound: str = ""
    """Why nothing is concluded from the comparison with that arm, in words; empty where something may be."""

    @property
    def counts(self) -> bool:
        """Whether anything may be concluded from it."""
        return self.learned is not False


@dataclass(frozen=True)
class Comparison:
    """All arms, the first of which the others are compared with; the protocols of each kind of number.

    `left` cells were to be finished and are not. It shows itself as a table when it is printed.
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

    def __str__(self) -> str:
        return "\n".join(_words(self))


def _plain_arm(arm: Arm) -> dict[str, Any]:
    plain = asdict(arm)
    for name, pair in arm.against.items():
        plain["against"][name]["resolved"] = pair.resolved
    return plain


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
WIDTHS = {2: 14, 4: 17}
"""Width of a column of mean ± sd, by the digits after the point: percentages have two, gaps four."""


def _words(found: Comparison) -> Iterator[str]:
    if not found.arms:
        yield "no cell is finished yet"
        return
    width = max(3, *(len(arm.name) for arm in found.arms))
    known = {name for arm in found.arms for name in arm.measures}
    if found.short:
        yield f"{found.short}\n"
    for first in (arm for arm in found.firsts if not arm.counts):
        remedy = "" if first.diverged else "; train longer, or measure on more labelled images"
        yield (
            f"{first.name}, which {'others' if found.shared else 'the others'} are compared with, "
            f"{'diverged' if first.diverged else 'is not shown to have learned'}: nothing is concluded against it "
            f"(why stands below{remedy})\n"
        )
    yield about(found)
    for table in tables_of(found):
        yield f"\n{table.title} ({table.protocol})"
        gap = table.name.startswith("gap/")
        head = (
            "".join(f"{around:>7}  " for around in around_of(table.name))
            + f"{mean_of(table.name):<{WIDTHS[table.digits]}}"
        )
        yield f"  {'arm':<{width}}  {'n':>2}  {head}  {'intra ' if gap else ''}against {found.against}"
        yield from (_row(arm, table.name, width, table.digits) for arm in found.arms)
    if found.with_term and len(found.with_term) < len(found.arms) and any(name.startswith("gap/") for name in known):
        yield (
            f"\na smaller gap is what the residual term trains for ({', '.join(found.with_term)}): there it tells that "
            "the term works, and nothing about the features"
        )
    if found.own:
        call = either(
            f"resmom compare show ... --against {found.own}", f"resmom.comparison(..., against={found.own!r})"
        )
        yield f"\n`{call}` compares each arm with the one that is the same but for that"
    yield from _notes(found, known.isdisjoint(NAMES) and not known.isdisjoint(WITHOUT_LABELS))


def about(found: Comparison) -> str:
    """What the numbers of all tables are, in two lines."""
    each = " that hold together for all arms of a table (Bonferroni)"
    if not found.together:
        each = ", each for itself (of twenty intervals about one misses)"
    return (
        f"last epoch, mean ± sd over seeds; differences are against {found.against} on the same seeds, with\n"
        f"95 % Student-t intervals{each}"
    )


class Table(NamedTuple):
    """What a table shows of all arms: the measure `name` with so many digits, under a title, by a protocol."""

    name: str
    title: str
    protocol: str
    digits: int


def tables_of(found: Comparison) -> Iterator[Table]:
    """The tables that a comparison is shown as: accuracies, or label-free measures where there are none, and gaps."""
    known = {name for arm in found.arms for name in arm.measures}
    unlabelled = known.isdisjoint(NAMES)
    for name, title in (WITHOUT_LABELS if unlabelled else NAMES).items():
        if name in known:
            yield Table(name, title, _protocol(found, name.partition("/")[0]), 2)
    for site in GAP_SITES:
        if f"gap/{site}/intra" in known:
            yield Table(f"gap/{site}/intra", f"gap at {site}, 1 - cos", _protocol(found, "gap"), 4)


def _protocol(found: Comparison, kind: str) -> str:
    protocols = found.protocols.get(kind, ())
    if len(protocols) > 1:
        return "PROTOCOLS DIFFER, not comparable: " + " / ".join(protocols)
    return "".join(protocols)


def _row(arm: Arm, name: str, width: int, digits: int) -> str:
    value = arm.measures.get(name)
    start = f"  {arm.name:<{width}}  {0 if value is None else value.n:>2}  "
    start += "".join(f"{one:>7}  " for one in around(arm, name, digits, "-"))
    if value is None:
        # Diverged is diverged everywhere; otherwise a method without this site has nothing here that could be judged.
        return f"{start}{'-':<{WIDTHS[digits]}}  {verdict(arm, name, digits) if arm.diverged else ''}".rstrip()
    return f"{start}{told(value, digits):<{WIDTHS[digits]}}  {verdict(arm, name, digits)}".rstrip()


def around_of(name: str) -> tuple[str, ...]:
    """What a gap is read beside, the gap of other views and that by chance; nothing for another measure."""
    return ("inter", "chance") if name.startswith("gap/") else ()


def mean_of(name: str) -> str:
    """What stands over the column of means."""
    return "intra, mean ± sd" if name.startswith("gap/") else "mean ± sd"


def around(arm: Arm, name: str, digits: int, none: str) -> tuple[str, ...]:
    """An arm's means of what `around_of` names, or `none`."""
    found = (arm.measures.get(name.replace("intra", other)) for other in around_of(name))
    return tuple(none if one is None else f"{one.mean:.{digits}f}" for one in found)


def told(value: Spread | None, digits: int = 2) -> str:
    """Mean ± standard deviation, the mean alone of one value, a dash for none."""
    if value is None:
        return "–"
    return f"{value.mean:.{digits}f}" + ("" if value.sd is None else f" ± {value.sd:.{digits}f}")


def verdict(arm: Arm, name: str, digits: int) -> str:
    """The arm's difference from the first one in a measure, and whether it is resolved; empty where there is none."""
    if arm.diverged:
        return f"diverged (seed {', '.join(map(str, arm.diverged))})"
    if not arm.counts:
        return "not shown to have learned"
    if arm.unsound:
        return arm.unsound
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


def _notes(found: Comparison, unlabelled: bool) -> Iterator[str]:
    if unlabelled:
        yield (
            "\nwithout labels nothing here says which arm is better for a task, nor whether an arm has learned: these "
            "numbers tell how an encoder treats views and images, each arm's on views of its own kind, so that arms "
            "with other views do not compare; with some labelled images (docs/data.md) kNN would"
        )
    others = {arm.base for arm in found.arms}
    alone = [arm.name for arm in found.arms if found.shared and not arm.base and arm.name not in others]
    if alone:
        yield f"\nno arm is the same with {found.shared}, so there is nothing to compare with: {', '.join(alone)}"
    for arm in found.arms:
        if arm.diverged:
            yield f"\n{arm.name} diverged: {diverged_words(arm)}; nothing is concluded from it"
        if arm.learned is False and not arm.diverged and arm.before is not None and arm.rise is not None:
            after = arm.measures["knn/student"].mean
            yield (
                f"\n{arm.name} is not shown to have learned: kNN of the student went from {arm.before.mean:.2f} to "
                f"{after:.2f} %, {arm.rise.mean:+.2f} points (n = {arm.before.n}); it would have to rise by more than "
                f"{arm.rise.least:.2f}, {LEARNED:g} standard deviations (of the rises over seeds, or of one rise on so "
                "few test images, whichever is larger); nothing is concluded from it"
            )
