"""The section on detectors: what is measured of them, and the sentences beside their photos."""

from collections.abc import Sequence

from resmom.report.charts import Chart, Curve
from resmom.report.contents import BoxPhoto, Kind, Mark
from resmom.report.tuned import Record, Wording, digits

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
CHARTS = (
    *(
        Chart(words, "On the test images, %.", (Curve("detection", key, words),), digits=digits, from_zero=True)
        for key, words in SCORES[:6]
    ),
    Chart("Loss", "Sum of the detector's losses while it learns.", (Curve("train", "loss", "loss"),)),
)


def _charts(record: Record) -> Sequence[Chart]:
    return CHARTS


WORDING = Wording(
    "detector",
    "Average precision, %",
    SCORES,
    (("per_class", "AP"), ("voc07_ap50_per_class", "VOC 2007's AP50"), ("mask_per_class", "Mask AP")),
    _charts,
)

MARKS: tuple[tuple[Kind, str], ...] = (
    ("right", "found, and right"),
    ("wrong", "found, but nothing of the kind there"),
    ("missed", "object that was missed"),
    ("found", "object that was found"),
    ("void", "difficult, a crowd, or found in one: does not count"),
)
"""The key to the lines on the photos."""


def outlined(photos: Sequence[BoxPhoto]) -> bool:
    """Whether any mark has an instance mask."""
    return any(mark.outline for photo in photos for marks in photo.marks for mark in marks)


def tag_place(mark: Mark) -> str:
    """Where a box's words stand, as CSS: those of detections at its top, those of missed objects at its bottom; aligned
    with its right side in the right half of the photo, so that they stay on it."""
    x, y, width, height = mark.box
    across = f"right: {100 * max(0.0, 1 - x - width):.2f}%" if x + width / 2 > 0.5 else f"left: {100 * x:.2f}%"
    if mark.kind == "missed":
        return f"{across}; bottom: {100 * max(0.0, 1 - y - height):.2f}%"
    return f"{across}; bottom: {100 * (1 - y):.2f}%" if y > 0.1 else f"{across}; top: {100 * y:.2f}%"


def shown_from(photos: Sequence[BoxPhoto], network: int, score: float) -> str:
    """From which score on a network's detections are shown, and what they come to; none where nothing is right."""
    right = any(mark.kind == "right" for photo in photos for mark in photo.marks[network])
    return f"from {score:.2f}, {counted(photos, network)}" if right else "finds none of these objects, at any score"


def counted(photos: Sequence[BoxPhoto], network: int) -> str:
    """What the shown photos come to for one network."""
    kinds: list[Kind] = [mark.kind for photo in photos for mark in photo.marks[network]]
    found, objects = kinds.count("found"), kinds.count("found") + kinds.count("missed")
    return f"{found} of {objects} object{'' if objects == 1 else 's'} found, {kinds.count('wrong')} false"


def told(photo: BoxPhoto, network: int) -> str:
    """One photo in words, for who cannot see it."""
    words = {"missed": "missed", "right": "found", "wrong": "falsely detected"}
    parts = [f"{words[mark.kind]}: {mark.words}" for mark in photo.marks[network] if mark.kind in words]
    return f"{photo.picture.words}. {'; '.join(parts) or 'nothing detected, nothing to find'}."
