"""What kNN finds without any learning: in the pixels, by the protocol and with the bank of a recipe's own runs.

    python -m benchmarks.floor RECIPE|GRID.json --data DATA --out FILE

A number of a pretrained network means something where it is above these. Nothing is trained.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.ended import ended
from resmom.data.open import open_data
from resmom.errors import UserError
from resmom.evaluate.knn import knn
from resmom.jsonfiles import write_json
from resmom.recipes import recipe
from resmom.runs.clean import labelled_split, thinned
from resmom.runs.comparisons.grid import read_grid
from resmom.runs.environment import environment, shareable
from resmom.runs.measuring.measure import pixel_features


def measure(name: str, data: str) -> dict[str, Any]:
    """kNN top-1 in percent by what is compared, and what it was measured with. Raises UserError without labels."""
    run, opened = read_grid(Path(name)).base if name.endswith(".json") else recipe(name), open_data(data)
    split = labelled_split(opened)
    if split is None:
        raise UserError(f"{opened.train.name} has no labels, and kNN needs them; give labelled data")
    split = replace(split, train=thinned(split.train, run.log.knn_images))
    known, asked = torch.from_numpy(split.train.labels), torch.from_numpy(split.test.labels)
    scores = {
        what: knn(bank, known, queries, asked, run.knn)
        for what, (bank, queries) in pixel_features(split, run.policy).items()
    }
    return {
        "recipe": run.recipe,
        "knn": {what: round(score.top1, 2) for what, score in scores.items()},
        "protocol": next(iter(scores.values())).protocol,
        "data": {"name": opened.train.name, "fingerprint": opened.train.fingerprint()},
        "environment": shareable(environment()),
    }


def main(arguments: Sequence[str]) -> int:
    """Measure, print and write; 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.floor", description=__doc__.partition("\n")[0])
    parser.add_argument("recipe", help="its name, or a grid file for what all arms of a grid have")
    parser.add_argument("--data", required=True, help="labelled images, as for resmom pretrain")
    parser.add_argument("--out", type=Path, help="a JSON file to write")
    options = parser.parse_args(arguments)
    found = measure(options.recipe, options.data)
    for what, top1 in found["knn"].items():
        print(f"{what:20} {top1:.2f} %")
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        write_json(options.out, found)
    return 0


if __name__ == "__main__":
    ended("floor", main)
