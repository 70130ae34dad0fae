"""`resmom predict`: what was trained, on images without labels."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from resmom.called import called, either
from resmom.data.source import Data
from resmom.errors import RunDirError, UserError
from resmom.export.record import newest
from resmom.jsonfiles import read_lines
from resmom.norun import tuned
from resmom.ondisk import new_folder, require_new_file, require_new_folder, require_writable
from resmom.rundir import RunDir
from resmom.runs.finetuned import detect, segment
from resmom.runs.finetuned.tuned import Words, described
from resmom.runs.measuring.classifierfile import SUFFIX, load_classifier
from resmom.runs.predicting.classes import write_classes
from resmom.runs.predicting.detections import write_detections
from resmom.runs.predicting.images import Pictures, Unread, open_pictures
from resmom.runs.predicting.load import load_detector, load_segmenter
from resmom.runs.predicting.masks import write_masks
from resmom.runs.predicting.written import Told, Written
from resmom.version import VERSION

Kind = Literal["detections", "masks", "classes"]
SCORES = {detect.WORDS.task: "ap", segment.WORDS.task: "miou"}
"""The number by which the networks of a folder are told apart."""
WORDS = {"ap": "AP", "miou": "mIoU"}


@dataclass(frozen=True)
class Predicted:
    """What was written, and where; `counts` by class: detections, pixels, or images."""

    path: Path
    kind: Kind
    images: int
    unreadable: tuple[Unread, ...]
    counts: Mapping[str, int]
    info: Mapping[str, Any]
    """Which network, after how many steps, and the like; what the files say, too."""
    passed_over: str = ""
    """All that lies beside the images and was not looked at, in words."""

    def plain(self) -> dict[str, Any]:
        """As plain values for JSON."""
        unread = [each.plain() for each in self.unreadable]
        told = {"path": str(self.path), "kind": self.kind, "images": self.images, "unreadable": unread}
        return {**told, "counts": dict(self.counts), **self.info}


def predict(
    trained: Path,
    data: str | Data,
    out: Path,
    network: str | None = None,
    threshold: float | None = None,
    draw: int | None = None,
    device: str = "auto",
    say: Callable[[str], None] = lambda words: None,
) -> Predicted:
    """Run what `trained` holds on all images of a place, and write what it says of them to `out`.

    `trained` is a folder of `resmom detect train` or `segment train`, for which `out` is a new folder, or a file of
    `resmom evaluate --save-classifier`, for which it is a new .csv. It is written whole or not at all. Few images are
    in memory at a time; those that cannot be read are listed. `network`: which of a folder's. `threshold`: the least
    score of a detection. `draw`: so many pictures. `say` is told, from time to time, how far it is.

    Raises UserError (RunDirError, CheckpointError, WeightsError, DataError, ConfigError), before anything is written,
    for what is no such thing, for options that it has no use for, and for an `out` that is in use.
    """
    if threshold is not None and not 0 <= threshold <= 1:
        raise UserError(f"{called('threshold')} is {threshold:g}; a score lies in 0 to 1")
    if draw is not None and draw < 0:
        raise UserError(f"{called('draw')} is {draw}; it is a number of pictures, 0 or more")
    if detect.WORDS.file(trained).is_file():
        return _detections(trained, data, out, network, threshold, draw or 0, device, say)
    if segment.WORDS.file(trained).is_file():
        _require_unused("a segmentation network", {"threshold": threshold})
        return _masks(trained, data, out, network, draw or 0, device, say)
    if trained.suffix != SUFFIX or trained.is_dir():
        raise RunDirError(_nothing_trained(trained))
    _require_unused("a classifier", {"network": network, "threshold": threshold, "draw": draw})
    return _classes(trained, data, out, device, say)


def _detections(
    trained: Path,
    data: str | Data,
    out: Path,
    network: str | None,
    threshold: float | None,
    draw: int,
    device: str,
    say: Callable[[str], None],
) -> Predicted:
    require_new_folder(out)
    detector = load_detector(trained, network, device)
    pictures = open_pictures(data)
    info = _info(trained, detect.WORDS, detector.network, detector.step)
    info |= {} if threshold is None else {"threshold": threshold}
    _say_which(info, detect.WORDS, say)
    with new_folder(out) as folder:
        found = write_detections(folder, detector, pictures, info, threshold, draw, Told(len(pictures), say))
    return _predicted(out, "detections", pictures, found, info)


def _masks(
    trained: Path, data: str | Data, out: Path, network: str | None, draw: int, device: str, say: Callable[[str], None]
) -> Predicted:
    require_new_folder(out)
    segmenter = load_segmenter(trained, network, device)
    pictures = open_pictures(data)
    info = _info(trained, segment.WORDS, segmenter.network, segmenter.step)
    _say_which(info, segment.WORDS, say)
    with new_folder(out) as folder:
        found = write_masks(folder, segmenter, pictures, info, draw, Told(len(pictures), say))
    return _predicted(out, "masks", pictures, found, info)


def _classes(trained: Path, data: str | Data, out: Path, device: str, say: Callable[[str], None]) -> Predicted:
    require_new_file(out, ".csv")
    classifier = load_classifier(trained, device)
    pictures = open_pictures(data)
    out.parent.mkdir(parents=True, exist_ok=True)
    require_writable(out)
    said = classifier.said
    info: dict[str, Any] = {name: said[name] for name in ("network", "protocol", "top1", "data") if name in said}
    found = write_classes(out, classifier, pictures, Told(len(pictures), say))
    return _predicted(out, "classes", pictures, found, {"classifier": trained.name, **info})


def _predicted(out: Path, kind: Kind, pictures: Pictures, found: Written, info: Mapping[str, Any]) -> Predicted:
    return Predicted(out, kind, found.images, found.unread, found.counts, info, pictures.passed_over)


def _info(trained: Path, words: Words[Any], network: str, step: int) -> dict[str, Any]:
    """What the files say of their origin, without a place: they may be passed on."""
    measured = {name: _measured(trained, words, name) for name in described(trained, words)["networks"]}
    own = measured.pop(network)
    return {
        "description": f"resmom predict, {VERSION}",
        "trained": trained.resolve().name,
        "network": network,
        "step": step,
        **own,
        "others": measured,
    }


def _measured(trained: Path, words: Words[Any], network: str) -> dict[str, Any]:
    """The newest measurement of a network in its training; empty where there is none, or none with a number."""
    line, name = newest(read_lines(RunDir(trained / network).metrics), words.task), SCORES[words.task]
    if not line or not math.isfinite(line[name]):
        return {}
    return {name: line[name], "measured_at_step": line["step"], "protocol": line["protocol"]}


def _say_which(info: Mapping[str, Any], words: Words[Any], say: Callable[[str], None]) -> None:
    """Which network speaks, where there are several, and how they were measured: nobody should have to guess."""
    name = SCORES[words.task]
    if info["others"]:
        others = ", ".join(f"{other}{_scored(line, name)}" for other, line in info["others"].items())
        say(f"the {info['network']}{_scored(info, name)} is asked; {called('network')} also takes {others}")


def _scored(line: Mapping[str, Any], name: str) -> str:
    return f" ({WORDS[name]} {line[name]:.2f})" if name in line else ""


def _require_unused(what: str, fields: Mapping[str, object]) -> None:
    for field, value in fields.items():
        if value is not None:
            raise UserError(f"{called(field)} has no effect on {what}; leave it out")


def _nothing_trained(path: Path) -> str:
    """Why there is nothing to predict with, and what to do."""
    takes = (
        "`resmom predict` takes a folder of `resmom detect train` or `resmom segment train`, or a classifier's file "
        f"({SUFFIX}) of {either('`resmom evaluate RUN --save-classifier`', 'evaluate(save_classifier=FILE)')}"
    )
    if not path.exists():
        return f"{path} does not exist; {takes}"
    if RunDir(path).config.exists():
        return (
            f"{path} is a run, which names no classes: train a classifier on it first, with "
            + either(
                f"`resmom evaluate {path} --data LABELLED --network student --protocols linear --save-classifier "
                "FILE.safetensors`",
                "evaluate('linear', data=LABELLED, network='student', save_classifier='FILE.safetensors') of its "
                "result",
            )
            + f", or a detector or a segmentation network; {takes}"
        )
    return f"{path} holds nothing that names classes; {tuned(path) or takes}"
