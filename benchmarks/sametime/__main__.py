"""What becomes of the same photos in the same time on one core, by ours and by lightly-train.

    taskset -c 0 python -m benchmarks.sametime --data imagenette/ --out DIR --python ~/peers/bin/python \
        [--minutes 10] [--seeds 3] [--only ARM ...]

Every arm gets the images of imagenette/train and so many minutes, from the start of its process to its end.
lightly-train is asked for its speed beforehand, which does not count, and then trained for as many steps as fit, with
its schedule of that length. Its environment is the one that docs/results/speed/README.md tells how to make. What comes
out is tested by the same protocols. Finished cells are read from DIR/cells.jsonl and not run again; the same command on
another core shares the work.

Who takes part stands in benchmarks/sametime/arm.py.
"""

import argparse
import json
import math
import re
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import torch

from benchmarks.ended import ended
from benchmarks.sametime.arm import ARMS, BATCH, OWN_WORDS, SIDES, Ask, Theirs, steps_within
from benchmarks.sametime.judge import judge, ours, theirs
from benchmarks.sametime.table import table
from resmom.data.open import open_data
from resmom.errors import UserError
from resmom.jsonfiles import read_lines
from resmom.ondisk import lock
from resmom.runs.clean import Split, labelled_split
from resmom.runs.comparisons.results import keep
from resmom.runs.environment import environment, shareable


def run(words: Sequence[str], log: Path) -> str:
    """What a process printed, with the rest in a file. Raises UserError if it fails."""
    with log.open("a", encoding="utf-8") as held:
        done = subprocess.run(words, stdout=subprocess.PIPE, stderr=held, text=True, check=False)
        held.write(done.stdout)
    if done.returncode:
        raise UserError(f"{words[0]} ended with status {done.returncode}; what it said is in {log}")
    return done.stdout


def train_ours(name: str, data: Path, out: Path, seed: int, minutes: float, log: Path) -> int:
    """A run with everything derived that `name` does not ask for; its steps."""
    words = ["pretrain", "--data", str(data), "--out", str(out), "--time", f"{minutes}m", "--train.seed", str(seed)]
    words += OWN_WORDS[name]
    run([sys.executable, "-m", "resmom", *words, "--threads", "1"], log)
    return int(read_lines(out / "metrics.jsonl")[-1]["step"])


def ask_theirs(python: Path, ask: Ask, log: Path) -> str:
    return run([str(python), "-m", "benchmarks.sametime.lightly_train_", ask.text()], log)


def speed_of(python: Path, arm: Theirs, data: Path, out: Path, log: Path) -> dict[str, Any]:
    """`start_up`, seconds from its start to the first step, `per_step`, those of a step, and its `version`."""
    told = ask_theirs(python, Ask(arm, str(data), str(out), 0, epochs=10**6), log)
    shutil.rmtree(out, ignore_errors=True)
    said: dict[str, Any] = json.loads(told.splitlines()[-1])
    return said


def cell(name: str, seed: int, images: int, split: Split, options: argparse.Namespace) -> dict[str, Any]:
    """One training on so many images, timed, and what its network is worth by the split."""
    folder = options.out / _folder(name, seed)
    shutil.rmtree(folder, ignore_errors=True)  # cut off in the middle, or its line would be there
    folder.mkdir(parents=True)
    data, log, arm, about = options.data / "train", folder / "log.txt", ARMS[name], {}
    ask = None
    if arm is not None:
        about = speed_of(options.python, arm, data, folder / "speed", log)
        steps = steps_within(60 * options.minutes, about["start_up"], about["per_step"])
        ask = Ask(arm, str(data), str(folder / "out"), seed, steps, math.ceil(steps / (images // BATCH)))
    began, spent = time.perf_counter(), _processor()
    if ask is None:
        steps = train_ours(name, data, folder / "out", seed, options.minutes, log)
    else:
        ask_theirs(options.python, ask, log)
    timed = {"seconds": round(time.perf_counter() - began, 1), "cpu_seconds": round(_processor() - spent, 1)}
    trained = ours(folder / "out") if arm is None else theirs(folder / "out", arm)
    return {
        **{"arm": name, "seed": seed, "minutes": options.minutes, "steps": steps, **timed},
        **{"speed": about, "top1": judge(trained, split, SIDES if arm is None else arm.sides)},
    }


def _folder(name: str, seed: int) -> str:
    return re.sub(r"[^\w.]+", "-", f"{name} {seed}")


def _what(line: Mapping[str, Any]) -> tuple[str, int, float]:
    return line["arm"], line["seed"], line["minutes"]


def _processor() -> float:
    """Seconds that the processes which have ended had of the processor."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a folder with train/ and another labelled split")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--python", type=Path, required=True, help="of an environment with lightly-train")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=list(ARMS), default=list(ARMS))
    options = parser.parse_args(words)
    options.data, options.out = options.data.resolve(), options.out.resolve()
    opened = open_data(str(options.data))
    split = labelled_split(opened)
    if opened.test is None or split is None or len(opened.train) < BATCH:
        raise UserError(
            f"{options.data} ({opened.origin}) needs {BATCH} images to train on and labels to test by; give a folder "
            "with train/CLASS/ and val/CLASS/"
        )
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    cells = options.out / "cells.jsonl"
    for seed, name in product(range(options.seeds), options.only):
        with (options.out / f"{_folder(name, seed)}.lock").open("w") as mine:
            try:
                lock(mine)
            except BlockingIOError:  # another process is at it
                continue
            if (name, seed, options.minutes) in map(_what, read_lines(cells)):
                continue
            line = cell(name, seed, len(opened.train), split, options)
            keep(cells, {**line, "environment": shareable(environment())})
        print(f"{name}, seed {seed}: {line['steps']} steps, {line['top1']}", flush=True)
    print("\n".join(table(read_lines(cells))))
    return 0


if __name__ == "__main__":
    ended("sametime", main)
