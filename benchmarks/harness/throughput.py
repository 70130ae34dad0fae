"""Images per second and memory of a training step: ours and a plain eager loop, in turn, on the same device.

Three settings (the step alone, on views that lie on the device; our step also fed by the real loader), each in bf16 and
fp32. The plain loop is what one writes first: torchvision's network, autocast, an EMA parameter by parameter, a number
read back in every step. On a GPU our step is measured a second time, beside itself with both backbones compiled by
torch's inductor and with its CUDA graphs: where they pay, a run should have them.
"""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, Literal

import torch
from torch._dynamo.utils import counters

from benchmarks.harness.pieces import chosen, keep, time_is_up
from benchmarks.harness.plain import PlainLoop
from resmom.config import Run
from resmom.data.source import ArraySource, Data
from resmom.jsonfiles import read_lines
from resmom.recipes import recipe
from resmom.runs.device import default_device, measured_kernels
from resmom.runs.machine import Compile, Machine
from resmom.runs.ready import workers_for
from resmom.runs.training.compiling import begin_step, compile_backbones
from resmom.runs.training.job import Job, prepare
from resmom.train.plan import Plan
from resmom.train.step import train_step

PLAN = Plan(lr=0.01, momentum=0.99, residual=1.0)
Precision = Literal["bf16", "fp32"]


PRECISIONS: tuple[Precision, ...] = ("bf16", "fp32")
COMPILED: dict[str, Compile] = {"compiled": "kernels", "CUDA graphs": "graphs"}
"""Forms of our step, and how its backbones are compiled for each."""
STEPS = 10
"""Most steps of a turn."""
ROUNDS = 6
"""Turns of each contender that count."""
SECONDS = 60.0
"""About what the turns of a line may take together: of slow steps a turn has fewer."""
FED = 6
"""Steps of the turn that is fed by the loader, for each of another turn: one of them before the clock starts."""
RECORDING = 4
"""Steps after which a form has compiled, warmed up, recorded its graphs and replayed them."""
Step = Callable[[], Any]
Turn = Callable[[], float]
"""Takes the contender's turn, and says how many seconds a step took."""


@dataclass(frozen=True)
class Case:
    """A recipe at a batch; `images` of `side` pixels stand in for the data set."""

    recipe: str
    batch: int
    side: int
    images: int
    compiling: float = 180.0
    """Seconds that the line of the compiled forms is allowed for: two cold compiles, and the turns."""


CASES = {
    "ResNet-18, CIFAR": Case("mocov3_cifar100_r18", 512, 32, 20_000),
    "ResNet-50, 224": Case("mocov3_imagenet_r50", 256, 256, 2_000, 420.0),
    "ViT-S/16, 224": Case("mocov3_imagenet_vits", 256, 256, 2_000, 300.0),
}


def work(
    results: Path,
    device_name: str,
    toy: bool,
    until: float,
    only: str = "",
    precisions: Sequence[Precision] = PRECISIONS,
) -> int:
    """Measure every case that the results do not have yet, until the time is up; 0 when all are there.

    `only` names the cases by a part of their names.
    """
    device = default_device(device_name)
    cases = chosen(CASES, only)
    lines = [line for line in read_lines(results) if "failed" not in line]
    done = {(line["case"], line["precision"], line["toy"], "compiled" in line) for line in lines}
    forms = (False, True) if device.type == "cuda" else (False,)
    for precision, (name, case), compiling in product(precisions, cases.items(), forms):
        if (name, precision, toy, compiling) in done:
            continue
        if time_is_up(until, 5 if toy else case.compiling if compiling else 90):
            return 3
        line = (measure_compiled if compiling else measure)(case, precision, device, toy)
        keep(results, {"case": name, "precision": precision, "toy": toy, **line})
        print(name, precision, {k: v for k, v in line.items() if not isinstance(v, list)}, flush=True)
    return 0


def measure(case: Case, precision: Precision, device: torch.device, toy: bool) -> dict[str, Any]:
    """One line: images/s of ours, of ours with its loader and of the plain loop (median, and all rounds); memory."""
    job = _job(case, precision, device, toy)
    batch, plain = job.batch(0), PlainLoop(job, precision)
    steps = _steps(lambda: train_step(job.state, batch, PLAN, job.rules), job, toy, turns=2 + FED)
    contenders: dict[str, Turn] = {
        "ours": _stepping(lambda: train_step(job.state, batch, PLAN, job.rules), job, steps),
        "ours, with loader": _fed(job, steps),
        "plain": _stepping(lambda: plain.step(batch), job, steps),
    }
    return _in_turn(contenders, job, toy, against="plain")


def measure_compiled(case: Case, precision: Precision, device: torch.device, toy: bool) -> dict[str, Any]:
    """The same of ours beside itself compiled; `compiled` says of each form how it went, for it may fail."""
    torch.compiler.reset()  # once for both forms, as `compile_backbones` does for a run
    job = _job(case, precision, device, toy)
    batch = job.batch(0)
    steps = _steps(lambda: train_step(job.state, batch, PLAN, job.rules), job, toy, turns=1 + len(COMPILED))
    contenders = {"ours": _stepping(lambda: train_step(job.state, batch, PLAN, job.rules), job, steps)}
    went: dict[str, str] = {}
    taken: dict[str, float] = {}
    for name, how in COMPILED.items():
        step = compiled(case, precision, device, toy, how)
        before, passed_over = _graphs(), _without_graphs()
        lying = _reserved(device)
        try:
            with measured_kernels(device):  # as runs have it: what is recorded is what is replayed
                for _ in range(RECORDING):
                    step()
            _wait(device)
        except Exception as error:  # noqa: BLE001  of inductor, or of what it made: no other form shall be lost by it
            went[name] = _first_line(error)
            continue
        taken[name] = (_reserved(device) - lying) / 2**30
        made, passed_over = _graphs() - before, _without_graphs() - passed_over
        went[name] = f"runs, {made} pieces compiled" if made else "runs, but nothing of it was compiled"
        if passed_over:
            went[name] += f", {passed_over} of them without CUDA graphs"
        contenders[name] = _stepping(step, job, steps)
    found = _in_turn(contenders, job, toy, against="ours")
    # Graphs are replayed in memory of their own, which the allocator does not see taken anew: what they were given when
    # they were recorded stands in its place.
    found["step_gib"] |= {name: taken[name] for name in found["step_gib"] if COMPILED.get(name) == "graphs"}
    return {**found, "compiled": went}


def compiled(case: Case, precision: Precision, device: torch.device, toy: bool, how: Compile) -> Step:
    """Our step with both backbones compiled; the first one takes a minute and more."""
    job = _job(case, precision, device, toy)
    compile_backbones(job.state.method, how, alone=False)
    batch = job.batch(0)

    def step() -> Any:
        begin_step(how)
        return train_step(job.state, batch, PLAN, job.rules)

    return step


def _reserved(device: torch.device) -> int:
    """Bytes that torch's allocator has taken from the device."""
    return torch.cuda.memory_reserved(device) if device.type == "cuda" else 0


def _graphs() -> int:
    """The graphs that dynamo has made in this process."""
    return int(counters["stats"]["unique_graphs"])


def _without_graphs() -> int:
    """The pieces for which inductor was asked for CUDA graphs and made none: it says so in a log alone."""
    return int(counters["inductor"]["cudagraph_skips"])


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__


def _job(case: Case, precision: Precision, device: torch.device, toy: bool) -> Job:
    run, images = shrunk(case, toy)
    run = replace(run, train=replace(run.train, precision=precision))
    source = ArraySource("noise", torch.randint(0, 256, images, dtype=torch.uint8))
    job = prepare(run, Data(source, None, "noise"), device)
    job.state.method.train()
    return job


def _steps(step: Step, job: Job, toy: bool, turns: int) -> int:
    """Steps of a turn, so many turns a round, with which a line takes about `SECONDS`; one for `toy`."""
    if toy:
        return 1
    with measured_kernels(job.device):
        step()  # pays for memory and kernels
        seconds = _stepping(step, job, 2)()
    return max(1, min(STEPS, int(SECONDS / (seconds * turns * (ROUNDS + 1)))))


def _stepping(step: Step, job: Job, steps: int) -> Turn:
    """Seconds of a step, over so many of them."""

    def turn() -> float:
        _wait(job.device)
        began = time.perf_counter()
        for _ in range(steps):
            step()
        _wait(job.device)
        return (time.perf_counter() - began) / steps

    return turn


def _fed(job: Job, steps: int) -> Turn:
    """Seconds of a step of ours that is fed as in a run.

    The batches are made in its own turn, none before it and none after, and so many steps are timed that those lying
    ready when the clock starts hardly count.
    """
    ready, timed = steps, (FED - 1) * steps
    workers = workers_for(Machine(), job.data)

    def turn() -> float:
        with job.batches(0, 1_000_000, workers) as batches:
            for _ in range(ready):
                train_step(job.state, next(batches), PLAN, job.rules)
            _wait(job.device)
            began = time.perf_counter()
            for _ in range(timed):
                train_step(job.state, next(batches), PLAN, job.rules)
            _wait(job.device)
            return (time.perf_counter() - began) / timed

    return turn


def _in_turn(contenders: Mapping[str, Turn], job: Job, toy: bool, against: str) -> dict[str, Any]:
    """Speed and memory of contenders that take turns; ratios are speeds over that of the one they are set against.

    `step_gib`: what a step takes beside what lies there, which is the weights and states of all contenders. Of a step
    that replays CUDA graphs this is next to nothing, see `measure_compiled`. One that fails on its way is left out from
    there on, and `failed` says why.
    """
    device, batch = job.device, job.run.train.batch
    speeds: dict[str, list[float]] = {name: [] for name in contenders}
    memory: dict[str, float] = {}
    failed: dict[str, str] = {}
    for round_ in range((2 if toy else ROUNDS) + 1):
        for name, turn in contenders.items():
            if name in failed:
                continue
            if device.type == "cuda":
                torch.cuda.reset_peak_memory_stats(device)
                lying = torch.cuda.memory_allocated(device)
            try:
                with measured_kernels(device):  # as runs have it
                    seconds = turn()
            except Exception as error:  # noqa: BLE001  whatever it is, the others are wanted
                failed[name] = _first_line(error)
                continue
            if round_:  # the first round pays for memory and kernels
                speeds[name].append(batch / seconds)
            if device.type == "cuda":
                memory[name] = (torch.cuda.max_memory_allocated(device) - lying) / 2**30
    measured = {name: found for name, found in speeds.items() if found}
    ratios = {
        name: statistics.median(a / b for a, b in zip(found, measured.get(against, []), strict=False))
        for name, found in measured.items()
        if name != against and against in measured
    }
    return {
        "batch": batch,
        "images_per_second": {name: statistics.median(found) for name, found in measured.items()},
        f"ratio_to_{against}": ratios,
        "step_gib": memory,
        "rounds": speeds,
        **({"failed": failed} if failed else {}),
    }


def shrunk(case: Case, toy: bool) -> tuple[Run, tuple[int, int, int, int]]:
    """The run of a case and the shape of its images; tiny for `toy`, where ViT keeps its 224 pixels."""
    run = recipe(case.recipe)
    batch, images, side = (4, 16, 32) if toy else (case.batch, case.images, case.side)
    if toy and "vit" not in case.recipe:
        views = tuple(replace(view, size=32) for view in run.policy.views)
        run = replace(run, policy=replace(run.policy, views=views))
    run = replace(run, train=replace(run.train, batch=batch, micro_batch=0))
    return run, (images, 3, side, side)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
