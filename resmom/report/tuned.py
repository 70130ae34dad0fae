"""What the sections on fine-tuned backbones share: tables of scores, curves over steps, and the first sentence."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from resmom.report.charts import Chart, Drawn, Source, Stroke, draw
from resmom.report.contents import Contents, DetectionRecord, Line, SegmentationRecord
from resmom.report.numbers import count, small

Record = DetectionRecord | SegmentationRecord
STROKES: dict[str, Stroke] = {"student": "solid", "teacher": "dash", "init": "solid", "random": "dot"}
MANY = 30
"""The tables of more classes than this are shut at first."""


@dataclass(frozen=True)
class Wording:
    """How a task is spoken of.

    `scores` and `by_class` are (key of a measured line, heading): the columns of the table, where they were measured,
    and the tables by class, whose keys hold a value by name. The first score is that of the first sentence.
    """

    thing: str
    """What a backbone becomes."""
    caption: str
    scores: Sequence[tuple[str, str]]
    by_class: Sequence[tuple[str, str]]
    charts: Callable[[Record], Sequence[Chart]]


@dataclass(frozen=True)
class Table:
    """The scores of one protocol: (key, heading) of each column, the networks in their order, and the classes."""

    protocol: str
    columns: Sequence[tuple[str, str]]
    rows: Sequence[tuple[int, str, Line]]
    """Number of the network in the record, its name, its scores."""
    by_class: Sequence[tuple[str, str]]
    classes: Sequence[str]

    @property
    def shut(self) -> bool:
        return len(self.classes) > MANY

    def best(self, key: str, name: str) -> float:
        """The best score of a class."""
        return max((line[key][name] for _, _, line in self.rows if name in line.get(key, {})), default=0.0)


def tables(record: Record, wording: Wording) -> list[Table]:
    """One table for each protocol and set of test images; classes that nothing can be said of stand last."""
    found = []
    for protocol, scores in record.measured.items():
        rows = [(n, each.name, scores[each.name]) for n, each in enumerate(record.networks) if each.name in scores]
        lines = [line for _, _, line in rows]
        columns = [column for column in wording.scores if any(column[0] in line for line in lines)]
        by_class = [column for column in wording.by_class if any(column[0] in line for line in lines)]
        known = [name for line in lines for name in line["per_class"]]
        unknown = [name for line in lines for name in line.get("left_out", ())]
        found.append(Table(protocol, columns, rows, by_class, list(dict.fromkeys(known + unknown))))
    return found


def drawn(record: Record, wording: Wording, number: int, first: int) -> list[Drawn]:
    """The charts of a folder; they are numbered from `number` on, its networks' colours from `first`."""
    over = f"steps of {record.name}"  # folders need not be of one length
    sources = [
        Source(first + n, each.name, _over_steps(each.lines), STROKES.get(each.name), over)
        for n, each in enumerate(record.networks)
    ]
    found: list[Drawn] = []
    for chart in wording.charts(record):
        made = draw(chart, sources, number + len(found))
        if made is not None:
            found.append(made)
    return found


def _over_steps(lines: Sequence[Line]) -> list[Line]:
    return [{**line, "epoch": line["step"]} for line in lines]


def firsts(contents: Contents) -> list[int]:
    """The number of the first colour of each folder: those of runs come before."""
    found = [len(contents.runs)]
    for record in contents.tuned:
        found.append(found[-1] + len(record.networks))
    return found[:-1]


def title(record: Record, wording: Wording) -> str:
    """What the networks reached, in a sentence."""
    key, words = wording.scores[0]
    latest = next(iter(record.measured.values()), {})
    reached = [(each.name, latest[each.name]) for each in record.networks if each.name in latest]
    behind = [each.name for each in record.networks if each.step < record.steps]
    end = f"; not finished: {', '.join(behind)}" if behind else ""
    if not reached:
        return f"{small(len(record.networks), wording.thing).capitalize()}, not measured yet{end}."
    steps = min(line["step"] for _, line in reached)
    scores = ", ".join(f"{name} {digits(line[key])}" for name, line in reached)
    return f"{words} on the test images after {count(steps)} steps: {scores}{end}."


def digits(value: float | None) -> str:
    """A score in percent; a dash for none."""
    return "–" if value is None else f"{value:.2f}"
