"""resmom: the step of `resmom.train.step`, batches of `Job.batch` made ahead by threads."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.peers.case import Case
from benchmarks.peers.worker import Gate
from resmom.data.open import open_data
from resmom.losses.residual import Residual
from resmom.nets.backbones import ResNet, SmallResNet
from resmom.recipes import recipe
from resmom.runs.device import measured_kernels
from resmom.runs.machine import keep_memory
from resmom.runs.training.compiling import begin_step, compile_backbones, require_compiler
from resmom.runs.training.job import fresh_method, prepare
from resmom.train.optim import Sgd, build_optimizer
from resmom.train.plan import Plan
from resmom.train.state import State
from resmom.train.step import Rules, train_step
from resmom.types import Batch

PACKAGES = ("resmom", "numba", "simplejpeg")
NOTES = {
    "step": "mocov3_cifar100_r18 with SGD and a padding of 1 in the stem, no residual term, no online classifier; "
    "on a GPU cudnn.benchmark, as runs have it",
    "images": "Job.batch by prefetch, a thread per core, files decoded each time (nothing held in RAM)",
}


def step(case: Case, gate: Callable[[], None]) -> None:
    if case.keep_memory:
        keep_memory()
    require_compiler(case.compile, torch.device(case.device))
    run, device = replace(recipe("mocov3_cifar100_r18"), backbone=ResNet(18, stem="small"), optim=Sgd()), case.device
    method = fresh_method(run, torch.device(device)).train()
    state = State(method, build_optimizer(run.optim, method.student))
    compile_backbones(method, case.compile)
    shape = (case.batch, 3, case.side, case.side)
    views = tuple(torch.randn(shape, device=device).to(memory_format=torch.channels_last) for _ in range(2))
    batch = Batch(views, torch.arange(case.batch, device=device))
    rules = Rules(Residual(0.0), case.precision, gated=case.on_gpu)
    with measured_kernels(torch.device(device)):
        while True:
            gate()
            begin_step(case.compile)
            train_step(state, batch, Plan(0.03, 0.99, 0.0), rules)


def images(case: Case, gate: Gate) -> None:
    if case.keep_memory:
        keep_memory()
    arrays = Path(case.data).suffix == ".npz"
    run = recipe("mocov3_cifar100_r18" if arrays else "mocov3_imagenet_r50")
    views = tuple(replace(view, size=case.side) for view in run.policy.views)
    # The network is not used; a small one spares memory.
    run = replace(
        run, policy=replace(run.policy, views=views), backbone=SmallResNet(), train=replace(run.train, batch=case.batch)
    )
    job = prepare(run, open_data(case.data, ram_limit=0), torch.device("cpu"))
    with job.batches(0, 10**7, case.cores) as batches:
        while True:
            gate()
            for _ in range(case.batches):
                next(batches)
