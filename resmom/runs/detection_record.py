"""A folder of detectors to what a report says of it: settings, scores, curves, and photos with true and found boxes."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from resmom.checkpoint import CheckpointError
from resmom.config import backbone_from_json, part_from_json
from resmom.data.boxes import BoxData, Boxed
from resmom.data.decode import decode
from resmom.data.source import DataError
from resmom.errors import UserError
from resmom.evaluate.average_precision import Found, Truth
from resmom.evaluate.detection import Detect, detections
from resmom.evaluate.judge import best_score, from_score, judge
from resmom.nets.backbones import build_backbone
from resmom.report.contents import DetectionRecord, Kind, Line, Mark, Photo, Picture, Rows, Start, TunedNetwork
from resmom.report.thumbnails import data_uri
from resmom.rundir import RunDir, read_lines
from resmom.runs.detect import WORDS, Detection
from resmom.runs.environment import without_folders
from resmom.runs.machine import Machine
from resmom.runs.tuned import measured_digest
from resmom.runs.tuning import Job, fresh_tuning, load_tuning

SHOWN = 12
"""Photos on the page, drawn at random from the test images that hold an object."""
SIDE = 480
"""Longest side of such a photo in pixels."""


def is_detection(path: Path) -> bool:
    """Whether a folder holds detectors."""
    return (path / "detect.json").is_file()


def detection_record(folder: Path, name: str, starts: list[Start], images: bool) -> DetectionRecord:
    """All that a report says of this folder; with `images`, photos where they are still at hand."""
    written = json.loads((folder / "detect.json").read_text())
    config = part_from_json(written["settings"], Detect)
    networks = []
    for network in written["networks"]:
        lines = read_lines(RunDir(folder / network).metrics)
        step = max((line["step"] for line in lines), default=0)
        networks.append(TunedNetwork(network, without_folders(written["networks"][network]), step, lines))
    record = DetectionRecord(name, _facts(written, config), config.steps, networks, _measured(folder, networks), starts)
    if not images:
        return record
    if not written["test"]:
        return replace(record, no_photos=f"No photos of {name}: it has no test images.")
    try:
        return _with_photos(record, folder, written, config)
    except UserError as error:
        return replace(record, no_photos=f"No photos of {name}: {without_folders(str(error))}.")


def _facts(written: Mapping[str, Any], config: Detect) -> Rows:
    d, backbone = config.detector, dict(written["backbone"])
    kind = backbone.pop("kind")
    form = {
        "fpn": "Faster R-CNN on a feature pyramid",
        "c4": "Faster R-CNN on the last stage but one",
        "mask": "Mask R-CNN on a feature pyramid",
    }
    norm = "LayerNorm" if kind in ("MoCoViT", "DinoViT") else f"BatchNorm {d.norm}"
    optim = "" if config.optim == "sgd" else f"; AdamW, layer decay {config.layer_decay:g}"
    drops = ", ".join(f"{round(share * config.steps):,}" for share in config.drops)
    sides = f"{min(config.sides)} to {max(config.sides)} in training, {config.test_side} in testing"
    return [
        ("detector", f"{form.get(d.form, 'RetinaNet')}, {norm}"),
        ("backbone", f"{kind}, " + ", ".join(f"{k} {v}" for k, v in backbone.items())),
        *((f"{network} began as", without_folders(words)) for network, words in written["networks"].items()),
        ("learned from", f"{_places(written['data'])} ({written['images']:,} images)"),
        ("tested on", _places(written["test"]) or "nothing"),
        ("recipe", config.recipe),
        ("length", f"{config.steps:,} steps of {config.batch} images"),
        ("rate", f"{config.lr:g}, a tenth after {drops} steps{optim}"),
        ("shorter sides", f"{sides}; no side above {config.longest}"),
        ("precision, seed", f"{config.precision}, {config.seed}"),
    ]


def _places(specs: Sequence[str]) -> str:
    return ", ".join(map(without_folders, specs))


def _measured(folder: Path, networks: list[TunedNetwork]) -> dict[str, dict[str, Line]]:
    """The newest scores by protocol and network: those of training, then what `resmom detect evaluate` added."""
    found: dict[str, dict[str, Line]] = {}
    for network in networks:
        for line in network.lines:
            if line["kind"] == "detection":
                found.setdefault(line["protocol"], {})[network.name] = line
    for line in read_lines(folder / "evaluations.jsonl"):
        found.setdefault(line["protocol"], {})[line["network"]] = line
    return found


def _with_photos(record: DetectionRecord, folder: Path, written: Mapping[str, Any], config: Detect) -> DetectionRecord:
    classes = tuple(written["classes"])
    data = WORDS.open(written["test"], classes, written["settings"])
    if "test_digest" not in written:
        raise DataError("it does not say which test images it was measured on; an older version made it")
    if written["test_digest"] != measured_digest(data):
        where = _places(written["test"])
        raise DataError(f"the test images in {where}, or their boxes, are no longer those that it was measured on")
    shown = BoxData(data.name, classes, tuple(_drawn(data)))
    truth = [Truth(image.boxes, image.labels, image.difficult, image.crowd) for image in shown.images]
    networks, marks = [], []
    for network in record.networks:
        said = _said(folder, network.name, written, config, shown)
        score = best_score(said, truth)
        networks.append(replace(network, score=score))
        marks.append([
            tuple(_marks(from_score(one, score), its, image, classes))
            for one, its, image in zip(said, truth, shown.images, strict=True)
        ])  # fmt: skip
    photos = [
        Photo(_picture(image, n + 1), image.size[1] / image.size[0], tuple(own[n] for own in marks))
        for n, image in enumerate(shown.images)
    ]
    return replace(record, networks=networks, photos=photos)


def _drawn(data: BoxData) -> Iterator[Boxed]:
    """The same photos for every folder with these test images, in the order of the data."""
    with_objects = [image for image in data.images if (~(image.difficult | image.crowd)).any()]
    order: NDArray[np.int64] = np.random.default_rng(0).permutation(len(with_objects))[:SHOWN]
    return (with_objects[at] for at in np.sort(order))


def _said(folder: Path, name: str, written: Mapping[str, Any], config: Detect, shown: BoxData) -> list[Found]:
    device = torch.device("cpu")
    job = Job(Detection(config, shown, None), folder, device, Machine(device="cpu"))
    backbone = build_backbone(backbone_from_json(written["backbone"]))
    tuning = fresh_tuning(job, name, backbone, tuple(written["mean"]), tuple(written["std"]))
    if not RunDir(folder / name).last.exists():
        raise CheckpointError(f"{name} has no checkpoint")
    load_tuning(folder / name, tuning, device, folder / "detect.json")
    return detections(tuning.model, shown, config, device)


def _marks(said: Found, there: Truth, image: Boxed, classes: tuple[str, ...]) -> Iterator[Mark]:
    """True boxes first, so that found ones lie above them."""
    judged = judge(said, there)
    for box, label, found, hard, crowd in zip(
        there.boxes, there.labels, judged.found, there.ignore, there.crowd, strict=True
    ):
        name = classes[label]
        if hard or crowd:
            yield _mark("void", box, f"{name}, {'crowd' if crowd else 'difficult'}", image)
        else:
            yield _mark("found" if found else "missed", box, name, image)
    for box, label, score, right, void in zip(
        said.boxes, said.labels, said.scores, judged.right, judged.void, strict=True
    ):
        kind: Kind = "right" if right else "void" if void else "wrong"
        yield _mark(kind, box, f"{classes[label]} {_score(score)}", image)


def _score(value: float) -> str:
    """Two decimals, as they stand on a photo: .87"""
    return f"{value:.2f}".removeprefix("0")


def _mark(kind: Kind, box: NDArray[np.float64], words: str, image: Boxed) -> Mark:
    height, width = image.size
    x1, y1, x2, y2 = np.clip(box / [width, height, width, height], 0, 1).tolist()
    return Mark(kind, (x1, y1, x2 - x1, y2 - y1), words)


def _picture(image: Boxed, number: int) -> Picture:
    pixels = decode(image.path).permute(1, 2, 0).contiguous().numpy()
    return Picture(data_uri(pixels, SIDE), f"test photo {number}")
