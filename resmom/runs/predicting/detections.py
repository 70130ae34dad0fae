"""A detector on the images of a place: COCO's results, the images that they speak of, and pictures.

DIR/detections.json   COCO's results: a list with image_id, category_id, bbox (x, y, width, height), score of each, and
                      of a Mask R-CNN segmentation, run lengths; beside these category_name
DIR/images.json       the images by id, the categories, and in `info` where all this comes from; COCO's form, too
DIR/unreadable.jsonl  the images that cannot be read, with the reason; only where there are any
DIR/pictures/         some photos with their boxes, where these were asked for
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from resmom.data.annotations.runlength import decoded
from resmom.evaluate.average_precision import Found
from resmom.evaluate.judge import from_score
from resmom.evaluate.trained import TrainedDetector
from resmom.report.drawn import Drawn, with_boxes
from resmom.runs.predicting.images import Pictures, require_whole
from resmom.runs.predicting.written import Told, Written, evenly, list_unread, photo_of, readable, save_picture

SHOWN = 0.5
"""Score from which on detections are drawn, where no threshold is given."""


def write_detections(
    folder: Path,
    detector: TrainedDetector,
    pictures: Pictures,
    info: Mapping[str, Any],
    threshold: float | None,
    draw: int,
    told: Told,
) -> Written:
    """Fill a new folder. `threshold`: the least score, by default the detector's own; `draw`: so many pictures.

    Raises DataError for images whose pixels are not those of their files.
    """
    require_whole(pictures, "boxes")
    counts: Counter[str] = Counter(dict.fromkeys(detector.classes, 0))
    unread, drawn, images = list(pictures.unread), evenly(len(pictures), draw), 0
    with _listed(folder / "detections.json", "[", "]") as results, _images(folder, detector, info) as listed:
        for made in readable(pictures, unread, told):
            images += 1
            found = detector.found(made.content)
            if threshold is not None:  # the detector has dropped what is below its own
                found = from_score(found, threshold)
            height, width = made.content.shape[1:]
            listed({"id": images, "file_name": made.name, "width": width, "height": height})
            for line in _lines(found, images, detector.classes, (height, width)):
                counts[line["category_name"]] += 1
                results(line)
            if made.number in drawn:
                shown = from_score(found, SHOWN) if threshold is None else found
                save_picture(folder, made.name, _drawn(made.content, shown, detector.classes))
    list_unread(folder / "unreadable.jsonl", unread)
    return Written(images, tuple(unread), dict(counts))


def _lines(found: Found, image: int, classes: tuple[str, ...], size: tuple[int, int]) -> Iterator[dict[str, Any]]:
    for at, (box, label, score) in enumerate(zip(found.boxes, found.labels, found.scores, strict=True)):
        x1, y1, x2, y2 = box.tolist()
        line = {
            "image_id": image,
            "category_id": int(label) + 1,
            "category_name": classes[label],
            "bbox": [round(value, 3) for value in (x1, y1, x2 - x1, y2 - y1)],
            "score": round(float(score), 6),
        }
        if found.masks is not None:
            line["segmentation"] = {"size": list(size), "counts": found.masks[at].decode("ascii")}
        yield line


@contextmanager
def _images(folder: Path, detector: TrainedDetector, info: Mapping[str, Any]) -> Iterator[Any]:
    categories = [{"id": at + 1, "name": name} for at, name in enumerate(detector.classes)]
    head = f'{{"info": {_plain(info)},\n"categories": {_plain(categories)},\n"annotations": [],\n"images": ['
    with _listed(folder / "images.json", head, "]}") as listed:
        yield listed


@contextmanager
def _listed(path: Path, head: str, end: str) -> Iterator[Any]:
    """A JSON file with one long list in it, to which each call adds an entry."""
    with path.open("w", encoding="utf-8", errors="backslashreplace") as file:
        file.write(head)
        yield _Entries(file)
        file.write(f"\n{end}\n")


class _Entries:
    def __init__(self, file: IO[str]) -> None:
        self._file, self._before = file, "\n"

    def __call__(self, entry: Mapping[str, Any]) -> None:
        self._file.write(self._before + _plain(entry))
        self._before = ",\n"


def _plain(content: Any) -> str:
    return json.dumps(content, ensure_ascii=False)


def _drawn(pixels: UInt8[Tensor, "3 h w"], found: Found, classes: tuple[str, ...]) -> Image.Image:
    height, width = pixels.shape[1:]
    masks = [None] * len(found.labels) if found.masks is None else decoded(found.masks, (height, width)).astype(bool)
    each = zip(found.boxes, found.labels, found.scores, masks, strict=True)
    things = [
        Drawn((*box.tolist(),), int(label), f"{classes[label]} {score:.2f}", mask) for box, label, score, mask in each
    ]
    return with_boxes(photo_of(pixels), things)
