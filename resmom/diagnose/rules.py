"""What is wrong with a run, in words: rules on the lines of its metrics.jsonl.

Each rule is a function of the lines alone and looks at the newest state of the run, so a trouble that has passed is not
told. A rule without the numbers it needs keeps silent: so do all of them for a run that has just begun. docs/health.md
explains every rule to those who read its words.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from resmom.diagnose.course import diverging, frozen, loader_bound, stuck
from resmom.diagnose.finding import Finding
from resmom.diagnose.representation import collapsed, few_dimensions
from resmom.diagnose.series import read

__all__ = ["Finding", "findings"]


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
