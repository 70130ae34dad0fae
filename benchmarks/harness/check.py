"""Does everything run on this device, and does it compute what the CPU computes?"""

import itertools
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.harness.checkruns import KINDS, check_kind, check_run
from benchmarks.harness.pieces import chosen, keep, time_is_up
from benchmarks.harness.throughput import CASES, PLAN, shrunk
from resmom.config import Run
from resmom.data.source import ArraySource, Data
from resmom.jsonfiles import read_lines
from resmom.methodconfig import METHODS
from resmom.nets.backbones import DinoViT
from resmom.recipes import recipe, with_residual
from resmom.runs.device import default_device
from resmom.runs.options import changed
from resmom.runs.training.job import prepare
from resmom.runs.training.masks import hidden_patches
from resmom.train.optim import AdamW, Lars, OptimConfig, Sgd
from resmom.train.step import train_step
from resmom.transfer import sent
from resmom.views.apply import views
from resmom.views.policy import mocov3_cifar, mocov3_imagenet

COMPILED = {f"a run: {name}" for name, kind in KINDS.items() if kind.compile != "no"}
COMPILING = 180.0
"""Seconds that a check of these is allowed for: student and teacher, compiled once for the run and once resumed."""
WIDTH = 64
"""Of heads and queues of the small networks that are watched."""


def work(results: Path, device_name: str, toy: bool, until: float = math.inf, only: str = "") -> int:
    """Run every check that the results do not have yet, write a line each, until the time is up; 0 if all hold.

    `only` names the checks by a part of their names; 3 where some are left. What failed is tried again by a new call.
    """
    device = default_device(device_name)
    checks: dict[str, Callable[[torch.device], dict[str, Any]]] = {
        "views equal the CPU's": check_views,
        "losses equal the CPU's": partial(check_losses, toy=toy),
        "no synchronisation in a step": check_synchronisation,
        "a run, resumed exactly, evaluated": check_run,
        **{f"a run: {name}": partial(check_kind, kind) for name, kind in KINDS.items()},
    }
    held = {(line["check"], line["device"], line["toy"]) for line in read_lines(results) if line["holds"]}
    failed = 0
    for name, one in chosen(checks, only).items():
        if (name, str(device), toy) in held:
            continue
        if time_is_up(until, 5 if toy else COMPILING if name in COMPILED else 60):
            return 3
        began = time.perf_counter()
        try:
            found = {"holds": True, **one(device)}
        except Exception as error:  # noqa: BLE001  whatever it is, the other checks are wanted too
            found = {"holds": False, "error": f"{type(error).__name__}: {error}"}
        failed += not found["holds"]
        line = {"check": name, **found, "seconds": time.perf_counter() - began, "device": str(device), "toy": toy}
        keep(results, line)
        print(f"{'ok' if found['holds'] else 'FAILED'}  {name}  {found}", flush=True)
    return int(failed > 0)


def check_views(device: torch.device) -> dict[str, Any]:
    """Batched ops on the device against whatever the CPU uses: the most a pixel differs, before normalisation."""
    worst = {}
    for side, policy in ((32, mocov3_cifar()), (96, mocov3_imagenet())):
        images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (32, 3, side, side), dtype=np.uint8))
        here = views(images, np.arange(32), policy, 0, 0)
        there = views(images.to(device), np.arange(32), policy, 0, 0)
        scale = torch.tensor(policy.std)[:, None, None]
        worst[f"{side} pixels"] = max(
            ((a - b.cpu()).abs() * scale).max().item() for a, b in zip(here, there, strict=True)
        )
    return {"holds": max(worst.values()) < 2e-3, "largest_difference": worst}


def _small(run: Run, batch: int) -> Run:
    return replace(run, train=replace(run.train, batch=batch), residual=replace(run.residual, weight=1.0))


def check_losses(device: torch.device, toy: bool) -> dict[str, Any]:
    """The first losses of a small run in fp32 against the CPU's, and of bf16 against fp32 over 20 steps (toy: 4).

    On a GPU convolutions in fp32 are computed in TF32 unless that is forbidden, which it is here, where the question is
    whether the same is computed; how far TF32 is from it stands beside.
    """
    run, steps = _small(recipe("mocov3_cifar100_small"), 8 if toy else 32), 4 if toy else 20
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (256, 3, 32, 32), dtype=np.uint8))
    data = Data(ArraySource("noise", pixels), None, "noise")

    def losses(where: torch.device, precision: Any, steps: int) -> list[float]:
        job = prepare(replace(run, train=replace(run.train, precision=precision)), data, where)
        job.state.method.train()
        return [train_step(job.state, job.batch(i), PLAN, job.rules)["loss"].item() for i in range(steps)]

    allowed = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        cpu, own = losses(torch.device("cpu"), "fp32", 3), losses(device, "fp32", steps)
    finally:
        torch.backends.cudnn.allow_tf32 = allowed
    usual, half = losses(device, "fp32", 3), losses(device, "bf16", steps)
    first, rounded = (max(abs(a - b) / abs(a) for a, b in zip(cpu, of[:3], strict=True)) for of in (own, usual))
    later = max(abs(a - b) / abs(a) for a, b in zip(own, half, strict=True))
    told = {"fp32_to_cpu": first, "usual_fp32_to_cpu": rounded, "bf16_to_fp32": later}
    return {"holds": first < 1e-3 and later < 0.05, **told}


def check_synchronisation(device: torch.device) -> dict[str, Any]:
    """Views and step of the cases and of every method, the optimisers in turn, each at its second time, under torch's
    synchronisation debug mode, which raises.
    """
    read, seen = {}, 0
    for run in watched_runs():
        side = run.policy.views[0].size
        pixels = torch.randint(0, 256, (2 * run.train.batch, 3, side, side), dtype=torch.uint8)
        labels = np.arange(len(pixels)) % 2
        job = prepare(run, Data(ArraySource("noise", pixels, labels, ("a", "b")), None, "noise"), device)
        job.state.method.train()
        batch = job.batch(0)
        assert job.labels is not None
        own = job.labels[batch.index]
        works: dict[str, Callable[[], Any]] = {
            run.recipe: partial(train_step, job.state, batch, PLAN, job.rules, own, measure=True),
            f"{run.recipe}, views": partial(_seen, run, pixels[: run.train.batch].to(device)),
        }
        for name, work in works.items():
            work()
            if (told := _waits(work, device)) is not None:
                read[name] = told
        seen += 1
    return {"holds": not read, "watched": device.type == "cuda", "runs": seen, "read": read}


def _seen(run: Run, images: Tensor) -> None:
    """Make the views of the first images of a run, which lie on a device, and their masks, as its batches have them."""
    index = np.arange(len(images))
    views(images, index, run.policy, run.train.seed, 0)
    for mask in hidden_patches(run, run.policy, index, 0):
        sent(mask, images.device)


def _waits(work: Callable[[], Any], device: torch.device) -> str | None:
    """What torch says of work in which the host waits for the GPU; None where it does not."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.set_sync_debug_mode("error")
    try:
        work()
    except RuntimeError as error:  # the next one may read something else
        if "synchroniz" not in str(error):
            raise
        return str(error).partition("\n")[0]
    finally:
        if device.type == "cuda":
            torch.cuda.set_sync_debug_mode("default")
    return None


def watched_runs() -> Iterator[Run]:
    """The cases at toy size, and each method on a small network, with clipping and the optimisers in turn."""
    for case in CASES.values():
        yield with_residual(shrunk(case, toy=True)[0])
    tiny = recipe("mocov3_cifar100_tiny")
    optimisers: tuple[OptimConfig, ...] = (Sgd(lr=0.1), Lars(lr=0.1), AdamW(lr=1e-3))
    for kind, optim in zip(METHODS, itertools.cycle(optimisers), strict=False):
        run = changed(tiny, {"method": kind, "train.batch": 8, "train.clip": 1.0})
        wide = {f"method.{name}": WIDTH for name, value in asdict(run.method).items() if _wide(value)}
        run = changed(run, wide)
        if run.method.traits.patches:
            run = replace(run, backbone=DinoViT("tiny", 32, 8))
        run = replace(run, optim=optim, recipe=kind)
        yield with_residual(run) if run.method.traits.teacher else run


def _wide(value: Any) -> bool:
    """Whether a method's number is a width, or the length of a queue, that tells nothing of synchronisation."""
    return isinstance(value, int) and value > WIDTH
