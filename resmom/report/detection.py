"""The section on detectors: its tables, its curves over steps, and the sentences beside them."""

from collections.abc import Sequence
from dataclasses import dataclass

from resmom.report.charts import Chart, Curve, Drawn, Source, Stroke, draw
from resmom.report.contents import DetectionRecord, Kind, Line, Mark, Photo
from resmom.report.numbers import count, small

SCORES = (
    ("ap", "AP"),
    ("ap50", "AP50"),
    ("ap75", "AP75"),
    ("mask_ap", "mask AP"),
    ("mask_ap50", "mask AP50"),
    ("mask_ap75", "mask AP75"),
    ("voc07_ap", "VOC07 AP"),
    ("voc07_ap50", "VOC07 AP50"),
    ("voc07_ap75", "VOC07 AP75"),
)
"""Columns of the table, where they were measured."""
STROKES: dict[str, Stroke] = {"student": "solid", "teacher": "dash", "init": "solid", "random": "dot"}
MANY = 30
"""The tables of more classes than this are shut at first."""


def _digits(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


CHARTS = (
    *(
        Chart(words, "On the test images, %.", (Curve("detection", key, words),), digits=_digits, from_zero=True)
        for key, words in SCORES[:6]
    ),
    Chart("Loss", "Sum of the detector's losses while it learns.", (Curve("train", "loss", "loss"),)),
)


MARKS: tuple[tuple[Kind, str], ...] = (
    ("right", "found, and right"),
    ("wrong", "found, but nothing of the kind there"),
    ("missed", "object that was missed"),
    ("found", "object that was found"),
    ("void", "difficult, a crowd, or found in one: does not count"),
)
"""The key to the lines on the photos."""


@dataclass(frozen=True)
class Table:
    """The scores of one protocol: (key, heading) of each column, the networks in their order, and the classes."""

    protocol: str
    columns: Sequence[tuple[str, str]]
    rows: Sequence[tuple[int, str, Line]]
    """Number of the network in the record, its name, its scores."""
    classes: Sequence[str]

    @property
    def shut(self) -> bool:
        return len(self.classes) > MANY

    @property
    def masks(self) -> bool:
        """Whether there are mask APs by class too."""
        return any("mask_per_class" in line for _, _, line in self.rows)


def tables(record: DetectionRecord) -> list[Table]:
    """One table for each protocol and set of test images."""
    found = []
    for protocol, scores in record.measured.items():
        rows = [(n, each.name, scores[each.name]) for n, each in enumerate(record.networks) if each.name in scores]
        columns = [column for column in SCORES if any(column[0] in line for _, _, line in rows)]
        classes = list(dict.fromkeys(name for _, _, line in rows for name in line["per_class"]))
        found.append(Table(protocol, columns, rows, classes))
    return found


def drawn(records: Sequence[DetectionRecord], number: int, first: int) -> list[list[Drawn]]:
    """For each record its charts; they are numbered from `number` on, its networks' colours from `first`."""
    found = []
    for record in records:
        over = f"steps of {record.name}"  # folders need not be of one length
        sources = [
            Source(first + n, each.name, _over_steps(each.lines), STROKES.get(each.name), over)
            for n, each in enumerate(record.networks)
        ]
        own = []
        for chart in CHARTS:
            made = draw(chart, sources, number)
            if made is not None:
                own.append(made)
                number += 1
        found.append(own)
        first += len(record.networks)
    return found


def _over_steps(lines: Sequence[Line]) -> list[Line]:
    return [{**line, "epoch": line["step"]} for line in lines]


def title(record: DetectionRecord) -> str:
    """What the detectors reached, in a sentence."""
    latest = next(iter(record.measured.values()), {})
    parts = [f"{each.name} {latest[each.name]['ap']:.2f}" for each in record.networks if each.name in latest]
    steps = min((latest[each.name]["step"] for each in record.networks if each.name in latest), default=0)
    if not parts:
        return f"{small(len(record.networks), 'detector').capitalize()}, not measured yet."
    behind = [each.name for each in record.networks if each.step < record.steps]
    end = f"; not finished: {', '.join(behind)}" if behind else ""
    return f"AP on the test images after {count(steps)} steps of fine-tuning: {', '.join(parts)}{end}."


def best_of(table: Table, key: str, name: str) -> float:
    """The best score of a class in a table, to the digits that are shown."""
    return max((line[key][name] for _, _, line in table.rows if name in line.get(key, {})), default=0.0)


def tag_place(mark: Mark) -> str:
    """Where a box's words stand, as CSS: those of detections at its top, those of missed objects at its bottom; aligned
    with its right side in the right half of the photo, so that they stay on it."""
    x, y, width, height = mark.box
    across = f"right: {100 * max(0.0, 1 - x - width):.2f}%" if x + width / 2 > 0.5 else f"left: {100 * x:.2f}%"
    if mark.kind == "missed":
        return f"{across}; bottom: {100 * max(0.0, 1 - y - height):.2f}%"
    return f"{across}; bottom: {100 * (1 - y):.2f}%" if y > 0.1 else f"{across}; top: {100 * y:.2f}%"


def counted(photos: Sequence[Photo], network: int) -> str:
    """What the shown photos come to for one network."""
    kinds: list[Kind] = [mark.kind for photo in photos for mark in photo.marks[network]]
    found, objects = kinds.count("found"), kinds.count("found") + kinds.count("missed")
    return f"{found} of {objects} object{'' if objects == 1 else 's'} found, {kinds.count('wrong')} false"


def told(photo: Photo, network: int) -> str:
    """One photo in words, for who cannot see it."""
    words = {"missed": "missed", "right": "found", "wrong": "falsely detected"}
    parts = [f"{words[mark.kind]}: {mark.words}" for mark in photo.marks[network] if mark.kind in words]
    return f"{photo.picture.words}. {'; '.join(parts) or 'nothing detected, nothing to find'}."
