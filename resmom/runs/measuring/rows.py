"""What `resmom evaluate` finds: a row for each result, and what of all that was asked for has none."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from resmom.errors import UserError
from resmom.evaluate.score import Score
from resmom.protocols import fields
from resmom.runs.measuring.measure import Candidate


@dataclass(frozen=True)
class Row:
    """One result: what was measured, how, on which images, and at which step of the run.

    What JSON has of it, it has under the same names.
    """

    network: str
    score: Score
    step: int | None
    """None of weights without a run."""
    data: str
    """The images in a word, see `short_name`."""
    fingerprint: str
    """Of all these images, training and test: it tells two sets of one name apart."""
    sd: float | None = None
    """Standard deviation over repetitions, where the score is a mean of several."""
    draws: tuple[float, ...] = ()
    """The accuracies that the score is the mean of."""
    protocols: tuple[str, ...] = ()
    """How each of these came about, where that differs: what was chosen, and the seed."""
    candidates: tuple[Candidate, ...] = ()
    """What a sweep chose among."""
    kept: bool = True
    """Whether it is in RUN/evaluations.jsonl, or where else it was asked for; if that could not be written, standard
    error has had it."""
    about: Mapping[str, Any] = field(default_factory=dict)
    """Of weights without a run: what they are, as plain values for JSON."""
    sized: str = ""
    """The protocol with the side of the images, which that of a run leaves out where it is the side of its views: for
    who sees it among others."""
    labels: tuple[str, ...] = ()
    """What the classes are and where they are from, for a reader: see `labels_lines`."""
    label_share: float | None = None
    """Which share of the training labels was learned from, the one asked for or that of a list; None for all."""

    @property
    def top1(self) -> float:
        return self.score.top1

    @property
    def top5(self) -> float | None:
        return self.score.top5

    @property
    def protocol(self) -> str:
        return self.score.protocol

    @property
    def probe(self) -> str:
        """The protocol's name, such as linear-v1."""
        return fields(self.protocol).probe

    @property
    def shots(self) -> int | None:
        """Of few labels, images per class."""
        return fields(self.protocol).shots

    @property
    def learner(self) -> str | None:
        """Of few labels, what learns from them: logistic regression or kNN."""
        return fields(self.protocol).learner

    def plain(self) -> dict[str, Any]:
        """As plain values for JSON; what only some results have is left out of others."""
        names = ("network", "top1", "top5", "protocol", "probe", "shots", "learner", "label_share", "step")
        line: dict[str, Any] = {name: getattr(self, name) for name in names}
        line = {name: value for name, value in line.items() if value is not None or name == "top5"}
        line |= {"data": self.data, "fingerprint": self.fingerprint}
        line |= {"sd": self.sd, "draws": list(self.draws)} if self.draws else {}
        line |= {"protocols": list(self.protocols)} if self.protocols else {}
        line |= {"candidates": [asdict(c) for c in self.candidates]} if self.candidates else {}
        return {**line, **self.about}


@dataclass(frozen=True)
class Missing:
    """A measurement that was asked for and has no score."""

    network: str
    """Of its row, if it had one; empty where it is not one network's alone."""
    probe: str
    """What was to be measured, in words."""
    why: str
    """With what to do about it."""

    @property
    def words(self) -> str:
        of = f" of {self.network}" if self.network else ""
        return f"{self.probe}{of} was not measured: {self.why}"


class Incomplete(UserError):
    """Some of what was asked for has no score, such as a probe whose training diverged: `missing` says what and why,
    `rows` has all that was measured, which is where it would have been kept otherwise."""

    def __init__(self, name: str, data: str, rows: Sequence[Row], missing: Sequence[Missing]) -> None:
        """`name`: of what was measured; `data`: of the images."""
        self.name, self.data, self.rows, self.missing = name, data, tuple(rows), tuple(missing)
        reasons = list(dict.fromkeys(each.why for each in missing))
        told = "; ".join(each.words for each in missing)
        if not rows:
            super().__init__(f"{name} cannot be evaluated on {data}: {reasons[0] if len(reasons) == 1 else told}")
            return
        rest = f"what was measured, {len(rows)} result{'s' * (len(rows) > 1)}, is `rows` of this error"
        super().__init__(f"{name} was evaluated in part on {data}: {told}; {rest}")

    def renamed(self, called: str) -> "Incomplete":
        """The same of weights that have another name in the results."""
        rows = [replace(row, network=called) for row in self.rows]
        return Incomplete(self.name, self.data, rows, [replace(each, network=called) for each in self.missing])


def in_part(measure: Callable[[], list[Row]]) -> tuple[list[Row], list[str]]:
    """What a measurement finds, and a sentence on each thing that it does not: one probe that diverges must not take
    the results of the others along."""
    try:
        return measure(), []
    except Incomplete as error:
        return list(error.rows), [each.words for each in error.missing] if error.rows else [str(error)]
