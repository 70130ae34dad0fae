"""What a run costs in time, memory and disk, measured on a few of its steps before it starts."""

import math
import os
import statistics
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import torch

from resmom import dist
from resmom.build import Own
from resmom.called import either
from resmom.config import Run
from resmom.data.source import Data
from resmom.runs.device import measured_kernels
from resmom.runs.limits import crowded, load, usable_cores
from resmom.runs.settling.expected import (
    PATIENCE,
    Expected,
    expected,
    health_seconds,
    images_to_step,
    knn_seconds,
)
from resmom.runs.settling.memory import Kept, bytes_of, kept_bytes_of, share_of, within_memory
from resmom.runs.settling.rehearsal import rehearse
from resmom.runs.training.health import health_line
from resmom.runs.training.job import Job, at_size, backbone_of, prepare
from resmom.runs.training.monitor import monitor
from resmom.runs.underway import Underway
from resmom.train.optim import set_rate
from resmom.train.plan import learning_rate
from resmom.train.state import networks_of, state_dict, student_of
from resmom.train.step import Rules, train_step

Now = Callable[[str], None]
"""Is told what is being done."""


@dataclass(frozen=True)
class Trial:
    """What a run costs on this machine. Seconds and bytes."""

    step_seconds: float
    """One step, waiting for data included; the mean over the sizes of views that grow."""
    knn_seconds: float
    """One measurement of kNN; next to nothing without labels."""
    health_seconds: float
    """One measurement of health, and saving."""
    spent_seconds: float
    kept: Kept
    """What backward needs kept."""
    weight_bytes: int
    """Weights of both networks, gradients and the optimiser's state."""
    checkpoint_bytes: int
    backbone_bytes: int
    """Backbones beside the checkpoints: the one of the start, and those that are exported at the end."""
    decode_share: float = 0.0
    """Share of the time of all cores that it may use that goes into decoding images."""
    in_parts: bool = True
    """Whether a batch may be cut into parts."""
    tried_images: int = 0
    """Of a batch, where a step of the whole would have taken too long to be tried; else 0."""
    crowd: str = ""
    """That other programs made it slow, and what to do about it, in words; empty where nobody knows of any."""

    @property
    def measure_seconds(self) -> float:
        """One measurement with all that belongs to it."""
        return self.knn_seconds + self.health_seconds


def trial(
    run: Run,
    data: Data,
    device: torch.device,
    workers: int,
    own: Own,
    seconds: float,
    slowest: float = math.inf,
    work: Underway | None = None,
) -> Trial:
    """Train a throw-away copy of the run for about `seconds` (a step at least, on a GPU two) and measure it once.

    Where a step takes more than `slowest` seconds, the run is not wanted, and what measuring it takes is left at 0.
    Where a pass of a few images lets one expect much more than `seconds`, only a part of a step and of the measurements
    is tried, and counted in proportion. `work` is told what is being done.

    A batch that memory would not hold is trained on in parts, where the method can be. Nothing is written, and the run
    itself still starts from its first step. Several processes train it together, and have what the first one saw.
    Raises as `prepare` does.
    """
    began, crowd = time.perf_counter(), _crowd(device)
    work = Underway(quiet=True) if work is None else work
    work.now("trying the run: building the networks")
    job = prepare(run, data, device, own)
    built = time.perf_counter() - began
    rehearse(job)
    work.now("trying the run: a pass of a few images through the networks")
    kept = kept_bytes_of(job)
    rules = within_memory(job, kept)
    likely = expected(job, kept)
    most = PATIENCE if math.isinf(slowest) else max(PATIENCE, 2 * slowest)
    images = images_to_step(job, likely.step, most)
    if told := likely.words(job, images, seconds, built):
        work.say(told)
    job.state.method.student = dist.data_parallel(job.state.method.student)
    job.state.method.train()
    with measured_kernels(device):  # as runs have it
        per_step, per_batch = _mean_pace(job, rules, workers, (seconds, slowest), images, work.now)
        if images and dist.agreed(per_step <= most):  # faster than was to be expected
            images = 0
            per_step, per_batch = _mean_pace(job, rules, workers, (seconds, slowest), 0, work.now)
    knn, health = _measured(job, likely, work.now) if per_step <= slowest else (0.0, 0.0)
    content = state_dict(job.state)
    size = bytes_of(content)
    weights = size + sum(p.numel() * p.element_size() for p in student_of(job.state.method).parameters())
    share = per_batch / (per_step * usable_cores())
    backbone = bytes_of(backbone_of(student_of(job.state.method)).state_dict())
    found = Trial(
        step_seconds=per_step,
        knn_seconds=knn,
        health_seconds=health + size / 200e6 if per_step <= slowest else 0.0,
        spent_seconds=time.perf_counter() - began,
        kept=kept,
        weight_bytes=weights,
        checkpoint_bytes=size,
        backbone_bytes=backbone * (1 + len(networks_of(job.state.method))),
        decode_share=share,
        in_parts=job.in_parts,
        tried_images=images,
        crowd=crowd,
    )
    return dist.agreed(found)


def _crowd(device: torch.device) -> str:
    """Whether other programs want the cores that several threads of a run would share: each operation then waits for
    the slowest of them, and small networks take many times as long."""
    wanted, threads = load(), torch.get_num_threads()
    if device.type != "cpu" or threads == 1 or not crowded(wanted, os.cpu_count() or 1):
        return ""
    return (
        f"other programs want this machine's cores, too ({wanted:.1f} threads in the last minute, on average), and a "
        f"run with {threads} threads can then be many times slower than one with "
        f"{either('--threads 1', 'torch.set_num_threads(1)')}"
    )


def _measured(job: Job, likely: Expected, now: Now) -> tuple[float, float]:
    """Seconds of a measurement of kNN, and of one of health."""
    now("trying the run: a measurement of kNN")
    knn = _seconds_of(monitor, job) if likely.knn <= PATIENCE else knn_seconds(job, likely.knn)
    now("trying the run: a measurement of health")
    return knn, _seconds_of(health_line, job) if likely.health <= PATIENCE else health_seconds(job, likely.health)


def _seconds_of(measure: Callable[[Job], object], job: Job) -> float:
    began = time.perf_counter()
    measure(job)
    return time.perf_counter() - began


def _mean_pace(
    job: Job, rules: Rules, workers: int, within: tuple[float, float], images: int, now: Now
) -> tuple[float, float]:
    """The means of `_pace` over the sizes of views that grow, each for an equal part of the steps. `within`: seconds to
    try, and of a step that is too slow."""
    parts = Counter(job.run.train.sizes or (1.0,))
    seconds, slowest = within
    each = {
        share: _pace(at_size(job, share), rules, workers, seconds / len(parts), slowest, images, now) for share in parts
    }
    step, decoding = (sum(each[share][n] * many for share, many in parts.items()) for n in (0, 1))
    return step / parts.total(), decoding / parts.total()


def _pace(
    job: Job, rules: Rules, workers: int, seconds: float, slowest: float, images: int, now: Now
) -> tuple[float, float]:
    """Seconds of one step, waiting for data included, and of decoding one batch, after some of these.

    `images`: of each batch only so many are trained on, and what takes longer with more of them is counted in
    proportion; waiting is then left out. 0: all.
    """
    run, times = job.run, list[float]()
    on_gpu, whole = job.device.type == "cuda", share_of(job.run.train.batch)
    decoded = job.state.clock.read().get("decode", 0.0)
    now("trying the run: the first batch of images")
    with job.batches(0, max(job.steps, 1_000_000), workers) as batches:
        training = time.perf_counter()
        for made in batches:
            start = time.perf_counter()
            now(f"trying the run: step {len(times) + 1} ({f'{images} of ' if images else ''}{whole} images)")
            batch = made.rows(slice(0, images or whole))
            moving = 0.0 if on_gpu else job.state.clock.read().get("update", 0.0)
            planned = job.plan(min(job.state.step, job.steps))
            labels = None if job.labels is None else job.labels[batch.index]
            if job.state.online_optimizer is not None:
                set_rate(job.state.online_optimizer, learning_rate(run.train, run.online.lr, 0, job.per_epoch))
            train_step(job.state, batch, planned, rules, labels, measure=False)
            if on_gpu:
                torch.cuda.synchronize(job.device)
            took = time.perf_counter() - start
            if images:
                moving = job.state.clock.read()["update"] - moving
                times.append((took - moving) * whole / images + moving)
            else:
                times.append(took)
            tried = time.perf_counter() - training
            enough = tried > seconds and (len(times) >= 5 or (len(times) >= 2 and tried > 3 * seconds))
            # A single one tells the pace, but on a GPU, whose kernels are loaded and chosen in the first.
            enough = enough or (took > seconds and not on_gpu)
            if dist.anywhere(enough or (len(times) >= 2 and min(times) > slowest)):
                break
        # The mean over the second half: the first steps warm caches up, and batches made ahead make them look cheap.
        spent = time.perf_counter() - training
    # Of the batches made ahead some are not finished: counting all of them errs on the side of silence.
    decoding = (job.state.clock.read().get("decode", 0.0) - decoded) / (len(times) + 2 * workers)
    later = statistics.fmean(times[len(times) // 2 :])
    return later if images else max(later, (spent - times[0]) / len(times)), decoding
