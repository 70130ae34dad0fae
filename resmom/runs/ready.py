"""A run made ready to start: its images open, its settings complete, its parts built, and nothing written yet."""

import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from resmom import dist, torchrun
from resmom.build import Own
from resmom.config import to_json
from resmom.data.errors import DataError
from resmom.data.loader import workers_here
from resmom.data.open import open_data
from resmom.data.source import Data
from resmom.rundir import GIVEN, RunDir
from resmom.runs.announce import settings_words, summary
from resmom.runs.device import default_device
from resmom.runs.initial.published import placed
from resmom.runs.limits import usable_cores
from resmom.runs.machine import Machine
from resmom.runs.settling.offer import Asked
from resmom.runs.settling.rehearsal import rehearse
from resmom.runs.settling.settle import Settled, require_sound, settle
from resmom.runs.training.compiling import how_asked, require_compilable, require_compiler
from resmom.runs.training.job import Job, prepare, require_batch
from resmom.runs.underway import Underway


@dataclass(frozen=True)
class Ready:
    """A run that could start."""

    job: Job
    settled: Settled
    spec: str
    """Where the images are, as `open_data` reads it, or what they are called."""

    @property
    def settings(self) -> str:
        """What was derived, with the reasons, and what the run will cost; empty where neither was asked for."""
        return settings_words(self.settled, self.spec)


def make_ready(asked: Asked, data: str | Data, out: Path | None, machine: Machine, own: Own) -> Ready:
    """Complete the run and build it. `out`: its folder; None where it shall not be started.

    Raises ConfigError, DataError or RunDirError for what cannot be done.
    """
    require_sound(asked, own)  # before the folder: who has to name another one shall not meet the next mistake then
    if out is not None:
        RunDir(out).refuse_if_used()
    device = device_for(machine)
    dist.wait()  # or the first process might write into the folder before another has looked at it
    opened = open_data(data)
    require_alike(opened)
    spec = opened.spec or f"{GIVEN}{opened.train.name}"

    quiet = machine.quiet or dist.rank() != 0
    with Underway(quiet) as work:
        settled = settle(asked, opened, out, device, workers_for(machine, opened), own, work)
    settled = replace(settled, run=replace(settled.run, init=placed(settled.run.init)))
    if own.method is None:
        require_compilable(settled.run.method, how_asked(machine) or "no")
    require_batch(settled.run, opened)
    with Underway(quiet) as work:
        work.now("building the networks")
        job = prepare(settled.run, opened, device, own)
    if notice := rehearse(job):
        tell(machine, notice)
    return Ready(job, settled, spec)


def require_alike(data: Data) -> None:
    """Raise DataError, in every process, unless all have the same images: else the order of one would be that of others
    in another, and they would count other steps."""
    train, test = data.train, data.test
    prints = train.fingerprint(), None if test is None else test.fingerprint()
    told = dist.gathered((len(train), len(train.unreadable), prints))
    others = [process for process, (*_, own) in enumerate(told) if own != told[0][2]]
    if others:
        (images, left_out, _), (other_images, other_left_out, _) = told[0], told[others[0]]
        raise DataError(
            f"the processes do not have the same images: the first has {images} for training ({left_out} more are "
            f"unreadable), process {others[0]}, counted from 0, has {other_images} ({other_left_out} more are "
            "unreadable), and where the numbers are the same, their names, sizes or labels, or the test images, are "
            "not; give all of them the same files, and the same packages to read them with"
        )


def tell(machine: Machine, words: str) -> None:
    """Say something on standard error, once of several processes, unless nothing is to be said."""
    if not machine.quiet and dist.rank() == 0:
        print(words, file=sys.stderr)


@dataclass(frozen=True)
class Preview:
    """What a run would be and cost, had it been started."""

    ready: Ready
    out: Path | None

    def __str__(self) -> str:
        same = "without --dry-run" if self.out is not None else "with --out DIR in place of --dry-run"
        return f"{self.ready.settings}\n{self._what}\nnothing was written; the same {same} starts it"

    @property
    def _what(self) -> str:
        return summary(self.ready.job, None if self.out is None else RunDir(self.out), written=False)

    def plain(self) -> dict[str, Any]:
        """The same for machines: the resolved configuration, why it is so, seconds and bytes."""
        job, settled = self.ready.job, self.ready.settled
        assert settled.estimate is not None  # `preview` asks for it
        return {
            "data": self.ready.spec,
            "images": len(job.data.train),
            "run": to_json(settled.run),
            "steps": job.steps,
            "epochs": job.steps / job.per_epoch,
            "device": str(job.device),
            "choices": [asdict(choice) for choice in settled.choices],
            "estimate": asdict(settled.estimate),
            "said": self._what.splitlines(),
        }


def preview(asked: Asked, data: str | Data, out: Path | None, machine: Machine) -> Preview:
    """Everything that comes before the first step of `pretrain`, and no step; a recipe's cost is estimated too.

    Without a folder `out`, whatever depends on it is left out: whether it is free, and has room for the run.

    Raises as `pretrain` does.
    """
    ready = make_ready(replace(asked, priced=True), data, out, machine, Own())
    return Preview(ready, out)


def device_for(machine: Machine) -> torch.device:
    """Where a run trains. Raises ConfigError for one that is not there, or that shall be compiled for and cannot."""
    device = default_device(machine.device)
    require_compiler(how_asked(machine) or "no", device)
    return device


def workers_for(machine: Machine, data: Data) -> int:
    """Threads that prepare batches of these images."""
    if machine.workers >= 0:
        return machine.workers
    if data.train.stacked:
        return 1
    if dist.world() > 1 and not machine.threads:  # torchrun asks torch for one thread, which is not meant for these
        return max(1, int(usable_cores() / torchrun.neighbours()))
    return workers_here()
