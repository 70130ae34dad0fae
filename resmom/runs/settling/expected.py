"""What a trial will take, judged by one pass of a few images, and measurements of a part where it would be too long.

On a GPU nothing is expected: few images take as long there as many, and the first pass longer than all others.
"""

import math
import time
from dataclasses import dataclass

from resmom import dist
from resmom.evaluate.features import features
from resmom.report.numbers import duration
from resmom.runs.clean import Split, clean_batches, labelled_split, thinned
from resmom.runs.settling.memory import Kept, few_images, share_of
from resmom.runs.training.health import IMAGES, health_line
from resmom.runs.training.job import Job
from resmom.train.state import networks_of, student_of
from resmom.train.step import autocast

PATIENCE = 10.0
"""Seconds from which only a part is tried: of a step, unless a time budget asks for its pace, and of a measurement."""
BACKWARD = 2.5
"""A step in passes forward of student and teacher: one, and two more of the student, which sees as much or more."""
LEAST = 4
"""Fewest images of a step, and of a measurement twice as many."""


@dataclass(frozen=True)
class Expected:
    """Seconds of a step, of a measurement of health and of one of kNN; 0 where nothing can be expected."""

    step: float = 0.0
    health: float = 0.0
    knn: float = 0.0

    def words(self, job: Job, images: int, seconds: float, built: float) -> str:
        """What that means for somebody who waits for a trial of `seconds`, whose steps are of so many images (0: all);
        empty where it does not take much longer than that. `built`: seconds of building the networks, which follows
        once more."""
        step = self.step * (images or share_of(job.run.train.batch)) / share_of(job.run.train.batch)
        rest = max(seconds, step) + min(self.health, PATIENCE) + min(self.knn, PATIENCE) + built
        if rest < seconds + 2 * PATIENCE:
            return ""
        weights = sum(p.numel() for p in student_of(job.state.method).parameters())
        return (
            f"the network has {weights / 1e6:.3g} million parameters, heads included: a step of "
            f"{job.run.train.batch} images will take about {duration(self.step)} here, and the rest of the trial about "
            f"{duration(rest)}. Ctrl-C ends it, and nothing is written"
        )


def expected(job: Job, kept: Kept) -> Expected:
    """What the pass of `kept` lets one expect of a whole step and of whole measurements; the same in all processes."""
    if job.device.type == "cuda":
        return Expected()
    one = kept.image_seconds
    split = labelled_split(job.data)
    return dist.agreed(
        Expected(
            step=BACKWARD * one * share_of(job.run.train.batch),
            health=one * min(IMAGES, len(job.data.train)),
            knn=0.0 if split is None else one * _asked(job, split),
        )
    )


def images_to_step(job: Job, seconds: float, most: float) -> int:
    """So many images of a batch, whose step is expected to take `seconds`, that theirs takes about `most`; 0 for all.

    All, too, where that is more than half, and of a method of the user's own: it may be made for batches of one size.
    """
    batch = share_of(job.run.train.batch)
    if seconds <= most or job.own.method is not None:
        return 0
    few = few_images(job, max(LEAST, math.floor(batch * most / seconds)))
    return few if 2 * few <= batch else 0  # else too little is saved


def health_seconds(job: Job, seconds: float) -> float:
    """Seconds of a measurement of health, which is expected to take `seconds`: those of a part, in proportion."""
    images = min(IMAGES, len(job.data.train))
    part = _part(images, seconds)
    began = time.perf_counter()
    health_line(job, part)
    return (time.perf_counter() - began) * images / part


def knn_seconds(job: Job, seconds: float) -> float:
    """The same of kNN, of which encoding is nearly all; 0 without labels, and where another process measures."""
    split = labelled_split(job.data)
    if split is None or dist.rank() != 0:
        return 0.0
    images = _asked(job, split)
    some = thinned(split.train, _part(images, seconds))
    began = time.perf_counter()
    with autocast(job.device, job.run.train.precision):
        for network in networks_of(job.state.method).values():
            features(network, clean_batches(some, job.run.policy, job.device))
    return (time.perf_counter() - began) * images / len(some)


def _asked(job: Job, split: Split) -> int:
    """The images that a measurement of kNN encodes."""
    return min(job.run.log.knn_images, len(split.train)) + len(split.test)


def _part(images: int, seconds: float) -> int:
    return min(images, max(2 * LEAST, math.floor(images * PATIENCE / seconds)))
