"""What the automatic settings rest on: short runs on 1,000 and 5,000 images, one setting changed at a time.

    python -m benchmarks.settings --data cifar100.npz --out DIR [--images 1000 5000] [--seen 60000] [--only NAME ...]

Every run trains the derived configuration, with a backbone of widths 32-64-128-256, on the first images of a labelled
data set (class by class in turn) and is tested on its whole test split: weighted kNN of the student, last epoch.
Finished cells are read from DIR/cells.jsonl and not run again, so the command can be stopped at any time, and several
can share the work with --part 0/2, --part 1/2. At the end the table is printed. One seed per changed setting, three for
the base and for what looked better than it: differences below about twice the base's spread say nothing.

What is tried stands in benchmarks/tried.py.
"""

import argparse
import math
import re
import shutil
import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.ended import ended
from benchmarks.tried import AS_DERIVED, BASE, SETTINGS
from resmom.data.open import open_data
from resmom.data.source import Data
from resmom.diagnose.paired import paired, spread
from resmom.export.record import newest
from resmom.jsonfiles import read_lines
from resmom.recipes.automatic import automatic
from resmom.runs.comparisons.results import keep
from resmom.runs.environment import environment, shareable
from resmom.runs.machine import Machine
from resmom.runs.pretrain import pretrain
from resmom.runs.settling.facts import gather


def subset(data: Data, images: int) -> Data:
    """The first images of each class in turn, so many together; the test split whole."""
    labels = data.train.labels
    assert labels is not None
    order = np.argsort(labels, kind="stable")
    within = np.concatenate([np.arange(count) for count in np.bincount(labels)])
    chosen = order[np.argsort(within, kind="stable")][:images]
    return Data(data.train.subset(np.sort(chosen)), data.test, f"{images} of {data.train.name}")


def cell(data: Data, name: str, seen: int, out: Path) -> dict[str, object] | int:
    """One run, measured at its end, or the signal that stopped it.

    The processor's seconds are those of the whole run, all threads together.
    """
    facts = replace(gather(data, torch.device("cpu")), backbone=BASE)
    run = SETTINGS[name](replace(facts, steps=seen // automatic(facts).run.train.batch))
    began = time.process_time()
    finished = pretrain(run, data, out, Machine(device="cpu", quiet=True))
    spent = time.process_time() - began
    if finished.interrupted_by is not None:
        return finished.interrupted_by
    knn = newest(read_lines(out / "metrics.jsonl"), "knn")
    measured = {key: knn[key] for key in ("student", "teacher", "protocol") if key in knn}
    return {"steps": finished.steps, "cpu_seconds": round(spent, 1), **measured}


def work(arguments: argparse.Namespace) -> int | None:
    """All cells of this process that are not done; the signal, if one stopped it."""
    data = open_data(arguments.data)
    part, parts = map(int, arguments.part.split("/"))
    cells = arguments.out / "cells.jsonl"
    todo = [(images, name) for images in arguments.images for name in SETTINGS if name in (arguments.only or SETTINGS)]
    for number, (images, name) in enumerate(todo):
        own = subset(data, images)
        done = {(images_of(line), line["name"], line["seen"]) for line in read_lines(cells)}
        if number % parts != part or (own.origin, name, arguments.seen) in done:
            continue
        folder = arguments.out / re.sub(r"[^\w.]+", "-", f"{own.origin} {arguments.seen} {name}")
        if folder.exists():  # cut off in the middle, or its line would be there; it takes minutes, so from its start
            shutil.rmtree(folder)
        found = cell(own, name, arguments.seen, folder)
        if isinstance(found, int):
            return found
        line = {"images": images, "name": name, "seen": arguments.seen, **found}
        keep(cells, {**line, "environment": shareable(environment())})
        teacher = f", teacher {found['teacher']:.2f}" if "teacher" in found else ""
        print(f"{own.origin}, {name}: student {found['student']:.2f}{teacher}", flush=True)
    return None


def images_of(line: Mapping[str, Any]) -> str:
    """The images of a cell in words, as `subset` has them: the last part of its protocol."""
    return str(line["protocol"]).rpartition(", ")[2]


def table(lines: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Lines of Markdown: every setting against the base, over its seeds, for each number of images.

    Where the base was not run, against the first of them. Where they were recorded, the processor's seconds of a cell
    stand beside it as a multiple of the base's. Settings with several seeds stand below, paired by seed with the first
    of these, and changes of a method as derived with that method.
    """
    for images, of, seen in sorted({(line["images"], images_of(line), line["seen"]) for line in lines}):
        own: dict[str, list[Mapping[str, Any]]] = {}
        for line in lines:
            if (images_of(line), line["seen"]) == (of, seen):
                own.setdefault(line["name"].partition(", seed ")[0], []).append(line)
        first = next(name for name in SETTINGS if name in own)
        base, time_of_base = _mean(own[first], "student"), _mean(own[first], "cpu_seconds")
        timed = not math.isnan(time_of_base)
        yield f"\n{images:,} images ({of}), {seen:,} seen:\n"
        yield f"| setting | kNN student, mean ± sd (n) | against the {'base' if first == 'base' else 'first'} |" + (
            " processor time |" if timed else ""
        )
        yield "|---|---|---|" + ("---|" if timed else "")
        for name in (name for name in SETTINGS if name in own):
            found = spread([line["student"] for line in own[name]])
            told = f"{found.mean:.2f}{'' if found.sd is None else f' ± {found.sd:.2f}'} ({found.n})"
            spent = _mean(own[name], "cpu_seconds") / time_of_base
            yield f"| {name} | {told} | {found.mean - base:+.2f} |" + (f" x {spent:.2f} |" if timed else "")
        yield from _paired({name: seeds for name in SETTINGS if len(seeds := _by_seed(own.get(name, []))) > 1})


def _paired(several: Mapping[str, Mapping[int, float]]) -> Iterator[str]:
    """A paragraph for each setting that others are changes of: how each of these differs from it over its seeds."""
    first = next(iter(several), "")
    found: dict[str, list[str]] = {}
    for name in list(several)[1:]:
        changed = [method for method in AS_DERIVED if name.startswith(f"{method}, ") and method in several]
        than = max(changed, key=len, default=first)
        short = name.removeprefix(f"{than}, ") if than in AS_DERIVED else name
        found.setdefault(than, []).append(f"{short} {_difference(several[name], several[than])}")
    for than, told in found.items():
        yield f"\nAgainst {than}, paired by seed, with 95 % intervals: {'; '.join(told)}."


def _by_seed(lines: Sequence[Mapping[str, Any]]) -> dict[int, float]:
    return {int(line["name"].partition(", seed ")[2] or 0): line["student"] for line in lines}


def _difference(values: Mapping[int, float], base: Mapping[int, float]) -> str:
    found = paired(values, base)
    if found is None or found.low is None or found.high is None:
        return "has not two seeds with it"
    d = found.difference
    return f"{d.mean:+.2f} [{found.low:+.2f}, {found.high:+.2f}] (n = {d.n})"


def _mean(lines: Sequence[Mapping[str, Any]], key: str) -> float:
    """Not a number where it was not recorded."""
    return statistics.fmean(float(line.get(key, math.nan)) for line in lines)


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="labelled images with a test split")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--images", type=int, nargs="+", default=[1000, 5000])
    parser.add_argument("--seen", type=int, default=60_000)
    parser.add_argument(
        "--only", nargs="+", choices=list(SETTINGS), metavar="NAME", help="settings of benchmarks/tried.py; else all"
    )
    parser.add_argument("--part", default="0/1", help="this process's share, as 0/2 and 1/2 for two of them")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args(words)
    torch.set_num_threads(arguments.threads)
    arguments.out.mkdir(parents=True, exist_ok=True)
    stopped = work(arguments)
    if stopped is not None:
        print("stopped; the same command goes on with this cell", file=sys.stderr)
        return 128 + stopped
    print("\n".join(table(read_lines(arguments.out / "cells.jsonl"))))
    return 0


if __name__ == "__main__":
    ended("settings", main)
