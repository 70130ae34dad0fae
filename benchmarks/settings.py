"""What the automatic settings rest on: short runs on 1,000 and 5,000 images, one setting changed at a time.

    python -m benchmarks.settings --data cifar100.npz --out DIR [--images 1000 5000] [--seen 60000] [--only NAME ...]

Every run trains the derived configuration on the first images of a labelled data set (class by class in turn) and is
tested on its whole test split: weighted kNN of the student, last epoch. Finished cells are read from DIR/cells.jsonl
and not run again, so the command can be stopped at any time, and several can share the work with --part 0/2, --part
1/2. At the end the table is printed. One seed per changed setting, three for the base and for what looked better than
it: differences below about twice the base's spread say nothing.
"""

import argparse
import fcntl
import shutil
import statistics
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from resmom.config import Log, Run
from resmom.data.open import open_data
from resmom.data.source import Data
from resmom.methods.byol import Byol
from resmom.methods.mocov3 import MoCoV3
from resmom.nets.teacher import Ema
from resmom.recipes import with_residual
from resmom.recipes.automatic import automatic, momentum_of, warmup
from resmom.rundir import append_line, read_lines
from resmom.runs.environment import environment, shareable
from resmom.runs.facts import gather
from resmom.runs.machine import Machine
from resmom.runs.pretrain import pretrain
from resmom.train.optim import AdamW

Change = Callable[[Run], Run]


def _steps(run: Run, steps: int) -> Run:
    train = replace(run.train, steps=steps, warmup_steps=warmup(steps))
    return replace(run, train=train)


def _batch(run: Run, batch: int) -> Run:
    """Another batch for the same number of images seen."""
    run = _steps(run, run.train.steps * run.train.batch // batch)
    return replace(run, train=replace(run.train, batch=batch))


def _rate(run: Run, factor: float) -> Run:
    return replace(run, optim=replace(run.optim, lr=run.optim.lr * factor))


def _crops(run: Run, smallest: float) -> Run:
    views = tuple(replace(view, scale=(smallest, 1.0)) for view in run.policy.views)
    return replace(run, policy=replace(run.policy, views=views))


def _mocov3(run: Run) -> MoCoV3:
    assert isinstance(run.method, MoCoV3)
    return run.method


def _life(run: Run, share: float) -> Run:
    return replace(run, ema=Ema(momentum_of(run.train.steps * share), 1.0))


def _seed(run: Run, seed: int) -> Run:
    return replace(run, train=replace(run.train, seed=seed))


CHANGES: dict[str, Change] = {
    "base": lambda run: run,
    "base, seed 1": lambda run: _seed(run, 1),
    "base, seed 2": lambda run: _seed(run, 2),
    "twice as long": lambda run: _steps(run, 2 * run.train.steps),
    "four times as long": lambda run: _steps(run, 4 * run.train.steps),
    "batch 64": lambda run: _batch(run, 64),
    "batch 256": lambda run: _batch(run, 256),
    "learning rate / 3": lambda run: _rate(run, 1 / 3),
    "learning rate x 3": lambda run: _rate(run, 3.0),
    "AdamW .001": lambda run: replace(run, optim=AdamW(lr=1e-3, weight_decay=0.05)),
    "half-life 1/400 of the run": lambda run: _life(run, 1 / 400),
    "half-life 1/25 of the run": lambda run: _life(run, 1 / 25),
    "temperature .1": lambda run: replace(run, method=replace(_mocov3(run), temperature=0.1)),
    "temperature .5": lambda run: replace(run, method=replace(_mocov3(run), temperature=0.5)),
    "crops from .08": lambda run: _crops(run, 0.08),
    "crops from .4": lambda run: _crops(run, 0.4),
    "heads 256/64": lambda run: replace(run, method=replace(_mocov3(run), hidden=256, out=64)),
    "residual term, weight 1": with_residual,
    "BYOL": lambda run: replace(run, method=Byol(1024, 128, 1024)),
    "BYOL, learning rate / 3": lambda run: _rate(replace(run, method=Byol(1024, 128, 1024)), 1 / 3),
}

# What came out more than two standard deviations of the base above it with one seed, once more with two others.
CLOSER = ("half-life 1/400 of the run", "temperature .1", "residual term, weight 1")
CHANGES |= {
    f"{name}, seed {seed}": lambda run, name=name, seed=seed: _seed(CHANGES[name](run), seed)
    for name in CLOSER
    for seed in (1, 2)
}


def subset(data: Data, images: int) -> Data:
    """The first images of each class in turn, so many together; the test split whole."""
    labels = data.train.labels
    assert labels is not None
    order = np.argsort(labels, kind="stable")
    within = np.concatenate([np.arange(count) for count in np.bincount(labels)])
    chosen = order[np.argsort(within, kind="stable")][:images]
    return Data(data.train.subset(np.sort(chosen)), data.test, f"{images} of {data.train.name}")


def cell(data: Data, name: str, seen: int, out: Path) -> dict[str, object]:
    """One run, measured at its end."""
    base = automatic(gather(data, torch.device("cpu"))).run
    run = _steps(replace(base, log=Log(line_steps=50, save_epochs=0, knn_epochs=0)), seen // base.train.batch)
    # The momentum follows the length, as in the rule.
    run = CHANGES[name](_life(run, 1 / 100))
    finished = pretrain(run, data, out, Machine(device="cpu", quiet=True))
    knn = [line for line in read_lines(out / "metrics.jsonl") if line["kind"] == "knn"][-1]
    return {"steps": finished.steps, "student": knn["student"], "teacher": knn["teacher"], "protocol": knn["protocol"]}


def work(arguments: argparse.Namespace) -> None:
    data = open_data(arguments.data)
    part, parts = map(int, arguments.part.split("/"))
    cells = arguments.out / "cells.jsonl"
    todo = [(images, name) for images in arguments.images for name in CHANGES if name in (arguments.only or CHANGES)]
    for number, (images, name) in enumerate(todo):
        done = {(line["images"], line["name"], line["seen"]) for line in read_lines(cells)}
        if number % parts != part or (images, name, arguments.seen) in done:
            continue
        folder = arguments.out / f"{images}-{arguments.seen}-{name.replace(' ', '-').replace('/', 'of')}"
        if (
            folder.exists()
        ):  # cut off in the middle, or its line would be there; a cell takes minutes, so from its start
            shutil.rmtree(folder)
        found = cell(subset(data, images), name, arguments.seen, folder)
        with (arguments.out / "cells.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            append_line(
                cells,
                {
                    "images": images,
                    "name": name,
                    "seen": arguments.seen,
                    **found,
                    "environment": shareable(environment()),
                },
            )
        print(f"{images} images, {name}: student {found['student']:.2f}, teacher {found['teacher']:.2f}", flush=True)


def table(cells: Path) -> Iterator[str]:
    """Lines of Markdown: every setting against the base, over its seeds, for each number of images."""
    lines = read_lines(cells)
    for images, seen in sorted({(line["images"], line["seen"]) for line in lines}):
        own: dict[str, list[float]] = {}
        for line in lines:
            if (line["images"], line["seen"]) == (images, seen):
                own.setdefault(line["name"].partition(", seed ")[0], []).append(line["student"])
        base = statistics.fmean(own["base"])
        yield f"\n{images:,} images, {seen:,} seen:\n"
        yield "| setting | kNN student, mean ± sd (n) | against the base |\n|---|---|---|"
        for name in (name for name in CHANGES if name in own):
            found = own[name]
            spread = f" ± {statistics.stdev(found):.2f} ({len(found)})" if len(found) > 1 else " (1)"
            yield f"| {name} | {statistics.fmean(found):.2f}{spread} | {statistics.fmean(found) - base:+.2f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--images", type=int, nargs="+", default=[1000, 5000])
    parser.add_argument("--seen", type=int, default=60_000)
    parser.add_argument("--only", nargs="+", choices=list(CHANGES))
    parser.add_argument("--part", default="0/1", help="this process's share, as 0/2 and 1/2 for two of them")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    arguments.out.mkdir(parents=True, exist_ok=True)
    work(arguments)
    print("\n".join(table(arguments.out / "cells.jsonl")))


if __name__ == "__main__":
    main()
