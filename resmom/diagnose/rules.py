"""What is wrong with a run, in words: rules on the lines of its metrics.jsonl.

Each rule is a function of the lines alone and looks at the newest state of the run, so a trouble that has passed is not
told. A rule without the numbers it needs keeps silent: most of them do for a run that has just begun, and `unjudged`
says so. docs/health.md explains every rule to those who read its words.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from resmom.called import called
from resmom.diagnose.course import diverging, frozen, loader_bound, settled, stuck
from resmom.diagnose.finding import Finding
from resmom.diagnose.representation import collapsed, few_dimensions
from resmom.diagnose.series import LEAST_STEPS, RECENT, SETTLED, number, read, step_of

__all__ = ["Finding", "findings", "too_short", "unjudged"]


def findings(lines: Sequence[Mapping[str, Any]], steps: int) -> list[Finding]:
    """Everything wrong with a run as its lines of metrics.jsonl tell it now; none if it is healthy, or too young.

    `steps` is its planned length. A collapsed run is not also told to have few dimensions
    or to be stuck, nor one that diverges to be stuck: each is said by the other.
    """
    seen = read(lines, steps)
    collapse, divergence = collapsed(seen), diverging(seen)
    found = [
        collapse,
        few_dimensions(seen) if collapse is None else None,
        stuck(seen) if collapse is None and divergence is None else None,
        frozen(seen),
        divergence,
        loader_bound(seen),
    ]
    return [finding for finding in found if finding is not None]


_BEFORE = {
    True: "the running statistics of BatchNorm still hold what they started with",
    False: "its weights have hardly left their start",
    None: "weights have hardly left their start, and running statistics of BatchNorm, where there are any, still hold "
    "what they started with",
}
"""Why nothing can be told before `LEAST_STEPS`, by whether the backbone has BatchNorm; None where that is not known."""


def too_short(step: int, normed: bool | None = None) -> str:
    """That a run of so many steps cannot be judged at all yet, in words; empty for one that can.

    `normed`: whether its backbone has BatchNorm; None where that is not known, or where there are several.
    """
    if step >= LEAST_STEPS:
        return ""
    return (
        f"After {step} steps a run is too short to be judged: collapse, and whether it learns, can be told from the "
        f"{LEAST_STEPS}th step on; before, {_BEFORE[normed]}. "
        f"Train longer ({called('train.steps')} or {called('train.epochs')}, whichever the run counts in, or "
        f"{called('time')}), or take a later checkpoint."
    )


def unjudged(lines: Sequence[Mapping[str, Any]], steps: int, step: int, normed: bool | None = None) -> list[str]:
    """What the rules could not look for, and why, in sentences: that nothing was found means nothing there.

    `steps` is the planned length, `step` how far the run is, `normed` as in `too_short`. Empty where every rule had the
    numbers it needs.
    """
    if short := too_short(step, normed):
        return [short]
    seen = read(lines, steps)
    told = []
    measured = number(seen.newest, "student/feature_sd") is not None and step_of(seen.newest) >= LEAST_STEPS
    if not measured and seen.recent("gap/z/chance") is None:
        told.append(f"Whether it has collapsed is not known: nothing was measured of it from step {LEAST_STEPS} on.")
    if seen.recent("loss/method") is None:
        told.append(f"Whether it learns is not known: its loss was written down fewer than {RECENT[0]} times.")
    elif not settled(seen):
        told.append(f"Whether it learns is judged from step {math.ceil(SETTLED * steps)} of {steps} on.")
    return told
