"""A measurement repeated: with other labelled images, and with other seeds where a classifier is trained."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from resmom.called import called, either, setting
from resmom.errors import UserError
from resmom.evaluate.draw import Rows
from resmom.evaluate.score import NotMeasured, Score, repeated
from resmom.evaluate.settings import Finetune, Linear, LinearCrop
from resmom.runs.measuring.asked import Asked, is_share

C = TypeVar("C", Finetune, Linear, LinearCrop)
Found = tuple[Score, dict[str, Any]]
"""A score, or the mean of several, and what else its row says: see `Row` of runs/measuring/evaluate.py. Beside that the
`classifier` that was trained, if one was, and only one."""


@dataclass(frozen=True)
class Once:
    """One repetition: which of the training images lend their labels, and what is added to the seeds of trainings."""

    rows: Rows | slice
    number: int

    def seeded(self, config: C) -> C:
        """The settings of a training with this repetition's seed."""
        return replace(config, seed=config.seed + self.number)


@dataclass(frozen=True)
class Repeats:
    """All repetitions. If `drawn`, each has labelled images of its own; else all have the same."""

    each: tuple[Once, ...]
    drawn: bool

    @staticmethod
    def of(draws: int, lent: Sequence[Rows] | None) -> "Repeats":
        """`draws` repetitions with the labels of `lent`, one set for each or one for all; None: with all labels."""
        if lent is None:
            return Repeats(tuple(Once(slice(None), number) for number in range(draws)), False)
        # All images of every class are the same ones in every draw.
        drawn = any(not np.array_equal(rows, lent[0]) for rows in lent[1:])
        return Repeats(tuple(Once(lent[number if drawn else 0], number) for number in range(draws)), drawn)

    def over(self, measure: Callable[[Once], Score], seed: int | None = None) -> Found:
        """The mean of a measurement, with deviation, each one's accuracy, and each one's protocol where they differ.

        `seed` is that of the first training; None for a measurement that trains nothing, and so repeats itself exactly
        where all repetitions have the same labels: it is then made once. Raises NotMeasured where one has no score: the
        mean of the others would be one of those that went well.
        """
        each = self.each if self.drawn or seed is not None else self.each[:1]
        scores = [_told_apart(measure, once, len(each)) for once in each]
        if len(scores) == 1:
            return scores[0], {}
        protocols = tuple(score.protocol for score in scores)
        told, kept = "", {}
        if len(set(protocols)) > 1:
            told, kept = ", of which this is the first's", {"protocols": protocols}
        found = repeated(scores, f"{protocols[0]}; mean of {self._kind(len(scores), seed)}{told}")
        return found.score, {"sd": found.sd, "draws": found.each, **kept}

    def _kind(self, n: int, seed: int | None) -> str:
        seeds = "" if seed is None else f"training seeds {seed} to {seed + n - 1}"
        labels = f"{n} draws of the labels" if self.drawn else ""
        return f"{labels} with {seeds}" if labels and seeds else labels or f"{n} {seeds}"


def require_difference(asked: Asked, repeats: Repeats) -> None:
    """Refuse repetitions of which none would differ from another."""
    more = asked.more
    if more.draws > 1 and not repeats.drawn and "linear" not in asked.protocols and not more.measures:
        same = "every draw has the same images" if is_share(more.labels) else "nothing is drawn"
        share = either("--labels SHARE", "share as labels")
        raise UserError(
            f"{setting('draws', more.draws)} would give one number {more.draws} times: {same} and nothing is trained; "
            f"draw labelled images with a smaller {share} or {called('low_shot')}, or "
            "measure a probe or fine-tuning"
        )


def _told_apart(measure: Callable[[Once], Score], once: Once, of: int) -> Score:
    """The measurement of one repetition `of` several; where it has no score, the error says which it was."""
    try:
        return measure(once)
    except NotMeasured as error:
        if of == 1:
            raise
        raise NotMeasured(f"repetition {once.number + 1} of {of}: {error}") from error
