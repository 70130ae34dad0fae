"""A folder of detectors to what a report says of it: settings, scores, curves, and photos with true and found boxes."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from resmom.config import part_from_json
from resmom.data.annotations.boxes import BoxData, Boxed
from resmom.data.annotations.runlength import decoded
from resmom.evaluate.average_precision import Found, Truth
from resmom.evaluate.detection import Detect, detections
from resmom.evaluate.judge import best_score, from_score, judge
from resmom.report.contents import BoxPhoto, DetectionRecord, Kind, Mark, Rows, Start
from resmom.report.outline import outline
from resmom.runs.finetuned.detect import WORDS, Detection
from resmom.runs.finetuned.tuned_record import CPU, PHOTOS, TunedFolder, drawn, falling, picture


def is_detection(path: Path) -> bool:
    """Whether a folder holds detectors."""
    return WORDS.file(path).is_file()


def detection_record(path: Path, name: str, starts: list[Start], images: bool) -> DetectionRecord:
    """All that a report says of this folder; with `images`, photos where they are still at hand."""
    folder = TunedFolder(path, WORDS)
    config = part_from_json(folder.written["settings"], Detect)
    networks = folder.networks()
    record = DetectionRecord(
        name, _facts(folder, config), config.steps, networks, folder.measured(Detection.kind, networks), starts
    )
    if not images:
        return record
    return folder.photographed(record, lambda record, data: _with_photos(record, folder, config, data))


def _facts(folder: TunedFolder[BoxData], config: Detect) -> Rows:
    d = config.detector
    form = {
        "fpn": "Faster R-CNN on a feature pyramid",
        "c4": "Faster R-CNN on the last stage but one",
        "mask": "Mask R-CNN on a feature pyramid",
    }
    norm = "LayerNorm" if folder.written["backbone"]["kind"] in ("MoCoViT", "DinoViT") else f"BatchNorm {d.norm}"
    optim = "" if config.optim == "sgd" else f"; AdamW, layer decay {config.layer_decay:g}"
    sides = f"{min(config.sides)} to {max(config.sides)} in training, {config.test_side} in testing"
    return [
        ("detector", f"{form.get(d.form, 'RetinaNet')}, {norm}"),
        *folder.facts(),
        ("length", f"{config.steps:,} steps of {config.batch} images"),
        ("rate", f"{falling(config.lr, config.drops, config.steps)}{optim}"),
        ("shorter sides", f"{sides}; no side above {config.longest}"),
        ("precision, seed", f"{config.precision}, {config.seed}"),
    ]


def _with_photos(
    record: DetectionRecord, folder: TunedFolder[BoxData], config: Detect, data: BoxData
) -> DetectionRecord:
    shown = BoxData(data.name, data.classes, tuple(_drawn(data)))
    task = Detection(config, shown, None)
    truth = [Truth(image.boxes, image.labels, image.difficult, image.crowd) for image in shown.images]
    networks, marks = [], []
    for network in record.networks:
        said = detections(folder.model(network.name, task), shown, config, CPU)
        score = best_score(said, truth)
        networks.append(replace(network, score=score))
        marks.append([
            tuple(_marks(from_score(one, score), its, image, data.classes))
            for one, its, image in zip(said, truth, shown.images, strict=True)
        ])  # fmt: skip
    photos = [
        BoxPhoto(picture(image.path, n + 1), image.size[1] / image.size[0], tuple(own[n] for own in marks))
        for n, image in enumerate(shown.images)
    ]
    return replace(record, networks=networks, photos=photos)


def _drawn(data: BoxData) -> Iterator[Boxed]:
    """The same photos for every folder with these test images, in the order of the data."""
    with_objects = [image for image in data.images if (~(image.difficult | image.crowd)).any()]
    return (with_objects[at] for at in np.sort(drawn(len(with_objects))[:PHOTOS]))


def _marks(said: Found, there: Truth, image: Boxed, classes: tuple[str, ...]) -> Iterator[Mark]:
    """True boxes first, so that found ones lie above them."""
    judged = judge(said, there)
    true = zip(there.boxes, there.labels, judged.found, there.ignore, there.crowd, strict=True)
    outlines = _outlines(image.masks, len(there.labels), image)
    for (box, label, found, hard, crowd), edge in zip(true, outlines, strict=True):
        name = classes[label]
        if hard or crowd:
            yield _mark("void", box, f"{name}, {'crowd' if crowd else 'difficult'}", image, edge)
        else:
            yield _mark("found" if found else "missed", box, name, image, edge)
    detected = zip(said.boxes, said.labels, said.scores, judged.right, judged.void, strict=True)
    outlines = _outlines(said.masks, len(said.labels), image)
    for (box, label, score, right, void), edge in zip(detected, outlines, strict=True):
        kind: Kind = "right" if right else "void" if void else "wrong"
        yield _mark(kind, box, f"{classes[label]} {_score(score)}", image, edge)


def _outlines(masks: Sequence[bytes] | None, boxes: int, image: Boxed) -> list[str]:
    """The edge of each mask; nothing for boxes alone."""
    if masks is None:
        return [""] * boxes
    return [outline(decoded([mask], image.size)[0].astype(bool)) for mask in masks]


def _score(value: float) -> str:
    """Two decimals, as they stand on a photo: .87"""
    return f"{value:.2f}".removeprefix("0")


def _mark(kind: Kind, box: NDArray[np.float64], words: str, image: Boxed, edge: str) -> Mark:
    height, width = image.size
    x1, y1, x2, y2 = np.clip(box / [width, height, width, height], 0, 1).tolist()
    return Mark(kind, (x1, y1, x2 - x1, y2 - y1), words, edge)
