"""Where the time of a run goes: some steps of it, taken apart, beside what the machine could do."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from resmom.build import Own
from resmom.called import called, setting
from resmom.config import ConfigError, Run
from resmom.data.source import Data
from resmom.runs.device import measured_kernels
from resmom.runs.settling.facts import emulates_bf16, fast_bf16
from resmom.runs.settling.memory import few_images
from resmom.runs.training.job import Job, at_size, prepare, require_batch
from resmom.train.optim import set_rate
from resmom.train.plan import Precision, learning_rate
from resmom.train.step import autocast, total_loss, train_step
from resmom.views import fused

WARM_UP = 3
"""Steps that are not counted: memory is taken, kernels are chosen and compiled."""
LEAST = 5
WAITING = 0.1
"""Share of a step spent waiting from which the loader is what holds a run back."""
TRAINING = ("teach", "forward_backward", "update")
MAKING = ("decode", "views", "transfer")
NAMES = {
    "wait": "waiting for batches",
    "teach": "teacher forward",
    "forward_backward": "student forward and backward",
    "update": "optimiser and teacher's move",
    "other": "everything else",
    "decode": "reading and decoding",
    "views": "views",
    "transfer": "to the device",
}
"""Of the parts, for people."""


@dataclass(frozen=True)
class Part:
    """A part of the work: its seconds per step, and, for those of training, its share of the step.

    The parts of making batches run beside training, in threads; their seconds are summed over these.
    """

    name: str
    seconds: float
    share: float | None


@dataclass(frozen=True)
class Profile:
    """What one step takes, and why. Operations are multiplications and additions, counted apart (FLOP)."""

    steps: int
    step_seconds: float
    images_per_second: float
    workers: int
    parts: tuple[Part, ...]
    gflop_per_image: float
    gflop_per_second: float
    peak_gflop_per_second: float
    peak_of: str
    bottleneck: str
    remedy: str

    @property
    def share_of_peak(self) -> float:
        """The operations of the networks per second, over the most the machine was seen to do."""
        return self.gflop_per_second / self.peak_gflop_per_second

    def plain(self) -> dict[str, Any]:
        """As nested dictionaries, for JSON."""
        return {**asdict(self), "share_of_peak": self.share_of_peak}

    def __str__(self) -> str:
        """As people read it."""
        lines = [
            f"{self.images_per_second:.0f} images/s: {self.step_seconds * 1e3:.1f} ms a step, of {self.steps} steps"
        ]
        lines += [
            f"  {NAMES[part.name]:<30} {part.seconds * 1e3:9.1f} ms {part.share:7.1%}"
            for part in self.parts
            if part.share is not None
        ]
        lines.append(
            f"beside it, in {self.workers} thread(s), their time together:" if self.workers else "of the waiting:"
        )
        lines += [f"  {NAMES[part.name]:<30} {part.seconds * 1e3:9.1f} ms" for part in self.parts if part.share is None]
        lines.append(
            f"networks: {self.gflop_per_image:.3g} GFLOP per image, {self.gflop_per_second:.0f} GFLOP/s, "
            f"{self.share_of_peak:.0%} of the {self.peak_gflop_per_second:.0f} GFLOP/s that {self.peak_of} reached here"
        )
        return "\n".join([*lines, f"what holds it back: {self.bottleneck}", f"what to do: {self.remedy}"])


def profile(
    run: Run,
    data: Data,
    device: torch.device,
    workers: int,
    seconds: float,
    own: Own | None = None,
    say: Callable[[str], None] = lambda words: None,
) -> Profile:
    """Train a throw-away copy of a run for about so many seconds, and say where they went. Nothing is written.

    Where the views grow, all steps have the largest ones. `say` is told before it begins.

    Raises ConfigError for seconds that are no time, and as `prepare` and `require_batch` do.
    """
    if not seconds > 0:
        raise ConfigError(f"{called('seconds')} is {seconds:g}; it must be above 0; 40 is usual")
    require_batch(run, data)
    say(f"steps are taken for {seconds:g} seconds, beside loading and warming up ...")
    job = at_size(prepare(run, data, device, own or Own()), max(run.train.sizes, default=1.0))
    operations = _operations(job)
    with measured_kernels(device):  # as runs have it
        return _profile(job, workers, seconds, operations)


def _profile(job: Job, workers: int, seconds: float, operations: float) -> Profile:
    run, state = job.run, job.state
    peak, peak_of = _peak(job.device, run.train.precision)
    state.method.train()
    began = waited = 0.0
    before: dict[str, float] = {}
    steps = -WARM_UP
    with job.batches(0, 1_000_000_000, workers) as batches:
        for batch in batches:
            step = min(state.step, job.steps - 1)
            now = job.plan(step)
            labels = None if job.labels is None else job.labels[batch.index]
            if state.online_optimizer is not None:
                set_rate(state.online_optimizer, learning_rate(run.train, run.online.lr, step, job.per_epoch))
            train_step(state, batch, now, job.rules, labels)
            steps += 1
            if steps == 0:
                before, began, waited = _now(job), time.perf_counter(), batches.waited
            elif steps >= LEAST and time.perf_counter() - began > seconds:
                break
        after, ended, waited = _now(job), time.perf_counter(), batches.waited - waited
    each = (ended - began) / steps
    spent = {name: (after[name] - before.get(name, 0.0)) / steps for name in after}
    spent["wait"] = waited / steps
    parts = _parts(spent, each)
    bottleneck, remedy = _judge(job, spent, each, workers, operations * run.train.batch / each / 1e9 / peak)
    speed = run.train.batch / each
    return Profile(
        steps,
        each,
        speed,
        workers,
        parts,
        operations / 1e9,
        operations * speed / 1e9,
        peak,
        peak_of,
        bottleneck,
        remedy,
    )


def _now(job: Job) -> dict[str, float]:
    if job.device.type == "cuda":
        torch.cuda.synchronize(job.device)
    return job.state.clock.read()


def _parts(spent: dict[str, float], each: float) -> tuple[Part, ...]:
    named = [Part(name, spent.get(name, 0.0), spent.get(name, 0.0) / each) for name in ("wait", *TRAINING)]
    rest = each - sum(part.seconds for part in named)
    named.append(Part("other", max(rest, 0.0), max(rest, 0.0) / each))
    return (*named, *(Part(name, spent.get(name, 0.0), None) for name in MAKING))


def _judge(job: Job, spent: dict[str, float], each: float, workers: int, share: float) -> tuple[str, str]:
    """What holds the run back, and what to do about it."""
    if spent["wait"] > WAITING * each:
        largest = max(MAKING, key=lambda name: spent.get(name, 0.0))
        what = f"batches: {spent['wait'] / each:.0%} of the time is spent waiting for them, most of it on {largest}"
        if largest == "decode":
            side = 2 * max(view.size for view in job.run.policy.views)
            return what, (
                f"reduce the images once (`resmom data pack DATA --out PACK --side {side}`), have a folder's JPEGs "
                f"decoded smaller ({setting('data', f'DATA@shorter-side={side}')}), or give more {called('workers')} "
                "and cores"
            )
        if largest == "views" and not fused.available() and job.device.type == "cpu":
            return what, "compile the views, which takes a fifth of the time: pip install numba"
        if job.device.type == "cpu":
            return what, "the views compete with training for the cores: smaller views, or more cores"
        if job.resident is not None:  # one thread makes them for all
            larger = f"a larger {called('train.batch')}"
            return what, f"the views are made on the device beside training: smaller views, or {larger}"
        return what, f"give more {called('workers')} (now {workers}) and cores"
    run = job.run
    what = f"the networks: they compute at {share:.0%} of the most this machine was seen to do"
    if run.train.precision == "bf16" and emulates_bf16(job.device):
        slow = "this processor emulates bf16, which takes several times as long"
        return what, f"{setting('train.precision', 'fp32')}: {slow}"
    if run.train.precision == "fp32" and fast_bf16(job.device):
        return what, f"{setting('train.precision', 'bf16')}, which this machine computes about twice as fast"
    if spent.get("update", 0.0) > 0.2 * each:
        larger = f"a larger {called('train.batch')}: they move once per step"
        return "moving the weights (optimiser and teacher)", larger
    if share < 0.4:
        larger = f"a larger {called('train.batch')} or a wider backbone is cheap"
        return what, f"small networks and batches leave it idle: {larger}"
    return what, "nothing is wasted: only a smaller backbone, smaller views or fewer steps would be faster"


def _operations(job: Job, images: int = 4) -> float:
    """FLOP per image of a step: teacher forward, student forward and backward, heads and loss, all views."""
    few = few_images(job, images)
    rows = job.batch(0).rows(slice(0, few))
    method = job.state.method
    method.train()
    kept = {name: value.clone() for name, value in method.state_dict().items()}
    with FlopCounterMode(display=False) as counter:
        with autocast(job.device, job.run.train.precision):
            outcome = method(rows, method.teach(rows), slice(0, few))
        total_loss(outcome, job.run.residual, 1.0)[0].backward()  # type: ignore[no-untyped-call]
    method.zero_grad(set_to_none=True)
    method.load_state_dict(kept)
    total: int = counter.get_total_flops()
    return total / few


def _peak(device: torch.device, precision: Precision, seconds: float = 0.5) -> tuple[float, str]:
    """The most GFLOP/s of a large matrix product and of a 3x3 convolution at the run's precision, and which it was."""
    kind = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    n = 8192 if device.type == "cuda" else 1536
    a, b = (torch.randn(n, n, device=device, dtype=kind) for _ in range(2))
    size, width = (256, 256) if device.type == "cuda" else (16, 128)
    x = torch.randn(size, width, 28, 28, device=device, dtype=kind).to(memory_format=torch.channels_last)
    w = torch.randn(width, width, 3, 3, device=device, dtype=kind).to(memory_format=torch.channels_last)
    works: dict[str, tuple[Callable[[], Tensor], float]] = {
        "a matrix product": (lambda: a @ b, 2.0 * n**3),
        "a 3x3 convolution": (lambda: torch.conv2d(x, w, padding=1), 2.0 * 9 * size * width**2 * 28 * 28),
    }
    found = {}
    with torch.no_grad():
        for name, (work, flop) in works.items():
            best, until = float("inf"), time.perf_counter() + seconds
            while time.perf_counter() < until or best == float("inf"):
                if device.type == "cuda":
                    torch.cuda.synchronize(device)
                began = time.perf_counter()
                work()
                if device.type == "cuda":
                    torch.cuda.synchronize(device)
                best = min(best, time.perf_counter() - began)
            found[name] = flop / best / 1e9
    name = max(found, key=lambda key: found[key])
    rounded = (
        device.type == "cuda" and precision == "fp32" and "convolution" in name and torch.backends.cudnn.allow_tf32
    )
    return found[name], f"{name} in {'TF32, as torch computes those of fp32' if rounded else precision}"
