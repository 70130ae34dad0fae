"""A step of training, side by side: what the term, the precision, compiling, shuffling BN and small views cost or save.

    python -m benchmarks.step [--compile] [--threads N] [--out FILE]

With --compile, both backbones are also compiled by torch's inductor (default mode), which needs a C++ compiler.
bf16 is left out on a processor that emulates it. Prints ratios of steps per second against the published method in
fp32, of MoCo-v2 with BatchNorm in shuffled groups against MoCo-v2 without, of smaller views against 32 pixels: minimum,
median and maximum over interleaved rounds. On a shared machine only such ratios mean anything; the seconds do not.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.ended import ended
from resmom.jsonfiles import write_json
from resmom.losses.residual import Residual
from resmom.methodconfig import MethodConfig
from resmom.methods.mocov2 import MoCoV2
from resmom.recipes import recipe
from resmom.runs.environment import environment, shareable
from resmom.runs.settling.facts import emulates_bf16
from resmom.runs.training.compiling import compile_backbones
from resmom.runs.training.job import fresh_method
from resmom.train.optim import build_optimizer
from resmom.train.plan import Plan, Precision
from resmom.train.state import State
from resmom.train.step import Rules, train_step
from resmom.types import Batch

WARM, ROUNDS = 2, 12
"""The first rounds pay for memory, kernels and compiling, and count for nothing."""
BATCH = 128
Step = Callable[[], None]


GROUP = 32
"""Images that BatchNorm normalises together in MoCo-v2's published runs."""
SIDES = (8, 16, 20, 24, 28, 32)
"""Sides of views, of which the last is the recipes' own."""
SHUFFLED = f"… groups of {GROUP}, shuffled (against it)"


def contender(
    weight: float,
    precision: Precision,
    compiled: bool = False,
    method: MethodConfig | None = None,
    side: int = 32,
    name: str = "mocov3_cifar100_small",
) -> Step:
    """One step of a CIFAR recipe on random views of `side` pixels, with both backbones compiled if so wanted.

    `method`: another one, without a predictor, in the place of the recipe's.
    """
    run = recipe(name)
    if method is not None:
        run = replace(run, method=method, residual=Residual(site="z"))
    made = fresh_method(run, torch.device("cpu"))
    compile_backbones(made, "kernels" if compiled else "no", alone=False)
    state = State(made, build_optimizer(run.optim, made.student))
    views = tuple(torch.randn(BATCH, 3, side, side).to(memory_format=torch.channels_last) for _ in range(2))
    batch, plan = Batch(views, torch.arange(BATCH)), Plan(0.1, 0.99, weight)
    rules = Rules(replace(run.residual, weight=weight), precision)

    def step() -> None:
        train_step(state, batch, plan, rules)

    return step


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--compile", action="store_true", help="also with the backbones compiled")
    parser.add_argument("--threads", type=int, default=0, help="0 leaves torch's choice")
    parser.add_argument("--out", type=Path, help="a JSON file for all seconds, the machine and the command")
    options = parser.parse_args(words)
    if options.threads:
        torch.set_num_threads(options.threads)
    precisions: tuple[Precision, ...] = ("fp32",) if emulates_bf16(torch.device("cpu")) else ("fp32", "bf16")
    contenders = {}
    for precision in precisions:
        contenders[f"published method, {precision}"] = contender(0.0, precision)
        contenders[f"with the residual term, {precision}"] = contender(1.0, precision)
    if options.compile:
        contenders |= {f"published method, {p}, compiled": contender(0.0, p, compiled=True) for p in precisions}
    queue = MoCoV2(hidden=1024, out=128, queue=4096)
    contenders["MoCo-v2, fp32"] = contender(0.0, "fp32", method=queue)
    contenders[SHUFFLED] = contender(0.0, "fp32", method=replace(queue, shuffle_bn=GROUP))
    for name in ("mocov3_cifar100_tiny", "mocov3_cifar100_small"):
        for side in SIDES:
            contenders[f"{name}, {side} pixels"] = contender(0.0, "fp32", side=side, name=name)
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(WARM + ROUNDS):
        for name, step in contenders.items():
            began = time.perf_counter()
            step()
            seconds[name].append(time.perf_counter() - began)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, batch {BATCH}, {ROUNDS} rounds")
    print(f"{'speed against the first':<40}{'min':>7}{'median':>8}{'max':>7}{'first step, s':>15}")
    for name, own in seconds.items():
        base = seconds["MoCo-v2, fp32" if name == SHUFFLED else "published method, fp32"]
        if name.endswith(" pixels"):  # against the same recipe at full size, the last of its sides
            base = seconds[f"{name.partition(',')[0]}, {SIDES[-1]} pixels"]
        ratios = [b / o for b, o in zip(base[WARM:], own[WARM:], strict=True)]
        print(f"{name:<40}{min(ratios):>7.2f}{statistics.median(ratios):>8.2f}{max(ratios):>7.2f}{own[0]:>15.1f}")
    if options.out is not None:
        settings = {"batch": BATCH, "warm": WARM, "rounds": ROUNDS}
        content = {"what": "step of our own", "settings": settings, "seconds": seconds}
        write_json(options.out, {**content, "environment": shareable(environment())})
    return 0


if __name__ == "__main__":
    ended("step", main)
