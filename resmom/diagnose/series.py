"""The lines of metrics.jsonl as series of numbers. A value that is missing, no number or not finite is not in them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

Line = Mapping[str, Any]

RECENT = (5, 50)
"""A tenth of all lines is recent, but at least and at most so many: one odd batch must not decide, and a run of days
must not take days to show a change."""


LEAST_STEPS = 50
"""Before so many steps the running statistics of BatchNorm still hold what they started with (0.9^50 = 0.5 %), and
evaluation mode shows that, not the run. Of networks without it so few steps say as little."""
SETTLED = 0.2
"""Share of the run after which it must have learnt something: published warm-ups end at 1 to 13 %."""


@dataclass(frozen=True)
class Lines:
    """The lines of training and of health, each in the order of the file, and the planned length of the run."""

    train: Sequence[Line]
    health: Sequence[Line]
    steps: int

    @property
    def step(self) -> int:
        """The newest step that any line tells of."""
        return max((step_of(lines[-1]) for lines in (self.train, self.health) if lines), default=0)

    @property
    def start(self) -> Line:
        """What was measured before the first step; empty if nothing was."""
        first = self.health[0] if self.health else {}
        return first if first and step_of(first) == 0 else {}

    @property
    def newest(self) -> Line:
        """The newest measurement of a trained network; empty if there is none."""
        last = self.health[-1] if self.health else {}
        return last if last and step_of(last) > 0 else {}

    @property
    def teacher(self) -> bool:
        """Whether there is a teacher, as far as the lines tell."""
        return "student/feature_sd" not in self.newest or "teacher/feature_sd" in self.newest

    def first(self, name: str) -> float | None:
        """The value in the first line of training, if that is of the first step."""
        return number(self.train[0], name) if self.train and step_of(self.train[0]) == 1 else None

    def recent(self, name: str) -> float | None:
        """The median over the recent lines of training; None with fewer values than `RECENT` demands."""
        values = known(self.recent_train, name)
        return median(values) if len(values) >= RECENT[0] else None

    @property
    def recent_train(self) -> Sequence[Line]:
        """The recent lines of training."""
        return self.train[-recent_count(len(self.train)) :]


def read(lines: Sequence[Line], steps: int) -> Lines:
    """Sort lines by kind; lines without a kind or a step are left out."""
    usable = [line for line in lines if number(line, "step") is not None]
    return Lines(
        [line for line in usable if line.get("kind") == "train"],
        [line for line in usable if line.get("kind") == "health"],
        steps,
    )


def recent_count(n: int) -> int:
    """How many of n lines are recent."""
    least, most = RECENT
    return min(max(n // 10, least), most)


def step_of(line: Line) -> int:
    """The step of a line that has one."""
    return int(line["step"])


def number(line: Line, name: str) -> float | None:
    """A finite number, or None."""
    value = line.get(name)
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def known(lines: Sequence[Line], name: str) -> list[float]:
    """The finite values of a name, in order."""
    return [value for line in lines if (value := number(line, name)) is not None]


def broken(line: Line, name: str) -> bool:
    """Whether a line has this value and it is not finite."""
    value = line.get(name)
    return isinstance(value, float) and not math.isfinite(value)
