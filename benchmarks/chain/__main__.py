"""The chain of the paper, small: pretrain on photos of many objects without labels, then fine-tune as detectors.

    python -m benchmarks.chain GRID --photos DIR … --train VOC … --test VOC … --out OUT [--list]
    python -m benchmarks.chain show OUT|FILE …      the table of the finished cells

The same call goes on where the last one ended, whatever ended it. Finished cells are lines of OUT/cells.jsonl and not
done again; processes that share OUT pass over each other's cells. What a grid file says stands in
benchmarks/chain/plan.py; benchmarks/chain/README.md tells how to read the table.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.chain.cell import run_cell, waiting
from benchmarks.chain.places import add_places, open_places
from benchmarks.chain.plan import read_chain
from benchmarks.chain.table import found_in
from benchmarks.ended import ended
from resmom.commands import set_process
from resmom.jsonfiles import read_lines
from resmom.runs.comparisons.cell import claimed, steps_done
from resmom.runs.comparisons.results import RESULTS, keep, newest, read_results
from resmom.runs.environment import threads_of
from resmom.runs.machine import Machine


def main(arguments: Sequence[str]) -> int:
    """0 when all is done, 3 if other processes hold some cells, 128 + signal if stopped."""
    if list(arguments[:1]) == ["show"]:
        parser = argparse.ArgumentParser(prog="python -m benchmarks.chain show")
        parser.add_argument("files", type=Path, nargs="+")
        print(found_in(read_results(parser.parse_args(arguments[1:]).files)))
        return 0
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.chain", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("grid", type=Path)
    add_places(parser)
    parser.add_argument("--out", type=Path, required=True, help="folder of runs, detectors and cells.jsonl")
    parser.add_argument("--list", action="store_true", help="check all cells, say which are left, and train nothing")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 1 where each core has a process")
    parser.add_argument("--workers", type=int, default=-1)
    parser.add_argument("--quiet", action="store_true")
    return work(parser.parse_args(arguments))


def work(a: argparse.Namespace) -> int:
    """Do what is left, and print the table of what is finished."""
    chain = read_chain(a.grid)
    data = open_places(a.photos, a.train, a.test)
    cells = waiting(chain, data, a.out, newest(read_lines(a.out / RESULTS)))
    total = len(chain.cells())
    if a.list:
        for cell in cells:
            step = steps_done(cell, a.out)
            print(f"{cell.arm}, seed {cell.seed}: {f'pretraining at step {step}' if step else 'not begun'}")
        print(f"{total - len(cells)} of {total} cells done")
        return 0
    # The order in which threads add up decides the last bits, so a cell goes on with as many as it began.
    begun = (threads_of(run) for run in sorted(a.out.glob("*/seed-*")))
    machine = Machine(device=a.device, workers=a.workers, quiet=a.quiet)
    set_process(replace(machine, threads=a.threads or next(begun, 0)))
    a.out.mkdir(parents=True, exist_ok=True)
    left = 0
    for cell in cells:
        with claimed(cell, a.out) as mine:
            if not mine:
                left += 1
                continue
            # Another process may have finished it since.
            if (cell.arm, cell.seed) in newest(read_lines(a.out / RESULTS)):
                continue
            ended = run_cell(cell, chain, data, a.out, machine, lambda text: print(text, file=sys.stderr, flush=True))
            if isinstance(ended, int):
                return 128 + ended
            keep(a.out / RESULTS, ended)
    print(found_in(list(newest(read_lines(a.out / RESULTS)).values())))
    return 3 if left else 0


if __name__ == "__main__":
    ended("chain", main)
