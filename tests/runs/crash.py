"""Runs in processes of their own, which can be killed at any moment."""

import os
import signal
from dataclasses import replace
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import numpy as np
import torch

from resmom.config import Log, Run
from resmom.evaluate.online import Online
from resmom.losses.residual import Residual
from resmom.methods.dino import Dino
from resmom.methods.dinov2 import Dinov2
from resmom.methods.ibot import Ibot
from resmom.methods.mocov3 import MoCoV3
from resmom.nets.backbones import DinoViT, SmallResNet
from resmom.recipes import with_residual
from resmom.rundir import RunDir
from resmom.runs.machine import Machine
from resmom.runs.pretrain import pretrain, resume
from resmom.train.optim import AdamW, Lars
from resmom.train.plan import Train
from resmom.views.policy import mocov3_cifar
from tests import forked

QUIET = Machine(device="cpu", quiet=True)


def write_images(path: Path, n: int = 40, classes: int = 2) -> Path:
    """A labelled .npz of small images whose classes differ in colour."""
    random = np.random.default_rng(0)
    labels = np.arange(n) % classes
    images = random.integers(0, 120, size=(n, 16, 16, 3)) + 100 * np.eye(3)[labels % 3][:, None, None, :]
    test = slice(0, n // 4)
    images = images.astype(np.uint8)
    np.savez(path, train_images=images, train_labels=labels, test_images=images[test], test_labels=labels[test])
    return path


def small_run(**train: object) -> Run:
    """A run of seconds with everything in it: residual term, LARS, online classifier, kNN, checkpoints."""
    policy = mocov3_cifar()
    return with_residual(
        Run(
            method=MoCoV3(temperature=0.2, hidden=8, out=4),
            backbone=SmallResNet((4, 8)),
            policy=replace(policy, views=tuple(replace(view, size=16) for view in policy.views)),
            optim=Lars(lr=1.0, trust=0.02, form="clipped"),
            train=Train(**{"epochs": 4, "batch": 8, "warmup_epochs": 1, "seed": 3} | train),
            online=Online(lr=1.0),
            log=Log(line_steps=2, save_epochs=1, knn_epochs=2),
        )
    )


def dino_run() -> Run:
    """As `small_run`, with a memory, prototypes that are frozen at first, and views of two sizes."""
    run = small_run()
    first = run.policy.views[0]
    return replace(
        run,
        method=Dino(hidden=8, out=4, prototypes=12, temperature_epochs=3, local_pairs=True),
        policy=replace(run.policy, views=(*run.policy.views, *[replace(first, size=8, scale=(0.05, 0.4))] * 2)),
        residual=Residual(1.0, "z"),
        optim=AdamW(lr=0.01, weight_decay=0.04, final_decay=0.4),
        train=replace(run.train, clip=0.5, clip_each=True),
    )


def ibot_run() -> Run:
    """As `dino_run`, with masks, two centres, and paths that are dropped in the student."""
    run = dino_run()
    return replace(
        run,
        method=Ibot(hidden=8, out=4, prototypes=12, patch_prototypes=10, temperature_epochs=3),
        backbone=DinoViT("tiny", image=16, patch=4, drop_path=0.2),
        train=replace(run.train, epochs=3),
    )


def dinov2_run() -> Run:
    """As `ibot_run`, with both kinds of targets' parts that are remembered, and rates by layer."""
    run = ibot_run()
    method = Dinov2(8, 4, 12, 10, centring="mean", temperature_epochs=3, patch_pairs=True, local_pairs=True)
    optim = AdamW(lr=0.01, weight_decay=0.04, final_decay=0.4, layer_decay=0.9, patch_rate=0.2)
    backbone = DinoViT("tiny", image=16, patch=4, drop_path=0.2, even_drop=True, layer_scale=0.1)
    return replace(run, method=method, optim=optim, backbone=backbone)


def stopped_before_the_first_step(out: Path) -> None:
    """Make of a run that has kept no checkpoints one that has just begun."""
    RunDir(out).last.unlink()
    RunDir(out).metrics.unlink()


def start(out: Path, data: Path, die_in: str = "", die_at: int = 0) -> ForkServerProcess:
    """Begin or continue the run in `out`; the process kills itself at the `die_at`-th call of `die_in`, if given."""
    return forked.start(_work, out, data, die_in, die_at)


def _work(out: Path, data: Path, die_in: str, die_at: int) -> None:
    if die_in:
        _arm(die_in, die_at)
    if (out / "run.json").exists():
        resume(out, QUIET)
    else:
        pretrain(small_run(), str(data), out, QUIET)


def _arm(where: str, at: int) -> None:
    owner, name = {"fsync": (os, "fsync"), "replace": (Path, "replace"), "save": (torch, "save")}[where]
    original, calls = getattr(owner, name), 0

    def deadly(*args: object, **kwargs: object) -> object:
        nonlocal calls
        calls += 1
        if calls == at:
            if where == "save":  # half a checkpoint is already in the file
                args[1].write(b"PK\x03\x04 half a checkpoint")
                args[1].flush()
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*args, **kwargs)

    setattr(owner, name, deadly)
