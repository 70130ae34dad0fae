"""What the finished cells of a chain say: which arms exceed random weights, and how arms differ within a budget."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.chain.plan import RANDOM
from resmom.diagnose.paired import Paired
from resmom.errors import UserError
from resmom.runs.comparisons.arms import comparison
from resmom.runs.comparisons.columns import told, verdict
from resmom.runs.comparisons.compared import Arm
from resmom.runs.comparisons.comparison import Comparison
from resmom.runs.comparisons.results import Line

LEAST = 3.0
"""Standard deviations by which an arm must exceed random weights; below, nothing is concluded from it."""
TABLES = tuple(
    (f"{score}/{network}", f"{words} of the {network}")
    for network in ("student", "teacher")
    for score, words in (("ap", "AP"), ("ap50", "AP50"), ("ap75", "AP75"))
)


@dataclass(frozen=True)
class Standing:
    """An arm against random weights in one measure. `ratio`: the mean difference by seed over the larger of the two
    standard deviations over seeds, the arm's and that of random weights; None where either has one seed only. Two that
    do not vary at all are infinitely many apart, or none."""

    arm: Arm
    ratio: float | None

    @property
    def counts(self) -> bool:
        return self.ratio is not None and self.ratio > LEAST


@dataclass(frozen=True)
class Found:
    """All arms, `random` first, compared with it; and (arm, the one it is compared with within its budget)."""

    against_random: Comparison
    within: Sequence[tuple[str, Comparison]]

    def standing(self, arm: str, measure: str) -> Standing:
        """How an arm stands in a measure."""
        first, *_ = self.against_random.arms
        own = next(one for one in self.against_random.arms if one.name == arm)
        pair, value, base = own.against.get(measure), own.measures.get(measure), first.measures.get(measure)
        if pair is None or value is None or base is None or value.sd is None or base.sd is None:
            return Standing(own, None)
        sd = max(value.sd, base.sd)
        mean = pair.difference.mean
        return Standing(own, mean / sd if sd else math.copysign(math.inf, mean) if mean else 0.0)

    def __str__(self) -> str:
        return "\n".join(_words(self))


def found_in(lines: Sequence[Line]) -> Found:
    """What the lines say. Raises UserError where cells were not made alike, so that they cannot be compared."""
    for name in ("boxes", "detect"):
        alike = {repr({k: v for k, v in line[name].items() if k != "seed"}) for line in lines}
        if len(alike) > 1:
            raise UserError(
                f"these cells differ in '{name}'; compare those alone that have the same boxes and detector"
            )
    pairs = dict.fromkeys((line["arm"], line["against"]) for line in lines if line["against"])
    there = {line["arm"] for line in lines}
    within = [
        (arm, comparison([{**line, "place": int(line["arm"] == arm)} for line in lines if line["arm"] in (arm, other)]))
        for arm, other in sorted(pairs, key=lambda pair: _place(lines, pair[0]))
        if other in there
    ]
    return Found(comparison(lines), within)


def _place(lines: Sequence[Line], arm: str) -> int:
    return next(int(line["place"]) for line in lines if line["arm"] == arm)


def _words(found: Found) -> Iterator[str]:
    arms = found.against_random.arms
    if not arms or arms[0].name != RANDOM:
        yield f"no cell of {RANDOM} is finished yet, and without it no other can be judged"
        return
    yield "last step, mean ± sd over seeds; differences on the same seeds, with 95 % Student-t intervals, each for"
    yield "itself (of twenty intervals about one misses). An arm counts only if it exceeds"
    yield f"{RANDOM} weights by {LEAST:g} sd, the larger of its own and theirs; from the others nothing is concluded."
    protocols = found.against_random.protocols.get("detect", ())
    yield f"{'PROTOCOLS DIFFER, not comparable: ' if len(protocols) > 1 else ''}{' / '.join(protocols)}"
    width = max(len(arm.name) for arm in arms)
    for measure, title in TABLES:
        if not any(measure in arm.measures for arm in arms):
            continue
        yield f"\n{title}, %"
        yield f"  {'arm':<{width}}  {'n':>2}  {'mean ± sd':<14}  against {RANDOM}"
        for arm in arms:
            value = arm.measures.get(measure)
            cell = "-" if value is None else told(value)
            n = 0 if value is None else value.n
            against = "" if arm.name == RANDOM else judged(found.standing(arm.name, measure), measure)
            yield f"  {arm.name:<{width}}  {n:>2}  {cell:<14}  {against}".rstrip()
        for arm_name, pair in found.within:
            yield f"  {pair.arms[0].name} -> {arm_name}: {between(found, pair, measure)}"


def judged(standing: Standing, measure: str) -> str:
    """The difference from random weights, and whether the arm counts; if not, how many seeds it would take."""
    told = verdict(standing.arm, measure, 2)
    pair = standing.arm.against.get(measure)
    if standing.arm.diverged or pair is None:
        return told or "no seed in common"
    if standing.ratio is None:
        return f"{told}; one seed has no sd: not resolved"
    if standing.counts:
        return f"{told}; {standing.ratio:.1f} sd: counts"
    return f"not resolved: {pair.difference.mean:+.2f}, {standing.ratio:.1f} of {LEAST:g} sd; {_wanting(pair)}"


def _wanting(pair: Paired) -> str:
    """What an arm that does not count lacks."""
    if pair.difference.mean <= 0:
        return "not ahead"
    if pair.resolved:
        return "told from 0, more seeds do not help"
    if pair.needed is None:
        return "no number of seeds would do"
    return f"needs about {pair.needed} seeds"


def between(found: Found, pair: Comparison, measure: str) -> str:
    """The difference of two arms of one budget, if both count."""
    base, arm = pair.arms
    told = verdict(arm, measure, 2)
    weak = [one.name for one in (base, arm) if not found.standing(one.name, measure).counts]
    if not weak or arm.diverged:
        return told
    return f"not resolved: {' and '.join(weak)} not {LEAST:g} sd above {RANDOM}, see there"
