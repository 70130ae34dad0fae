"""Ours beside other libraries: ratios of rounds that take turns, so that a shared machine is no excuse.

    python -m benchmarks.peers step|input|memory|start [--peers lightly,lightly-train] [--python PYTHON]
        [--solo-learn PATH] [--moco-v3 PATH] [--rounds N] [--threads N] [--device cuda] [--out DIR]

step: a MoCo-v3 training step on two random views, ResNet-18 with the CIFAR stem. input: files (224 pixels) and arrays
(32 pixels) to normalised batches of two views, a worker per core. memory: the peak of a process that trains, with the
C library's own allocator settings. start: --help, and the end of the first step. Peers are imported by PYTHON, which
may belong to another environment; those it cannot import are listed and left out; without any, ours is measured alone.
"""

import argparse
import json
import os
import re
import signal
import sys
from pathlib import Path
from typing import Any, get_args

from benchmarks.peers.bench import WHAT, Bench
from benchmarks.peers.case import PEERS
from resmom.runs.machine import Compile


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=list(WHAT))
    parser.add_argument("--peers", default=",".join(PEERS), help="names with commas between; '' for none")
    parser.add_argument("--solo-learn", default="", help="a checkout of vturrisi/solo-learn")
    parser.add_argument("--moco-v3", default="", help="a checkout of facebookresearch/moco-v3")
    parser.add_argument("--python", default=sys.executable, help="the Python that imports the peers")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--warm", type=int, default=2, help="rounds before those that count")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of one operation, in a step")
    parser.add_argument("--cores", type=int, default=1, help="for input: cores and workers of each contender")
    parser.add_argument("--batch", type=int, nargs="+", help="default 128 256; input 64, or 256 for arrays")
    parser.add_argument("--precision", nargs="+", default=["bf16", "fp32"], choices=["bf16", "fp32"])
    parser.add_argument("--device", default="cpu", help="of a step, and of memory: cpu, cuda, cuda:1 ...")
    parser.add_argument("--steps", type=int, help="in a round; default 1, on a GPU 20")
    parser.add_argument("--compile", default="no", choices=get_args(Compile), help="of our step")
    parser.add_argument("--side", type=int, default=32, help="of a step's views, in pixels")
    parser.add_argument("--size", type=int, nargs="+", default=[224, 32], help="of input's views; from 64 up: files")
    parser.add_argument("--images", type=Path, help="a flat folder of JPEGs; without it some are made")
    parser.add_argument("--arrays", type=Path, help="an .npz file with train_images; without it one is made")
    parser.add_argument("--wait-policy", default="passive", choices=["passive", "active", "unset"], help="of all")
    parser.add_argument(
        "--out", type=Path, default=Path("docs/results/speed"), help="folder of WHAT.json, or WHAT-gpu.json"
    )
    options = parser.parse_args()
    on_gpu = re.fullmatch(r"cuda(:\d+)?", options.device) is not None
    if options.device != "cpu" and not on_gpu:
        parser.error(f"--device is {options.device}; it is cpu, cuda or cuda:N")
    if options.what not in ("step", "memory"):
        for name, usual in (("device", "cpu"), ("steps", None), ("compile", "no")):
            if getattr(options, name) != usual:
                parser.error(f"--{name} is for step and memory")
    if options.compile == "graphs" and not on_gpu:
        parser.error("--compile graphs records CUDA graphs: give --device cuda")
    options.steps = options.steps or (20 if on_gpu else 1)
    # A GPU's figures stand beside those of a CPU, which tests and pages read.
    file = options.out / f"{options.what}{'-gpu' if on_gpu else ''}.json"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # by way of `finally`, which ends the contenders
    bench = Bench(options)

    from resmom.runs.environment import (  # not before the options are right: it imports torch
        environment,
        without_folders,
    )

    # The command as others can repeat it: of paths, which are this machine's own, the last part.
    command = ["python", "-m", "benchmarks.peers", *map(without_folders, sys.argv[1:])]
    about = environment() | {"threads": options.threads, "command": command}
    content: dict[str, Any] = {"what": options.what, "environment": about}
    content["settings"] = {"wait_policy": options.wait_policy, "rounds": options.rounds, "warm": options.warm}
    content["comparisons"] = []
    machine = f"{about['cpu']} ({about['instructions']}), {about['cores']} cores, {options.threads} threads"
    print(f"{machine}, torch {about['packages']['torch']}")
    options.out.mkdir(parents=True, exist_ok=True)
    for comparison in WHAT[options.what](bench):
        content["comparisons"].append(comparison)  # written each time: what was measured is not lost
        file.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
