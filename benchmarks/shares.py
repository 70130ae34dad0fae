"""Where the time of a training step goes on a CPU, by the kind of operation: what a faster step would have to change.

    python -m benchmarks.shares [--batch 128] [--precision bf16] [--threads N] [--out FILE]

The step is that of `benchmarks.peers step` (MoCo-v3, ResNet-18 with the CIFAR stem, two views of 32 pixels), looked at
by torch's profiler. Prints of each kind the share of the time that operations themselves take: minimum, median and
maximum over the rounds. Shares say what is to be gained at most: a step without anything but convolutions would be
1 / (share of the convolutions) times as fast.
"""

import argparse
import contextlib
import os
import statistics
from collections.abc import Sequence
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.ended import ended
from benchmarks.peers import ours
from benchmarks.peers.case import Case
from resmom.jsonfiles import write_json
from resmom.runs.environment import environment, shareable

WARM, ROUNDS = 2, 7
KINDS = {
    "convolutions, backward": ("convolution_backward",),
    "convolutions, forward": ("convolution",),
    "batch norm": ("batch_norm",),
    "matrix products of the heads": ("mm", "linear"),
    "ReLU and additions": ("relu", "threshold_backward", "clamp_min", "aten::add"),
}
"""By parts of the names of operations; the first that fits counts. The rest is everything else."""
REST = "everything else"


class Enough(Exception):
    """All rounds are done."""


class Watched:
    """Called before every step: closes the last step's record and opens the next one's."""

    def __init__(self, rounds: int) -> None:
        self.left, self.found = rounds, list[dict[str, float]]()
        self.record: profile | None = None

    def __call__(self) -> None:
        if self.record is not None:
            self.record.stop()
            self.found.append(shares({event.key: event.self_cpu_time_total for event in self.record.key_averages()}))
        if self.left == 0:
            raise Enough
        self.left -= 1
        self.record = profile(activities=[ProfilerActivity.CPU])
        self.record.start()


def kind_of(operation: str) -> str:
    return next((kind for kind, parts in KINDS.items() if any(part in operation for part in parts)), REST)


def shares(seconds: dict[str, float]) -> dict[str, float]:
    """The share of each kind in the time of all operations, in [0, 1], from each operation's own time."""
    whole = sum(seconds.values())
    found = dict.fromkeys([*KINDS, REST], 0.0)
    for operation, own in seconds.items():
        found[kind_of(operation)] += own / whole
    return found


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="bf16")
    parser.add_argument("--threads", type=int, default=0, help="0 leaves torch's choice")
    parser.add_argument("--side", type=int, default=32, help="of the views, in pixels")
    parser.add_argument("--out", type=Path, help="a JSON file for all shares, the machine and the command")
    options = parser.parse_args(words)
    if options.threads:
        torch.set_num_threads(options.threads)
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler's own words about GPUs that are not there
    watched = Watched(WARM + ROUNDS)
    with contextlib.suppress(Enough):
        ours.step(Case("step", options.batch, options.side, options.precision), watched)
    found = watched.found[WARM:]
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, batch {options.batch}, {options.precision}")
    print(f"{'share of the time of all operations, %':<40}{'min':>7}{'median':>8}{'max':>7}")
    for kind in found[0]:
        own = [100 * round_[kind] for round_ in found]
        print(f"{kind:<40}{min(own):>7.1f}{statistics.median(own):>8.1f}{max(own):>7.1f}")
    if options.out is not None:
        settings = {"batch": options.batch, "side": options.side, "precision": options.precision}
        content = {"what": "shares of a step of our own", "settings": settings, "shares": found}
        write_json(options.out, {**content, "environment": shareable(environment())})
    return 0


if __name__ == "__main__":
    ended("shares", main)
