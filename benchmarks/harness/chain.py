"""The cells of a chain (benchmarks/chain) on loan: each goes on until the time is up, and then later further."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.chain.cell import run_cell, waiting
from benchmarks.chain.places import open_places
from benchmarks.chain.plan import Chain, read_chain
from benchmarks.harness.training import TOY, alarm, in_turn, short_arms
from resmom.jsonfiles import read_lines
from resmom.runs.comparisons.grid import Cell
from resmom.runs.comparisons.results import keep, newest
from resmom.runs.machine import Machine
from resmom.runs.options import changed

RESERVE = 150.0
"""Seconds kept free at the end: a detector that has learned its last step is measured on all test images at once."""


def work(
    grid: Path,
    named: tuple[Sequence[str], Sequence[str], Sequence[str]],
    state: Path,
    results: Path,
    device: str,
    toy: bool,
    until: float,
) -> int:
    """Do undone cells until the time is up; 0 when none is left, 3 when there is more to do.

    Several processes may share the folders. `named` are photos, boxes to learn from and boxes to test on, as of
    `open_places`.
    """
    chain = shrunk(read_chain(grid)) if toy else read_chain(grid)
    out, lines = state / chain.name, results / f"{chain.name}.jsonl"
    places, machine = open_places(*named), Machine(device=device)
    end = until - (1.0 if toy else RESERVE)

    def do(cell: Cell) -> bool:
        with alarm(end):
            ended = run_cell(cell, chain, places, out, machine, lambda text: print(text, flush=True))
        if isinstance(ended, int):
            print("call again to go on", flush=True)
            return False
        keep(lines, ended)
        shutil.rmtree(cell.folder(out))
        return True

    return in_turn(waiting(chain, places, out, newest(read_lines(lines))), out, lines, end, do)


def shrunk(chain: Chain) -> Chain:
    """Runs of six steps and detectors of four, under a name of their own: their results are no results."""
    arms = short_arms({arm: {k: v for k, v in own.items() if k not in TOY} for arm, own in chain.grid.arms.items()})
    grid = replace(chain.grid, name=f"{chain.name}-toy", base=changed(chain.grid.base, TOY), arms=arms)
    detect = replace(chain.detect, steps=4, batch=4, warmup_steps=1, sides=(64,), test_side=64, measure_steps=0)
    return replace(chain, grid=grid, detect=detect)
