"""A folder of fine-tuned backbones to what a report says of it, as far as that is the same for every task."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from resmom.checkpoint import CheckpointError
from resmom.data.annotations.labelled import needed
from resmom.data.decode import decode
from resmom.data.errors import DataError
from resmom.errors import UserError
from resmom.export.record import newest
from resmom.jsonfiles import read_lines
from resmom.report.contents import Line, Picture, Rows, Shown, TunedNetwork, TunedRecord
from resmom.report.thumbnails import data_uri
from resmom.rundir import RunDir
from resmom.runs.environment import last_part, without_folders
from resmom.runs.finetuned.task import Labelled, Task
from resmom.runs.finetuned.tuned import Words, as_saved, backbones_of, described, measured_digest
from resmom.runs.finetuned.tuning import Job, at_any_step
from resmom.runs.machine import Machine

PHOTOS = 12
"""Photos on the page, drawn at random from the test images that show something."""
SIDE = 480
"""Longest side of such a photo in pixels."""

CPU = torch.device("cpu")

BEGAN = re.compile(
    r"(?P<before>\w+ of |\d+ tensors of the backbone from )(?P<place>.+?)"
    r"(?P<after> at step \d+|( under '[^']*')?(; not used: .*)?)"
)
"""How `runs/origin.py` tells where a network comes from."""

D = TypeVar("D", bound=Labelled)


class TunedFolder(Generic[D]):
    """A folder of `runs/finetuned/tuned.py`: `written` is what its file says."""

    def __init__(self, path: Path, words: Words[D]) -> None:
        self.path, self._words, self.written = path, words, described(path, words)

    def networks(self) -> list[TunedNetwork]:
        """Each backbone and its lines."""
        found = []
        for name, words in self.written["networks"].items():
            lines = read_lines(RunDir(self.path / name).metrics)
            step = max((line["step"] for line in lines), default=0)
            found.append(TunedNetwork(name, _began_as(words), step, lines))
        return found

    def measured(self, kind: str, networks: Sequence[TunedNetwork]) -> dict[str, dict[str, Line]]:
        """The newest scores by protocol and network: those of training, then what `resmom … evaluate` added.

        What a network scored on the same images at an earlier step is not among them.
        """
        trained = [{**line, "network": network.name} for network in networks if (line := newest(network.lines, kind))]
        last: dict[tuple[str, str], Line] = {}
        for line in [*trained, *read_lines(self.path / "evaluations.jsonl")]:
            key = line["network"], at_any_step(line["protocol"])
            if key not in last or line["step"] >= last[key]["step"]:
                last[key] = line
        found: dict[str, dict[str, Line]] = {}
        for line in last.values():
            found.setdefault(line["protocol"], {})[line["network"]] = line
        return found

    def facts(self) -> Rows:
        """Backbone and data in words, without a place."""
        written, backbone = self.written, dict(self.written["backbone"])
        kind = backbone.pop("kind")
        return [
            ("backbone", f"{kind}, " + ", ".join(f"{name} {value}" for name, value in backbone.items())),
            *((f"{network} began as", _began_as(words)) for network, words in written["networks"].items()),
            ("learned from", f"{_places(written['data'])} ({written['images']:,} images)"),
            ("tested on", _places(written["test"]) or "nothing"),
            ("recipe", written["settings"]["recipe"]),
        ]

    def test_images(self) -> D:
        """The test images, if they are still those that were measured. Raises DataError if not; no file is named."""
        written, where = self.written, _places(self.written["test"])
        if not written["test"]:
            raise DataError("it has no test images")
        if "test_digest" not in written:
            raise DataError("it does not say which test images it was measured on; an older version made it")
        try:
            data = self._words.open(written["test"], tuple(written["classes"]), written["settings"])
            digest = measured_digest(data)
        except (UserError, OSError) as error:
            raise self._unreadable() from error
        if written["test_digest"] != digest:
            raise DataError(
                f"the test images in {where}, or their {self._words.labels}, are no longer those that it was measured "
                "on"
            )
        return data

    def model(self, name: str, task: Task[D]) -> nn.Module:
        """A network as its newest checkpoint has it, on the CPU."""
        if not RunDir(self.path / name).last.exists():
            raise CheckpointError(f"{name} has no checkpoint")
        job = Job(task, self.path, CPU, Machine(device="cpu"))
        return as_saved(job, self._words, backbones_of(self.written), name)[0].model

    def photographed(
        self,
        record: TunedRecord[Shown],
        add: Callable[[TunedRecord[Shown], D], TunedRecord[Shown]],
    ) -> TunedRecord[Shown]:
        """The record with the photos that `add` makes of the test images, or with the reason why there are none."""
        try:
            images = self.test_images()
            try:
                return add(record, images)
            except DataError as error:
                raise self._unreadable() from error
        except UserError as error:
            return replace(record, no_photos=f"No photos of {record.name}: {self._without_folders(str(error))}.")

    def _without_folders(self, words: str) -> str:
        return without_folders(words, str(self.path), *self.written["data"], *self.written["test"])

    def _unreadable(self) -> DataError:
        """What is passed on names no file of the data; the command that is named does."""
        return DataError(
            f"the test images in {_places(self.written['test'])} are gone or cannot be read; "
            f"`resmom {self._words.verb} evaluate` says what is wrong"
        )


def drawn(images: int) -> NDArray[np.int64]:
    """The numbers of some images in a random order: the same for every folder with as many."""
    order: NDArray[np.int64] = np.random.default_rng(0).permutation(images)
    return order


def picture(path: Path, number: int) -> Picture:
    """A test photo, without its name."""
    pixels = needed(decode, path).permute(1, 2, 0).contiguous().numpy()
    return Picture(data_uri(pixels, SIDE), f"test photo {number}")


def falling(lr: float, drops: Sequence[float], steps: int) -> str:
    """A learning rate that is a tenth after each of some shares of the steps."""
    return f"{lr:g}, a tenth after {', '.join(f'{round(share * steps):,}' for share in sorted(drops))} steps"


def _began_as(words: str) -> str:
    """What a network began as, with the last part of the path in it, which may have spaces."""
    if found := BEGAN.fullmatch(words):
        return found["before"] + last_part(found["place"]) + found["after"]
    return without_folders(words)


def _places(specs: Sequence[str]) -> str:
    return ", ".join(map(last_part, specs))
