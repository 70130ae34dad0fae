"""Whole runs on a device: resumed bit for bit, and of the kinds that take another way through the code."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from PIL import Image

from resmom.checkpoint import load_checkpoint
from resmom.config import Log, Run
from resmom.data.open import open_data
from resmom.recipes import recipe, with_residual
from resmom.rundir import RunDir
from resmom.runs.machine import Compile, Machine, Trainer
from resmom.runs.measuring.evaluate import evaluate
from resmom.runs.measuring.gap import gap
from resmom.runs.options import changed
from resmom.runs.pretrain import pretrain, resume

IMAGES, TESTED = 128, 32
STEPS, HALF = 12, 4
"""Of a run, and after which it is cut off: one epoch."""


@dataclass(frozen=True)
class Kind:
    """A run that takes another way through the code."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    compile: Compile = "no"
    files: bool = False
    """Images in files of several sizes, which do not lie on the device but are copied there batch by batch."""
    from_cpu: bool = False
    """Begun on the CPU, resumed on the device."""


KINDS: dict[str, Kind] = {
    "micro-batches": Kind({"train.micro_batch": 16}),
    "fp16": Kind({"train.precision": "fp16"}),
    "views that grow": Kind({"train.sizes": [0.5, 1.0]}),
    "images in files": Kind(files=True),
    "begun on the CPU": Kind({"train.precision": "fp32"}, from_cpu=True),
    "compiled": Kind(compile="kernels"),
    "CUDA graphs": Kind(compile="graphs"),
    "CUDA graphs, micro-batches": Kind({"train.micro_batch": 16}, compile="graphs"),
}


def check_run(device: torch.device) -> dict[str, Any]:
    """Pretrain, stop in the middle, resume, evaluate, measure the gap; the resumed weights beside undisturbed ones.

    With deterministic algorithms, as `--deterministic` has them: so the weights are to be the same, bit for bit.
    Otherwise the order of sums alone parts two equal runs of these few steps by far more than any mistake would.
    """
    machine, run = Machine(device=str(device), quiet=True), _run({})
    with TemporaryDirectory() as place, deterministic(), warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        data = _arrays(Path(place))
        whole, halved = Path(place) / "whole", Path(place) / "halved"
        pretrain(run, data, whole, machine)
        _cut_off(run, data, halved, machine)
        resume(halved, machine, open_data(data))
        a, b = (load_checkpoint(RunDir(path).last)["state"]["student"] for path in (whole, halved))
        differ = {name: (a[name].float() - b[name].float()).abs().max().item() for name in a}
        worst = max(differ, key=lambda name: differ[name])
        rows = evaluate(whole, device=str(device))
        gap(whole, device=str(device))
    lacking = sorted({str(w.message).partition(".")[0] for w in told if "deterministic" in str(w.message)})
    found = {"resumed_differs_by": differ[worst], "most_in": worst, "not_deterministic": lacking}
    return {"holds": differ[worst] == 0.0 and bool(rows), **found}


def check_kind(kind: Kind, device: torch.device) -> dict[str, Any]:
    """A run of the kind, cut off after an epoch and resumed; kNN of its network on the device and on the CPU."""
    if kind.compile != "no" and device.type != "cuda":
        return {"skipped": "compiled runs are for a GPU"}
    machine = Trainer(device=str(device), compile=kind.compile, quiet=True)
    with TemporaryDirectory() as place:
        data = _arrays(Path(place))
        if kind.files:
            data = _as_files(Path(place), data)
        run, out = _run(kind.settings), Path(place) / "run"
        _cut_off(run, data, out, Machine(device="cpu", quiet=True) if kind.from_cpu else machine)
        ended = resume(out, machine, open_data(data))
        here, there = (evaluate(out, protocols=("knn",), device=where) for where in (str(device), "cpu"))
    top1 = {row.network: (row.score.top1, other.score.top1) for row, other in zip(here, there, strict=True)}
    # Of so few images one that falls on the other side of a tie is three points.
    close = all(abs(own - other) <= 2 * 100 / TESTED for own, other in top1.values())
    return {"holds": ended.step == ended.steps and close, "knn_here_and_on_the_cpu": top1}


@contextmanager
def deterministic() -> Iterator[None]:
    """What `--deterministic` sets. cuBLAS reads its variable of the environment once, so the harness sets it first."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


def _run(settings: Mapping[str, Any]) -> Run:
    run = recipe("mocov3_cifar100_small")
    train = replace(run.train, steps=STEPS, warmup_steps=2, batch=32, precision="bf16")
    run = replace(with_residual(run), train=train, log=Log(line_steps=1, save_epochs=1, knn_epochs=1))
    return changed(run, dict(settings))


def _cut_off(run: Run, data: str, out: Path, machine: Machine) -> None:
    """A run as it stands if it was cut off after its first epoch."""
    pretrain(replace(run, log=replace(run.log, keep_epochs=1)), data, out, machine)
    folder = RunDir(out)
    folder.kept(HALF).replace(folder.last)


def _arrays(place: Path) -> str:
    file, draws = place / "images.npz", np.random.default_rng(0)
    labels = draws.integers(0, 4, IMAGES + TESTED)
    pixels = (draws.integers(0, 128, (len(labels), 32, 32, 3)) + 30 * labels[:, None, None, None]).astype(np.uint8)
    np.savez(
        file,
        train_images=pixels[:IMAGES],
        train_labels=labels[:IMAGES],
        test_images=pixels[IMAGES:],
        test_labels=labels[IMAGES:],
    )
    return str(file)


def _as_files(place: Path, data: str) -> str:
    arrays = np.load(data)
    for split in ("train", "test"):
        for number, (pixels, label) in enumerate(
            zip(arrays[f"{split}_images"], arrays[f"{split}_labels"], strict=True)
        ):
            file = place / "files" / split / str(label) / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels[: 32 - number % 2]).save(file)  # not all of one size
    return str(place / "files")
