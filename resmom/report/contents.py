"""What a report is made of: plain frozen values, gathered elsewhere, that the page is a pure function of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from resmom.diagnose.labelfree import Better
from resmom.diagnose.rules import Finding

Line = Mapping[str, Any]
"""A line of metrics.jsonl or evaluations.jsonl."""

Rows = Sequence[tuple[str, str]]
"""Names and values, in the order of the page."""


@dataclass(frozen=True)
class Picture:
    """A small image as a data URI, what it shows in words, and the number of its class, if it has one."""

    uri: str
    words: str
    label: int | None = None


@dataclass(frozen=True)
class ViewRow:
    """One image and what the network was shown of it: `draws[d][v]` is view v of draw d."""

    original: Picture
    draws: tuple[tuple[Picture, ...], ...]


@dataclass(frozen=True)
class ViewSheet:
    """The views of some images, as the runs of these names draw them."""

    runs: tuple[str, ...]
    rows: tuple[ViewRow, ...]


@dataclass(frozen=True)
class Query:
    """An image and its nearest ones, nearest first, by the start weights (None if these are gone) and at the end."""

    picture: Picture
    before: tuple[Picture, ...] | None
    after: tuple[Picture, ...]


@dataclass(frozen=True)
class Point:
    """An image's place in the map: column and row of a grid."""

    column: int
    row: int
    picture: Picture


@dataclass(frozen=True)
class RunPictures:
    """What a run makes of images. `bank` were searched for neighbours; `no_map` says why the map is empty, if it is."""

    queries: tuple[Query, ...]
    bank: int
    points: tuple[Point, ...]
    no_map: str
    classes: tuple[str, ...]


@dataclass(frozen=True)
class Measure:
    """One quantity at the start (None if it was not measured) and at its newest measurement in each network."""

    quantity: str
    before: float | None
    student: float | None
    teacher: float | None
    better: Better
    protocol: str


@dataclass(frozen=True)
class Choice:
    """A setting that was derived or asked for at the start of a run without a recipe, and why it is so."""

    option: str
    value: str
    reason: str


@dataclass(frozen=True)
class Start:
    """One start of the run's process, from environment.jsonl."""

    time: str
    machine: str
    resmom: str
    versions: str
    command: str


@dataclass(frozen=True)
class RunRecord:
    """All that the page says of one run.

    `config` are the options that make the run what it is, by their dotted names, the seed apart; `choices` are those of
    a run without a recipe, with their reasons. `step` is how far it
    came, `steps` its planned length, None if not known. `seconds` were spent in the training loop. `unjudged` is what
    could not be looked for, and why; `short` whether that is everything. `pictures` are left out for the reason in
    `no_pictures`.
    """

    name: str
    config: Mapping[str, Any]
    seed: int
    data: Rows
    settings: Rows
    choices: Sequence[Choice]
    starts: Sequence[Start]
    step: int
    steps: int | None
    seconds: float | None
    lines: Sequence[Line]
    evaluations: Sequence[Line]
    measures: Sequence[Measure]
    findings: Sequence[Finding]
    unjudged: Sequence[str] = ()
    short: bool = False
    pictures: RunPictures | None = None
    no_pictures: str = ""

    @property
    def finished(self) -> bool:
        return self.steps is not None and self.step >= self.steps


Kind = Literal["found", "missed", "right", "wrong", "void"]
"""A true box that was found or missed, a found one that is right or wrong, and what counts for nothing either way:
difficult objects and crowds, and the detections that they explain."""


@dataclass(frozen=True)
class Mark:
    """A box on a photo: left, top, width, height as shares of its sides, and its class (and score) in words; where
    there is an instance mask, its `outline` as SVG's path in thousandths of the photo's sides."""

    kind: Kind
    box: tuple[float, float, float, float]
    words: str
    outline: str = ""


@dataclass(frozen=True)
class BoxPhoto:
    """A test photo, its sides' ratio, and the marks of each detector on it, in the order of the record's networks."""

    picture: Picture
    aspect: float
    marks: tuple[tuple[Mark, ...], ...]


@dataclass(frozen=True)
class Part:
    """A class in a mask: its name, the number of its colour, its share of the pixels in percent."""

    name: str
    colour: int
    share: float


@dataclass(frozen=True)
class Mask:
    """A class for every pixel of a photo: a picture of it as a data URI, and its parts, the largest first.

    `void`: percent of the pixels without a class, of the true mask. `right`: percent of the pixels that have a true
    class and were called so; None for the true mask.
    """

    uri: str
    parts: tuple[Part, ...]
    void: float = 0.0
    right: float | None = None


@dataclass(frozen=True)
class MaskPhoto:
    """A test photo, its sides' ratio, its true mask, and what each network said, in the order of the record's."""

    picture: Picture
    aspect: float
    truth: Mask
    said: tuple[Mask, ...]


@dataclass(frozen=True)
class TunedNetwork:
    """One fine-tuned backbone: what it began as in words, how far it is, its lines, and what the photos show of a
    detector: detections from this score on (else None)."""

    name: str
    words: str
    step: int
    lines: Sequence[Line]
    score: float | None = None


Shown = TypeVar("Shown", BoxPhoto, MaskPhoto)


@dataclass(frozen=True)
class TunedRecord(Generic[Shown]):
    """All that the page says of one folder of fine-tuned backbones.

    `measured`: by protocol (which names the test images), the newest scores of each network, by its name. `photos` are
    left out for the reason in `no_photos`.
    """

    name: str
    facts: Rows
    steps: int
    networks: Sequence[TunedNetwork]
    measured: Mapping[str, Mapping[str, Line]]
    starts: Sequence[Start]
    photos: Sequence[Shown] = ()
    no_photos: str = ""


DetectionRecord = TunedRecord[BoxPhoto]
SegmentationRecord = TunedRecord[MaskPhoto]


@dataclass(frozen=True)
class Live:
    """Of a page that is written anew while its runs go on: when it was, and after how many seconds it will be."""

    at: str
    seconds: int


@dataclass(frozen=True)
class Contents:
    """Everything on the page. `made`: when and by which version. `images`: whether pictures were asked for."""

    runs: Sequence[RunRecord]
    sheets: Sequence[ViewSheet]
    made: str
    images: bool
    detections: Sequence[DetectionRecord] = ()
    segmentations: Sequence[SegmentationRecord] = ()
    live: Live | None = None

    @property
    def tuned(self) -> Sequence[DetectionRecord | SegmentationRecord]:
        """The folders of fine-tuned backbones, in the order of the page."""
        return [*self.detections, *self.segmentations]
