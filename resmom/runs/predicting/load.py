"""Trained networks read back from where they were left: detectors and segmentation networks from their folders."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from resmom.arguments import arguments_checked
from resmom.checkpoint import CheckpointError
from resmom.config import part_from_json
from resmom.data.annotations.boxes import BoxData
from resmom.data.annotations.masks import MaskData
from resmom.errors import UserError
from resmom.evaluate.detection import Detect
from resmom.evaluate.trained import TrainedDetector, TrainedSegmenter
from resmom.rundir import RunDir
from resmom.runs.device import default_device
from resmom.runs.finetuned import detect, segment
from resmom.runs.finetuned.task import Labelled, Task
from resmom.runs.finetuned.tuned import Words, as_saved, backbones_of, described
from resmom.runs.finetuned.tuning import Job, Tuning
from resmom.runs.generators import generators_kept
from resmom.runs.machine import Machine

D = TypeVar("D", bound=Labelled)


@arguments_checked()
@generators_kept()
def load_detector(path: str | Path, network: str | None = None, device: str = "cpu") -> TrainedDetector:
    """A detector of a folder of `resmom detect train`: uint8 images of any size to boxes, evaluation mode, no gradient.

    `network`: student, teacher, init or random, whichever the folder has; by default its only one, else the student.
    Raises RunDirError, CheckpointError, ConfigError; UserError for a network that is not there, or has diverged.
    """
    folder = Path(path).expanduser()
    written = described(folder, detect.WORDS)
    classes = tuple(written["classes"])
    config = part_from_json(written["settings"], Detect)
    name = chosen(written, folder, network)
    tuning = _saved(
        detect.Detection(config, BoxData("", classes, ()), None), detect.WORDS, folder, written, name, device
    )
    try:
        return TrainedDetector(tuning.model, config, classes, name, tuning.step)
    except ValueError as error:
        raise UserError(f"the {name} in {folder} cannot be used: {error}") from error


@arguments_checked()
@generators_kept()
def load_segmenter(path: str | Path, network: str | None = None, device: str = "cpu") -> TrainedSegmenter:
    """A network of a folder of `resmom segment train`: uint8 images of any size to the class of every pixel.

    `network` and what is raised as for `load_detector`; UserError also where training has not chosen a learning rate
    yet.
    """
    folder = Path(path).expanduser()
    written = described(folder, segment.WORDS)
    classes = tuple(written["classes"])
    task = segment.restored(written["settings"], MaskData("", classes, ()), None)
    name = chosen(written, folder, network)
    tuning = _saved(task, segment.WORDS, folder, written, name, device)
    try:
        votes = task.votes(tuning.model)
    except ValueError as error:
        raise UserError(f"the {name} in {folder} cannot be used: {error}") from error
    sides = (task.config.side, task.config.longest)
    return TrainedSegmenter(tuning.model, votes, sides, classes, name, tuning.step)


def chosen(written: Mapping[str, Any], folder: Path, network: str | None) -> str:
    """Which of a folder's networks: the one asked for, else the only one, else the student. Raises UserError."""
    there = list(written["networks"])
    if network is None:
        return "student" if "student" in there else there[0]
    if network not in there:
        raise UserError(f"{folder} has no network '{network}'; it has {', '.join(there)}")
    return network


def _saved(task: Task[D], words: Words[D], folder: Path, written: dict[str, Any], name: str, device: str) -> Tuning:
    place = default_device(device)
    if not RunDir(folder / name).last.exists():
        raise CheckpointError(f"{name} in {folder} has no checkpoint; `resmom {words.verb} resume {folder}` makes one")
    job = Job(task, folder, place, Machine(device=device, quiet=True))
    return as_saved(job, words, backbones_of(written), name)[0]
