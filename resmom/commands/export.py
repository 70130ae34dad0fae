"""resmom export RUN [--to FORMAT] [--out DIR]"""

from dataclasses import dataclass
from pathlib import Path

import tyro

from resmom.commands import parse, print_json
from resmom.export.use import Form
from resmom.runs.export import export
from resmom.which import Which

ABOUT = "A run's backbones as files that torchvision, timm or Detectron2 load, with a card that says what they are."


@dataclass(frozen=True)
class Arguments:
    run: tyro.conf.Positional[Path]
    """A run folder, or one checkpoint of it."""
    out: Path | None = None
    """Where to write: a new folder, or that of an earlier export; RUN/export or RUN/detectron2 by default."""
    network: Which = "both"
    to: Form = "safetensors"
    """The format of the files: for torchvision and timm, or for Detectron2 (ResNet-18, -34, -50)."""
    json: bool = False
    """Print the result as JSON."""


def main(arguments: list[str]) -> int:
    """Write the files, and print where they are."""
    a = parse(Arguments, arguments, "resmom export", ABOUT)
    result = export(a.run, a.out, a.network, a.to)
    if a.json:
        files = [str(file) for file in result.files]
        told = {"step": result.step, "chosen": result.chosen, "advice": result.advice}
        print_json({"folder": str(result.folder), "files": files, **told})
    else:
        if result.advice:
            print(result.advice)
        print("\n".join(map(str, result.files)))
        print("the last one says how to load them")
    return 0
