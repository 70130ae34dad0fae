"""One command for a borrowed machine: checks, throughput, comparisons of pretraining, and on to detection.

    python -m benchmarks.harness check --results DIR [--toy]
    python -m benchmarks.harness throughput --results DIR [--only ResNet-18] [--precision bf16] [--toy]
    python -m benchmarks.harness train GRID.json --data DATA --state DIR --results DIR [--minutes 9] [--toy]
    python -m benchmarks.harness chain GRID.json --photos DIR … --train VOC … --test VOC … --state DIR --results DIR

Every finished piece of work is one JSON line in a file under --results, and a piece of throughput, train and chain
whose line is there is not done again: a call that is cut off, or stopped by --minutes, loses at most the piece under
way, and of a training only what came after its last checkpoint in the state folder. The same call goes on where the
last one ended, on this machine or, with the result files brought along, on another. --toy shrinks everything so that
the whole path runs on a CPU in a minute. `chain` is pretraining and detection, see benchmarks/chain/README.md.
"""

import argparse
import os
import sys
import time
from pathlib import Path
from typing import get_args

from benchmarks.chain.places import add_places
from benchmarks.harness import chain, check, throughput, training
from resmom.errors import UserError
from resmom.runs.machine import Compile


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.harness", description=__doc__)
    parser.add_argument("part", choices=("check", "throughput", "train", "chain"))
    parser.add_argument("grid", nargs="?", type=Path, help="for train and chain: a grid file")
    parser.add_argument("--results", type=Path, required=True, help="folder of result files")
    parser.add_argument("--state", type=Path, default=Path("/tmp/resmom-harness"), help="folder of unfinished runs")
    parser.add_argument("--data", default="", help="for train: what `resmom pretrain --data` takes")
    parser.add_argument("--only", default="", help="for check and throughput: a part of the names of what to do")
    parser.add_argument(
        "--precision", nargs="+", choices=throughput.PRECISIONS, default=throughput.PRECISIONS, help="for throughput"
    )
    parser.add_argument("--compile", choices=get_args(Compile), help="for train: as `resmom pretrain --compile`")
    add_places(parser, required=False)
    parser.add_argument("--minutes", type=float, default=9.0, help="stop in time for a limit of so many minutes")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--toy", action="store_true", help="everything tiny: tries the path, measures nothing")
    a = parser.parse_args()
    for name, part, usual in (
        ("only", ("check", "throughput"), ""),
        ("precision", ("throughput",), throughput.PRECISIONS),
        ("compile", ("train",), None),
    ):
        if a.part not in part and getattr(a, name) != usual:
            parser.error(f"--{name} is for {' and '.join(part)}")
    until = time.monotonic() + 60 * a.minutes
    a.results.mkdir(parents=True, exist_ok=True)
    try:
        if a.part == "check":
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when the GPU is first used
            return check.work(a.results / "check.jsonl", a.device, a.toy, until, a.only)
        if a.part == "throughput":
            return throughput.work(a.results / "throughput.jsonl", a.device, a.toy, until, a.only, a.precision)
        if a.part == "chain":
            if a.grid is None or not (a.photos and a.train and a.test):
                parser.error("chain needs a grid file, --photos, --train and --test")
            named = a.photos, a.train, a.test
            return chain.work(a.grid, named, a.state, a.results, a.device, a.toy, until)
        if a.grid is None or not a.data:
            parser.error("train needs a grid file and --data")
        return training.work(a.grid, a.data, a.state, a.results, a.device, a.toy, until, a.compile)
    except UserError as error:
        print(f"harness: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
