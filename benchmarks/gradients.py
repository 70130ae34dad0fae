"""How hard does each form of the residual term pull? Norms of its gradient alone, at the weights of finished runs.

    python -m benchmarks.gradients GRID.json RUN [RUN ...] [--data DATA] [--batches 8] [--out FILE]

At equal weight two forms of the term need not pull equally hard: on the other view student and teacher are further
apart, and the gradient of a cosine grows with the angle. For every arm of the grid that has the term: the norm of the
gradient with respect to all of the student's weights, at weight 1, in training mode, mean over the run's next batches;
and the weight at which it equals that of the grid's first such arm at that arm's own weight. Nothing is trained.
"""

import argparse
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.ended import ended
from resmom.data.open import open_data
from resmom.data.source import Data
from resmom.errors import UserError
from resmom.jsonfiles import write_json
from resmom.losses.residual import Residual, residual_term
from resmom.methodconfig import MethodConfig
from resmom.nets.teacher import set_mode
from resmom.runs.comparisons.grid import Grid, read_grid
from resmom.runs.environment import environment, shareable
from resmom.runs.loaded import load_run
from resmom.runs.training.job import Job, prepare
from resmom.train.state import load_state, student_of


def forms(grid: Grid, method: MethodConfig | None = None) -> dict[str, Residual]:
    """The residual term of every arm that has one, in the order of the grid; of one method's arms if it is given.

    Raises UserError where no arm has the term.
    """
    found = {cell.arm: cell.run for cell in grid.cells() if cell.run.residual.weight > 0}
    if not found:
        raise UserError(f"{grid.name} has no arm with the residual term; give one arm a residual.weight above 0")
    return {arm: run.residual for arm, run in found.items() if method is None or run.method == method}


def norms(job: Job, terms: Mapping[str, Residual], batches: int) -> dict[str, float]:
    """Mean norm of each term's gradient at weight 1 over the next `batches` batches of the run."""
    method, student = job.state.method.train(), student_of(job.state.method)
    assert method.teacher is not None
    set_mode(method.teacher, job.run.ema)
    sums = dict.fromkeys(terms, 0.0)
    for number in range(batches):
        batch = job.batch(job.state.step + number)
        with torch.no_grad():
            targets = method.teach(batch)
        outcome = method(batch, targets, slice(0, len(batch.index)))
        for name, term in terms.items():
            parameters = [p for p in student.parameters() if p.requires_grad]
            found = torch.autograd.grad(
                residual_term(outcome.pairs, term), parameters, retain_graph=True, allow_unused=True
            )
            sums[name] += math.sqrt(sum(float(g.square().sum()) for g in found if g is not None))
    return {name: total / batches for name, total in sums.items()}


def equal_weights(found: Mapping[str, float], terms: Mapping[str, Residual]) -> dict[str, float]:
    """The weight of each term at which its gradient is as long as the first one's at its own weight."""
    first = next(iter(terms))
    pull = terms[first].weight * found[first]
    return {name: pull / value if value else math.inf for name, value in found.items()}


def measure(terms: Mapping[str, Residual], run: Path, data: Data, batches: int) -> dict[str, Any]:
    """The norms and the equal weights at one run's last checkpoint, on the device that it was trained on, if there."""
    loaded = load_run(run)
    if loaded.method.teacher is None:
        raise UserError(f"{run} has no teacher, so there is no residual term; name a run of a method that has one")
    job = prepare(replace(loaded.run, init=""), data, loaded.device, start=False)
    load_state(job.state, loaded.content["state"])
    found = norms(job, terms, batches)
    return {
        "step": loaded.step,
        "batches": batches,
        "batch": loaded.run.train.batch,
        "residual": vars(loaded.run.residual),
        "norms": found,
        "weights": equal_weights(found, terms),
    }


def main(arguments: Sequence[str]) -> int:
    """Measure, print and write; 0."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gradients", formatter_class=argparse.RawDescriptionHelpFormatter, description=__doc__
    )
    parser.add_argument("grid", type=Path)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--data", default="", help="the images; the run's own by default")
    parser.add_argument("--batches", type=int, default=8)
    parser.add_argument("--out", type=Path, help="a JSON file for the result")
    a = parser.parse_args(arguments)
    if a.batches < 1:
        raise UserError(f"--batches is {a.batches}; it must be at least 1")
    rows, terms = [], forms(read_grid(a.grid))
    for run in a.runs:
        row = measure(terms, run, open_data(a.data or load_run(run).data), a.batches)
        rows.append(row | {"run": f"{run.parent.name}/{run.name}"})
        print(f"{run}, step {row['step']}:")
        for name in row["norms"]:
            print(f"  {name:<14} norm {row['norms'][name]:.4f} at weight 1; equal at weight {row['weights'][name]:.3f}")
    if a.out:
        a.out.parent.mkdir(parents=True, exist_ok=True)
        write_json(a.out, {"rows": rows, "environment": shareable(environment())})
    return 0


if __name__ == "__main__":
    ended("gradients", main)
