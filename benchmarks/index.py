"""Does the size of the data cost anything? Batches from packs of 10^3 to 10^7 entries, in turns.

    python -m benchmarks.index [--entries 1000 10000 100000 1000000 10000000] [--rounds N] [--out DIR]

The entries of each pack point to the same few encoded images, so that ten million of them take no room for pixels:
what is compared is the index, the order of an epoch, and reading through the map. A round is eight batches of two
views, made by one thread on one core; the speed of each pack is given against that of the smallest, as minimum, median
and maximum over the rounds. Written to index.json in DIR.
"""

import argparse
import json
import os
import sys
import tempfile
import time
import zlib
from dataclasses import replace
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.peers.driver import Contender, interleave
from benchmarks.peers.table import Ratio
from benchmarks.peers.worker import Gate, die_with_parent

IMAGES, SIDE, BATCH, BATCHES = 256, 64, 256, 8


def make(folder: Path, entries: int) -> None:
    """A pack of so many entries, written in parts."""
    from resmom.data.packed import FORMAT, MARK, RECORD, shard_name

    folder.mkdir()
    random, content = np.random.default_rng(0), []
    for _ in range(IMAGES):
        file, coarse = BytesIO(), random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((SIDE, SIDE)).save(file, "JPEG", quality=90)
        content.append(file.getvalue())
    (folder / shard_name("train", 0)).write_bytes(b"".join(content))
    some = np.zeros(IMAGES, RECORD)
    some["length"] = [len(each) for each in content]
    some["start"] = np.cumsum(some["length"]) - some["length"]
    some["size"], some["label"], some["crc"] = SIDE, -1, [zlib.crc32(each) for each in content]
    with (folder / "train.index").open("wb") as index, (folder / "train.names").open("wb") as names:
        for start in range(0, entries, 2**16):
            numbers = np.arange(start, min(start + 2**16, entries))
            index.write(some[numbers % IMAGES].tobytes())
            names.write(b"".join(b"%08d.jpg\0" % number for number in numbers.tolist()))
    length = len(b"00000000.jpg\0")
    (np.arange(1, entries + 1, dtype="<i8") * length - 1).tofile(folder / "train.ends")
    shard = {"bytes": sum(map(len, content)), "sha256": ""}
    split = {"name": f"{entries} entries", "images": entries, "names_bytes": entries * length, "labelled": False}
    split |= {"classes": [], "shards": [shard], "unreadable": []}
    (folder / MARK).write_text(json.dumps({"format": FORMAT, "origin": "made", "splits": {"train": split}}))


def work(folder: str) -> None:
    """One contender: batches from one pack."""
    die_with_parent()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
    import torch

    from resmom.data.open import open_data
    from resmom.nets.backbones import SmallResNet
    from resmom.recipes import recipe
    from resmom.runs.training.job import prepare

    torch.set_num_threads(1)
    began = time.perf_counter()
    data = open_data(folder, ram_limit=0)
    opened = time.perf_counter() - began
    run = recipe("mocov3_cifar100_small")
    run = replace(run, backbone=SmallResNet((8,)), train=replace(run.train, batch=BATCH, steps=10**6))
    job = prepare(run, data, torch.device("cpu"))
    began = time.perf_counter()
    job.batch(0)
    gate = Gate(answers, {"open_seconds": opened, "first_batch_seconds": time.perf_counter() - began})
    with job.batches(0, job.steps, 1) as batches:
        taken = 0
        while True:
            gate()
            for _ in range(BATCHES):
                next(batches)
            taken += BATCHES


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.index", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--entries", type=int, nargs="+", default=[10**n for n in range(3, 8)])
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--out", type=Path, default=Path("docs/results/speed"))
    parser.add_argument("--worker", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options.worker)
        return
    from resmom.runs.environment import environment, without_folders

    with tempfile.TemporaryDirectory() as folder:
        starts = {}
        for entries in options.entries:
            make(Path(folder) / str(entries), entries)
            command = [sys.executable, "-m", "benchmarks.index", "--worker", str(Path(folder) / str(entries))]
            starts[str(entries)] = partial(Contender, str(entries), command)
        result = interleave(starts, options.rounds, warm=2)
    report(result.answers, result.about, result.died)
    command = ["python", "-m", "benchmarks.index", *map(without_folders, sys.argv[1:])]
    content: dict[str, Any] = {"what": "index", "environment": environment() | {"command": command}}
    content |= {"rounds": result.answers, "about": result.about, "failed": result.died}
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "index.json").write_text(json.dumps(content, indent=1) + "\n")


def report(answers: dict[str, list[dict[str, Any]]], about: dict[str, dict[str, Any]], died: dict[str, str]) -> None:
    """The table."""
    least = next(name for name, rounds in answers.items() if rounds and name not in died)
    print(f"{'entries':>10}{'speed: min':>12}{'median':>8}{'max':>8}{'open s':>9}{'1st batch s':>13}{'MiB now':>9}")
    for name, rounds in answers.items():
        if name in died:
            continue
        pairs = zip(answers[least], rounds, strict=True)
        ratio = Ratio.of([first["seconds"] / own["seconds"] for first, own in pairs])
        said = about[name]
        print(
            f"{name:>10}{ratio.min:>12.2f}{ratio.median:>8.2f}{ratio.max:>8.2f}{said['open_seconds']:>9.3f}"
            f"{said['first_batch_seconds']:>13.2f}{rounds[-1]['mib']:>9.0f}"
        )
    for name, reason in died.items():
        print(f"{name:>10} failed: {reason}")


if __name__ == "__main__":
    main()
