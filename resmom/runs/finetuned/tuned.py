"""A folder of fine-tuned backbones: begun, continued, and measured again, for any task with labels.

OUT/FILE.json                settings, data, classes and backbones, written once
OUT/evaluations.jsonl        one line per backbone and measurement of `resmom … evaluate`
OUT/NAME/metrics.jsonl       one line per measurement in training; NAME is student, teacher, init or random
OUT/NAME/checkpoints/last.pt what a restart carries
"""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from resmom import dist
from resmom.called import called, either, setting
from resmom.checkpoint import save_checkpoint
from resmom.config import ConfigError, backbone_from_json, backbone_to_json
from resmom.data.annotations.labelled import IsPlace, absolute, files_digest, mended, needed, require_size
from resmom.data.decode import decode
from resmom.data.errors import DataError
from resmom.errors import RunDirError
from resmom.jsonfiles import append_line, read_object, write_json
from resmom.nets.backbones import build_backbone
from resmom.norun import tuned
from resmom.rundir import RunDir
from resmom.runs.device import default_device
from resmom.runs.environment import environment
from resmom.runs.finetuned.task import Labelled, Task
from resmom.runs.finetuned.tuning import Job, Measured, Tuning, content, fresh_tuning, load_tuning, measured, tune
from resmom.runs.machine import Machine
from resmom.runs.origin import Backbones, Origin
from resmom.runs.training.interrupt import interruptible

D = TypeVar("D", bound=Labelled)
BEGINNING = "beginning.part"
"""In the folder from before the first checkpoint is written until its file is: the names of what is being written. What
a process that was killed in between has left can be neither continued nor mistaken for anything else."""


@dataclass(frozen=True)
class Words(Generic[D]):
    """How a task is spoken of, and how it is found again from what its folder says."""

    verb: str
    """Of the command line; also the name of the folder's file."""
    task: str
    """"detection"."""
    things: str
    """What the backbones become, in the plural."""
    labels: str
    """What belongs to each image, in the plural."""
    open: Callable[[Sequence[str], tuple[str, ...], dict[str, Any]], D]
    """The images of some places, with the given classes, for the task of the given settings."""
    restore: Callable[[dict[str, Any], D, D | None], Task[D]]
    """The task of settings as plain values, on images to train on and images to measure on."""
    is_place: IsPlace
    """Of the places that `open` takes."""

    def file(self, out: Path) -> Path:
        return out / f"{self.verb}.json"


@dataclass(frozen=True)
class Ended:
    """How it ended: the newest measurement of each backbone, and the signal that stopped it, if one did."""

    path: Path
    rows: list[Measured]
    interrupted_by: int | None


@dataclass(frozen=True)
class Work:
    """What does the work of a verb: its settings by name, and its train, resume and evaluate."""

    recipe: Callable[[str], Any]
    train: Callable[[Any, Origin, Sequence[str], Sequence[str], Path, Machine], Ended]
    resume: Callable[[Path, Machine], Ended]
    evaluate: Callable[[Path, Sequence[str], Machine], list[Measured]]


def require_alone(words: Words[D]) -> None:
    """Raise ConfigError under torchrun: every process would train, measure and write the same."""
    if dist.announced() > 1:
        raise ConfigError(
            f"{words.task} runs in one process, and torchrun has started {dist.announced()}; start it without "
            f"torchrun, on one device ({setting('device', 'cuda:1')} chooses which)"
        )


def require_fresh(out: Path, words: Words[D]) -> None:
    """Raise UserError unless a training can begin in `out`."""
    require_alone(words)
    if words.file(out).exists():
        raise RunDirError(
            f"{out} already holds {words.things}; continue with `resmom {words.verb} resume {out}`, or another "
            f"{called('out')}"
        )
    if not (out / BEGINNING).exists():
        RunDir(out).refuse_if_used()


def begin(
    task: Task[D],
    words: Words[D],
    found: Backbones,
    train: Sequence[str],
    test: Sequence[str],
    out: Path,
    machine: Machine,
) -> Ended:
    """Fine-tune every backbone of `found`; `train` and `test` are the places that the task's images came from."""
    task.samples()  # whether the images fill a batch
    task.require_sizes()
    for image in [] if task.test is None else task.test.images:  # now, and not when all is trained
        height, width = needed(decode, image.path).shape[1:]
        require_size(image.path, (height, width), image.size, words.labels)
    job = Job(task, out, default_device(machine.device), machine)
    with RunDir(out).worked_in():
        require_fresh(out, words)  # once more, now that nobody else can come between
        _clear(out)
        write_json(out / BEGINNING, list(found.weights))
        try:
            for name, backbone in found.weights.items():
                tuning = fresh_tuning(job, name, backbone, found.mean, found.std)
                save_checkpoint(RunDir(out / name).last, content(job, tuning))
            write_json(words.file(out), _written(task, words, found, train, test))
        except BaseException:  # without its file the folder could neither be continued nor begun in
            _clear(out)
            raise
        return _all(job, words, found)


def _clear(out: Path) -> None:
    """Remove what a beginning that did not come to its end has left."""
    if (out / BEGINNING).exists():
        for name in json.loads((out / BEGINNING).read_text()):
            shutil.rmtree(out / name, ignore_errors=True)
        (out / BEGINNING).unlink()


def resume(words: Words[D], out: Path, machine: Machine) -> Ended:
    """Continue every backbone of the folder where it stopped."""
    require_alone(words)
    written = described(out, words)
    classes, settings = tuple(written["classes"]), written["settings"]
    test = words.open(written["test"], classes, settings) if written["test"] else None
    if test is not None:
        _require_same(out, written, test, words, "put them back, or start anew")
    task = words.restore(settings, words.open(written["data"], classes, settings), test)
    job = Job(task, out, default_device(machine.device), machine)
    with RunDir(out).worked_in():
        return _all(job, words, backbones_of(written))


def evaluate(words: Words[D], out: Path, test: Sequence[str], machine: Machine) -> list[Measured]:
    """Measure every backbone of the folder as it is: on `test`, else on the folder's own test images."""
    require_alone(words)
    written = described(out, words)
    data = words.open(_places(out, written, test), tuple(written["classes"]), written["settings"])
    if not test:
        meant = either("--data DATA", "name them as test")
        _require_same(out, written, data, words, f"put them back, or say that these are meant: {meant}")
    task = words.restore(written["settings"], data, data)
    found = backbones_of(written)
    job = Job(task, out, default_device(machine.device), machine)
    rows = []
    for name in found.words:
        tuning, _ = as_saved(job, words, found, name)
        rows.append(measured(job, tuning, data))
        append_line(out / "evaluations.jsonl", {**rows[-1].plain(), "environment": environment()})
    return rows


def described(out: Path, words: Words[D]) -> dict[str, Any]:
    """What the folder's file says. Raises RunDirError where there is none."""
    file = words.file(out)
    if not file.is_file():
        other = tuned(out) or f"make some with `resmom {words.verb} train`"
        raise RunDirError(f"{out} holds no {words.things}: it has no {file.name}; {other}")
    content = read_object(file)
    return content | {key: [mended(spec, words.is_place) for spec in content.get(key, ())] for key in ("data", "test")}


def _places(out: Path, written: dict[str, Any], test: Sequence[str]) -> list[str]:
    specs = list(test) or list(written["test"])
    if not specs:
        which = either("--data DATA", "name them as test")
        raise DataError(f"{out} was trained without test images; say which to measure on: {which}")
    return specs


def backbones_of(written: dict[str, Any]) -> Backbones:
    """The backbones that a folder speaks of, without their weights, which lie in its checkpoints."""
    config = backbone_from_json(written["backbone"])
    return Backbones(config, tuple(written["mean"]), tuple(written["std"]), {}, written["networks"])


def as_saved(job: Job[D], words: Words[D], found: Backbones, name: str) -> tuple[Tuning, dict[str, Any]]:
    """The network called `name` as its newest checkpoint has it, and that checkpoint. Raises CheckpointError."""
    tuning = fresh_tuning(job, name, build_backbone(found.config), found.mean, found.std)
    return tuning, load_tuning(job.folder / name, tuning, job.device, words.file(job.folder))


def _written(
    task: Task[D], words: Words[D], found: Backbones, train: Sequence[str], test: Sequence[str]
) -> dict[str, Any]:
    return {
        "format": 1,
        "settings": task.settings(),
        "data": [absolute(spec, words.is_place) for spec in train],
        "test": [absolute(spec, words.is_place) for spec in test],
        "test_digest": None if task.test is None else measured_digest(task.test),
        "images": len(task.train.images),
        "classes": list(task.train.classes),
        "backbone": backbone_to_json(found.config),
        "mean": list(found.mean),
        "std": list(found.std),
        "networks": found.words,
    }


def measured_digest(test: Labelled) -> str:
    """What a folder keeps of the images that it is measured on."""
    return files_digest(test.fingerprint(), (image.path for image in test.images))


def _require_same(out: Path, written: dict[str, Any], test: D, words: Words[D], remedy: str) -> None:
    """Raise DataError if the folder's test images are others than at its beginning."""
    if written.get("test_digest") not in (None, measured_digest(test)):
        raise DataError(f"the test images or their {words.labels} are not those that {out} was begun with; {remedy}")


def _all(job: Job[D], words: Words[D], found: Backbones) -> Ended:
    rows: list[Measured] = []
    append_line(job.folder / "environment.jsonl", environment())
    (job.folder / BEGINNING).unlink(missing_ok=True)
    with interruptible() as interrupt:
        for name in found.words:
            tuning, saved = as_saved(job, words, found, name)
            if saved["data"] != job.task.train.fingerprint():
                raise DataError(
                    f"the images or {words.labels} are not those that {job.folder} was begun with; put them back, "
                    "or start anew"
                )
            try:
                row = tune(job, tuning, interrupt, found.words[name])
            except DataError as error:  # an image that cannot be read; between two steps, or after the last
                save_checkpoint(RunDir(job.folder / name).last, content(job, tuning))
                raise DataError(
                    f"{error}. {tuning.step} steps of {name} are saved: once it is mended, "
                    f"`resmom {words.verb} resume {job.folder}` goes on"
                ) from error
            rows += [] if row is None else [row]
            if interrupt.asked:
                break
    return Ended(job.folder, rows, interrupt.signal)
