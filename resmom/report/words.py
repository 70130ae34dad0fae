"""The sentences of the page: what happened, what was looked at."""

import math
from collections.abc import Mapping, Sequence
from typing import get_args, get_type_hints

from resmom.diagnose import paired
from resmom.diagnose.labelfree import MEASURES
from resmom.diagnose.noise import images_of, noise
from resmom.diagnose.rise import risen
from resmom.diagnose.rules import Finding
from resmom.report.compare import NETWORKS, Cell, Group, Table, unlearned
from resmom.report.contents import Line, Measure, RunRecord
from resmom.report.numbers import MINUS, count, of_quantity, percent, plain, small

HEADLINE = (
    ("kNN top-1 (%)", "kNN accuracy"),
    ("own other view found (%)", "the share of images whose other view is nearest"),
)
"""What the first sentence tells, the first of these that was measured."""

LOOKED_FOR: tuple[str, ...] = get_args(get_type_hints(Finding)["name"])


def title(runs: Sequence[RunRecord], compared: Table) -> str:
    """The sentence that matters first."""
    if len(runs) == 1:
        return happened(runs[0])
    done = sum(run.finished for run in runs)
    configurations = len({str(sorted(group.values.items())) for group in compared.groups})
    kinds = "of one configuration" if configurations == 1 else f"of {small(configurations, 'configuration')}"
    ends = (
        "all finished"
        if done == len(runs)
        else "none finished"
        if not done
        else f"{small(done, 'run').split()[0]} finished"
    )
    sentence = f"{small(len(runs), 'run')} {kinds}, {ends}."
    return sentence[0].upper() + sentence[1:]


def happened(run: RunRecord) -> str:
    """How far the run came, and what became of its networks."""
    sentence = f"{progress(run)}{_learned(run)}."
    return f"{sentence} Too short a run to be judged." if run.short and run.step else sentence


def progress(run: RunRecord) -> str:
    """Finished, or how far."""
    if run.finished:
        return f"Finished after {count(run.step)} steps"
    if run.step == 0:
        return "Not started"
    of = "" if run.steps is None else f" of {count(run.steps)}"
    return f"At step {count(run.step)}{of}" + ("" if run.steps is None else ", not finished")


def steps(run: RunRecord) -> str:
    """The same in a table."""
    return count(run.step) if run.finished or run.steps is None else f"{count(run.step)} of {count(run.steps)}"


def _learned(run: RunRecord) -> str:
    spoilt = [finding.name for finding in run.findings if finding.spoils]
    if spoilt:  # a number that rose by a hair is no news then
        return f", and something is wrong with it: {', '.join(spoilt)}. Use none of its networks"
    by_quantity = {measure.quantity: measure for measure in run.measures}
    for quantity, words in HEADLINE:
        found = by_quantity.get(quantity)
        if found is None or found.student is None:
            continue
        teacher = "" if found.teacher is None else f" and {percent(found.teacher)} % in the teacher"
        if found.before is None:
            return f": {words} is {percent(found.student)} % in the student{teacher}"
        verb = "rose" if found.student > found.before else "fell" if found.student < found.before else "went"
        after = f"from {percent(found.before)} % to {percent(found.student)} % in the student{teacher}"
        if (images := _untold(found)) is not None:
            return f": {words} went {after}, which {count(images)} images cannot tell from no change"
        return f": {words} {verb} {after}"
    return ""


def _untold(measure: Measure) -> int | None:
    """On how many images a share was measured that cannot tell its change from none; None where they can, or nobody
    knows."""
    images, before, after = images_of(measure.protocol), measure.before, measure.student
    if images is None or before is None or after is None:
        return None
    return images if abs(after - before) <= noise((after, before), images) else None


def gap(run: RunRecord) -> str:
    """The newest gap at the representation beside its chance level, and how it was measured; empty if there is none."""
    for kind, how in (("health", "in evaluation mode"), ("train", "while training")):
        for line in reversed(run.lines):
            intra, chance = (_finite(line, f"gap/h/{name}") for name in ("intra", "chance"))
            if line["kind"] == kind and line["step"] > 0 and intra is not None and chance is not None:
                return (
                    f"Shown the same view, student and teacher differ by {plain(intra)} at the representation; shown "
                    f"different images, by {plain(chance)} (1 {MINUS} cos, {how})."
                )
    return ""


def group_line(group: Group, compared: Table) -> str:
    """What a configuration came to: kNN, else the label-free measures of which more is better; both networks."""
    seeds = "one seed" if len(group.runs) == 1 else f"{len(group.runs)} seeds"
    seeds = f"({seeds}){''.join(map(_minded, group.runs))}"
    parts = []
    for network in NETWORKS:
        column = next((c for c in compared.columns if c[0] == "knn" and c[1] == network and c in group.cells), None)
        if column is not None:
            parts.append(f"{network} {spread(group.cells[column])} %")
    if parts:
        return f"kNN {', '.join(parts)} {seeds}{_no_rise(group)}"
    told = [line for line in (_label_free(group, measure.name) for measure in MEASURES[:2]) if line]
    return f"{'; '.join(told) if told else 'nothing was measured'} {seeds}{_no_gain(group)}"


def _no_rise(group: Group) -> str:
    """That accuracy has not clearly risen above that of the first weights; empty where it has, or nobody knows."""
    found = [m for run in group.runs for m in run.measures if m.quantity == HEADLINE[0][0]]
    rises = [(m.before, m.student, images_of(m.protocol)) for m in found]
    known = [(b, after, images) for b, after, images in rises if None not in (b, after, images)]
    if not known:
        return ""
    before, after, images = zip(*known, strict=True)
    rise = risen(before, after, min(images))
    if rise.clear:
        return ""
    return (
        f"; not shown to have learned: the student's kNN went by {rise.mean:+.2f} points, and only more than "
        f"{rise.least:.2f} would count"
    )


def _no_gain(group: Group) -> str:
    """Which runs' images cannot tell what training brought, by the measure without labels; empty where they can."""
    return "".join(
        f"; {run.name}'s {count(images)} images cannot tell this from no change"
        for run in group.runs
        for measure in run.measures
        if measure.quantity == HEADLINE[1][0] and (images := _untold(measure)) is not None
    )


def _minded(run: RunRecord) -> str:
    """What makes the numbers of a run mean little."""
    spoilt = ", ".join(finding.name for finding in run.findings if finding.spoils)
    if spoilt:
        return f"; something is wrong with {run.name}: {spoilt}, use none of its networks"
    return f"; {run.name} is too short to be judged" if run.short else ""


def _label_free(group: Group, quantity: str) -> str:
    """A label-free measure of both networks over the runs that have it, and of the start."""
    found = [measure for run in group.runs for measure in run.measures if measure.quantity == quantity]
    parts = []
    for name, values in (
        ("student", [m.student for m in found]),
        ("teacher", [m.teacher for m in found]),
        ("before", [m.before for m in found]),
    ):
        known = [value for value in values if value is not None and math.isfinite(value)]
        if known:
            seeds = paired.spread(known)
            sd = "" if seeds.sd is None else f" ± {of_quantity(quantity, seeds.sd)}"
            parts.append(f"{name} {of_quantity(quantity, seeds.mean)}{sd}")
    name, percent_sign = quantity.removesuffix(" (%)"), " %" if "(%)" in quantity else ""
    return f"{name} {', '.join(part + percent_sign for part in parts)}" if parts else ""


def floors(runs: Sequence[RunRecord]) -> list[str]:
    """What needs no learning reached, a sentence for each protocol by which it was measured."""
    return [
        "Without learning: " + ", ".join(f"{what} {_mean(value)}" for what, value in own.items()) + f" ({protocol})."
        for protocol, own in unlearned(runs).items()
    ]


def _mean(value: paired.Spread) -> str:
    return percent(value.mean) if not value.sd else f"{percent(value.mean)} ± {value.sd:.1f}"


def spread(cell: Cell) -> str:
    """Mean, with standard deviation where there is one."""
    return percent(cell.mean) if cell.sd is None else f"{percent(cell.mean)} ± {cell.sd:.1f}"


_SPENT = (
    ("waited_seconds", "waiting for images"),
    ("seconds/teach", "the teacher"),
    ("seconds/forward_backward", "the student's forward and backward pass"),
    ("seconds/update", "moving the weights"),
)


def spent(run: RunRecord) -> str:
    """Where the time of the last start's training went, in percent; empty for runs that did not write it down."""
    for line in reversed(run.lines):
        elapsed = _finite(line, "elapsed_seconds")
        if line["kind"] == "train" and elapsed and _finite(line, "seconds/teach") is not None:
            found = [(_finite(line, name), words) for name, words in _SPENT]
            parts = [f"{100 * seconds / elapsed:.0f} % on {words}" for seconds, words in found if seconds is not None]
            return f"Of the time of training since the last start: {', '.join(parts)}."
    return ""


def sound(runs: Sequence[RunRecord]) -> list[tuple[str, list[int]]]:
    """What was looked at in the runs where nothing was found, and which runs these are, by their numbers."""
    return _alike({index: looked_at(run) for index, run in enumerate(runs) if not run.findings and not run.unjudged})


def not_judged(runs: Sequence[RunRecord]) -> list[tuple[str, list[int]]]:
    """What could not be looked for, and in which runs."""
    return _alike({index: " ".join(run.unjudged) for index, run in enumerate(runs) if run.unjudged})


def _alike(sentences: Mapping[int, str]) -> list[tuple[str, list[int]]]:
    found: dict[str, list[int]] = {}
    for index, sentence in sentences.items():
        found.setdefault(sentence, []).append(index)
    return list(found.items())


def looked_at(run: RunRecord) -> str:
    """What the rules were given and what they look for."""
    train = sum(line["kind"] == "train" for line in run.lines)
    health = sum(line["kind"] == "health" for line in run.lines)
    return (
        f"Looked at: {small(train, 'line')} of training and {small(health, 'measurement')} of the representation, "
        f"for these signs: {', '.join(LOOKED_FOR)}."
    )


def _finite(line: Line, name: str) -> float | None:
    value = line.get(name)
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
