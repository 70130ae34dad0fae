"""A run read back from its folder: configuration, networks, and the weights it started from."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from resmom.build import Own
from resmom.called import setting
from resmom.checkpoint import CheckpointError, load_checkpoint
from resmom.config import Run, from_json
from resmom.data.source import Data, Source
from resmom.errors import UserError
from resmom.evaluate.settings import Knn
from resmom.method import Method
from resmom.nets.copies import copied
from resmom.nets.ghosts import as_ever
from resmom.nets.norms import Normed, normed
from resmom.recipes.side import with_views
from resmom.rundir import RunDir, find_run
from resmom.runs.clean import CHUNK, clean_batches
from resmom.runs.device import default_device
from resmom.runs.own import again, opened_again, part_words, require, written_data
from resmom.runs.training.job import fresh_method
from resmom.runs.training.start import put_start
from resmom.train.plan import length
from resmom.train.state import load_network, networks_of
from resmom.views.policy import Policy
from resmom.which import Network, Which


def no_teacher(run: Run, written: Mapping[str, Any]) -> UserError:
    """What to tell who asks for the teacher of a run that has none. `written`: what its run.json says."""
    name = part_words(written, run, "method")
    return UserError(f"a run of {name} has no teacher, there is its student only; use {setting('network', 'student')}")


@dataclass(frozen=True)
class Loaded:
    """A run read back: its configuration, its method with the checkpoint's weights, and the rest of the checkpoint."""

    run: Run
    folder: RunDir
    method: Method
    content: dict[str, Any]
    device: torch.device
    written: dict[str, Any]
    """What run.json says."""
    image_size: int | None = None
    """Side in pixels of the images that are measured, where it is not that of the views: see `with_image_size`."""

    @property
    def policy(self) -> Policy:
        """The run's, at the side of the images that are measured; `run` says what it was trained with."""
        return self.run.policy if self.image_size is None else with_views(self.run, self.image_size)

    @property
    def what(self) -> str:
        return f"step {self.step}"

    @property
    def trained(self) -> Policy:
        """The views that the run was trained on."""
        return self.run.policy

    @property
    def crop_words(self) -> str:
        """By which views classifiers on it are trained."""
        return "crop and flip of pretraining's first view"

    @property
    def size_words(self) -> str:
        """What a protocol says of the side of the images, where it is not that of the views."""
        return "" if self.image_size is None else f"images of {self.image_size} pixels; "

    @property
    def neighbours(self) -> Knn:
        return self.run.knn

    @property
    def half(self) -> bool:
        """Whether it was trained in half precision, and classifiers on it are."""
        return self.run.train.precision != "fp32"

    @property
    def about(self) -> Mapping[str, Any]:
        return {}

    @property
    def trained_on(self) -> str:
        """The fingerprint of its images."""
        return str(self.content["data"])

    @property
    def online(self) -> Mapping[str, Tensor] | None:
        """The weights of the online classifier, if one was trained."""
        weights: Mapping[str, Tensor] | None = self.content["state"].get("online")
        return weights

    @property
    def classes(self) -> Sequence[str]:
        """That the online classifier names."""
        return [str(name) for name in self.content["classes"]]

    @property
    def evaluations(self) -> Path:
        return self.folder.evaluations

    @property
    def probes(self) -> Path:
        return self.folder.probes

    def clean(self, source: Source) -> Iterator[Tensor]:
        """The images of a source as they are measured: N x C x S x S, some at a time, on the run's device."""
        # Larger images in smaller batches: a forward pass that had room at the views' side has it at every other.
        share = (self.run.policy.views[0].size / self.policy.views[0].size) ** 2
        return clean_batches(source, self.policy, self.device, max(1, int(CHUNK * min(1.0, share))))

    @property
    def data(self) -> str:
        """What the run was trained on. Raises DataError for images that were given in Python."""
        return written_data(self.written, "result")

    def opened(self, place: str | Data | None = None) -> Data:
        """The images at a place, by default those that the run was trained on; what is open already, as it is.

        Raises DataError if there are none.
        """
        return opened_again(self.folder, self.written, place, "result")

    @property
    def step(self) -> int:
        return int(self.content["state"]["step"])

    @property
    def steps(self) -> int:
        """The planned length of the run."""
        if "steps" in self.content:
            return int(self.content["steps"])
        # A checkpoint from before this was kept: what an epoch is follows from how far it is.
        return length(self.run.train, round(self.step / self.content["epoch"]) if self.step else 0)

    def networks(self, which: Which) -> dict[Network, nn.Module]:
        """The networks asked for, by name; `both` are those there are. Raises UserError for one that there is not."""
        there = networks_of(self.method)
        if which == "teacher" and which not in there:
            raise no_teacher(self.run, self.written)
        return there if which == "both" else {which: there[which]}

    def each(self, which: Which) -> Sequence[tuple[str, nn.Module]]:
        """The same, in order."""
        return list(self.networks(which).items())

    def untrained(self) -> tuple[str, nn.Module] | None:
        """The network before training: `random init` where the run began with random weights; None where nothing was
        kept of other ones.
        """
        start, own = load_start(self), bool(self.written.get("own"))
        if start is None and not own and not self.run.init:
            start = fresh_method(self.run, self.device).student
        name = "before training" if own or self.run.init else "random init"
        return None if start is None else (name, start)


def load_run(path: Path, device: str = "auto", own: Own | None = None) -> Loaded:
    """Read a run folder's last checkpoint, or one checkpoint file. Raises RunDirError, CheckpointError, ConfigError.

    What is trained from here on normalises whole batches, whatever groups pretraining had.
    `own` is needed where the run was made with modules of the user's own.
    """
    folder, checkpoint = find_run(path)
    written = folder.written()
    require(own or Own(), written)
    place = default_device(device)
    content = load_checkpoint(checkpoint, place)
    run = from_json(content["run"])
    method = fresh_method(run, place, own)
    teacher = content["state"]["teacher"]
    if (method.teacher is None) != (teacher is None):
        raise CheckpointError(f"{checkpoint} does not fit its own configuration: a teacher is in only one of them")
    try:
        load_network(method.student, content["state"]["student"], "student")
        if method.teacher is not None:
            load_network(method.teacher, teacher, "teacher")
    except (RuntimeError, ValueError) as error:
        raise CheckpointError(f"{checkpoint} does not fit its own configuration: {error}{again(written)}") from error
    return Loaded(run, folder, as_ever(method), content, place, written)


def normed_as_kept(folder: RunDir) -> Normed | None:
    """Where the teacher of a run has BatchNorm, or the student of one without a teacher, as the last checkpoint says;
    None where there is none that can be read.
    """
    if not folder.last.is_file():
        return None
    try:
        state = load_checkpoint(folder.last, mapped=True)["state"]
    except CheckpointError:  # a page about its metrics is there all the same
        return None
    return normed(state["student"] if state["teacher"] is None else state["teacher"])


def load_start(loaded: Loaded) -> nn.Module | None:
    """The student as it was before training, as far as the backbone goes (view -> Encoding); None if nothing was kept.

    A copy: the loaded run stays as it is.
    """
    path = loaded.folder.start
    if not path.is_file():
        return None
    student = copied(loaded.method.student)
    return student if put_start(path, student) else None
