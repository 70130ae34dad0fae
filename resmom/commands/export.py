"""resmom export RUN [--to FORMAT] [--out DIR], resmom export CLASSIFIER --to onnx [--out FILE]"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import tyro

from resmom.commands import parse, print_json
from resmom.errors import UserError
from resmom.export.use import Form
from resmom.runs.classifierfile import SUFFIX as CLASSIFIER
from resmom.runs.export import export
from resmom.runs.exportclassifier import export_classifier
from resmom.runs.loggers.eventfiles import export_events
from resmom.runs.onnxfiles import checked_words
from resmom.which import Which

ABOUT = (
    "A run's backbones as files for torchvision, timm, Detectron2 or onnxruntime, with a card that says what they are; "
    "or its measurements for TensorBoard."
)


@dataclass(frozen=True)
class Arguments:
    run: tyro.conf.Positional[Path]
    """A run folder, or one checkpoint of it; with --to onnx also a file of `resmom evaluate --save-classifier`."""
    out: Path | None = None
    """Where to write: a new folder, or that of an earlier export; RUN/export, RUN/detectron2, RUN/onnx or
    RUN/tensorboard by default. A classifier is written to a new file, by default beside it."""
    network: Which = "both"
    to: Form | Literal["tensorboard"] = "safetensors"
    """The format of the files: for torchvision and timm, for Detectron2 (ResNet-18, -34, -50), or ONNX; or the
    measurements as an event file of TensorBoard."""
    json: bool = False
    """Print the result as JSON."""


def main(arguments: list[str]) -> int:
    """Write the files, and print where they are."""
    a = parse(Arguments, arguments, "resmom export", ABOUT)
    if a.run and a.run.suffix == CLASSIFIER and not a.run.is_dir():
        return _classifier(a.run, a)
    if a.to == "tensorboard":
        if a.network != "both":
            raise UserError("--network chooses backbones; measurements are of both networks: leave it out")
        file = export_events(a.run, a.out)
        if a.json:
            print_json({"folder": str(file.parent), "files": [str(file)]})
        else:
            print(f"{file}\nlook at it with:\n  tensorboard --logdir {file.parent}")
        return 0
    result = export(a.run, a.out, a.network, a.to)
    if a.json:
        files = [str(file) for file in result.files]
        told: dict[str, object] = {"step": result.step, "chosen": result.chosen, "advice": result.advice}
        if result.checked:
            told["checked"] = {name: asdict(found) for name, found in result.checked.items()}
        print_json({"folder": str(result.folder), "files": files, **told})
    else:
        if result.advice:
            print(result.advice)
        for network, found in result.checked.items():
            print(f"{network}: {checked_words(found)}")
        print("\n".join(map(str, result.files)))
        print("the last one says how to load them")
    return 0


def _classifier(file: Path, a: Arguments) -> int:
    """A classifier's file, which is one in another form already."""
    if a.to != "onnx" or a.network != "both":
        what = "--network" if a.to == "onnx" else f"--to {a.to}"
        raise UserError(
            f"{what} is for runs, and {file} is a file by itself: a classifier is exported with --to onnx alone, and a "
            "run is named by its folder"
        )
    made = export_classifier(file, a.out)
    if a.json:
        print_json({"file": str(made.path), "checked": asdict(made.checked)})
    else:
        print(f"{made.path}: {checked_words(made.checked, 'probabilities')}\n\n{made.lines}")
    return 0
