"""resmom export RUN [--to FORMAT] [--out DIR], or CLASSIFIER --to onnx [--out FILE], or --init FILE --out DIR"""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from resmom.commands import Flat, parse, print_json, set_threads
from resmom.errors import UserError
from resmom.norun import no_run
from resmom.runs.alone.instead import Instead, is_classifier_named, require_alone, require_one
from resmom.which import Form, Which

if TYPE_CHECKING:
    from resmom.runs.exporting.export import Exported

ABOUT = (
    "A run's backbones as files for torchvision, timm, Detectron2 or onnxruntime, with a card that says what they are; "
    "or its measurements for TensorBoard."
)


@dataclass(frozen=True)
class Arguments:
    run: tyro.conf.Positional[Path | None] = None
    """A run folder, or one checkpoint of it; with --to onnx also a file of `resmom evaluate --save-classifier`."""
    weights: Flat[Instead] = field(default_factory=Instead)
    out: Path | None = None
    """Where to write: a new folder, or that of an earlier export; RUN/export, RUN/detectron2, RUN/onnx or
    RUN/tensorboard by default. A classifier is written to a new file, by default beside it."""
    network: Which = "both"
    to: Form | Literal["tensorboard"] = "safetensors"
    """The format of the files: for torchvision and timm, for Detectron2 (ResNet-18, -34, -50), or ONNX; or the
    measurements as an event file of TensorBoard."""
    image_size: int | None = None
    """Of weights without a run: the side of their images in pixels, for the card and for ONNX files of one size; by
    default as their file says, or as is usual."""
    threads: int = 0
    """CPU threads; 0 is torch's choice."""
    json: bool = False
    """Print the result as JSON."""


def main(arguments: list[str]) -> int:
    """Write the files, and print where they are."""
    a = parse(Arguments, arguments, "resmom export", ABOUT)
    require_one(a.run, a.weights, classifiers=True)
    from resmom.runs.exporting.export import export
    from resmom.runs.exporting.onnxfiles import checked_words

    set_threads(a.threads)
    if a.to == "tensorboard":
        return _events(a)
    if a.run is None:
        result = _alone(a, a.to)
    else:
        if a.image_size is not None:
            raise UserError(
                "--image-size goes with --init and --backbone; a RUN has the size of its views, a classifier its own"
            )
        if is_classifier_named(a.run):
            return _classifier(a.run, a)
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


def _events(a: Arguments) -> int:
    """The measurements of a run, which have neither networks nor sizes."""
    from resmom.runs.loggers.eventfiles import export_events

    if a.run is None:
        raise UserError("--to tensorboard is of the measurements of a RUN; weights without one have none")
    if a.network != "both" or a.image_size is not None:
        what = "--network chooses backbones" if a.network != "both" else "--image-size is of backbones"
        raise UserError(f"{what}; measurements are of both networks: leave it out")
    file = export_events(a.run, a.out)
    if a.json:
        print_json({"folder": str(file.parent), "files": [str(file)]})
    else:
        print(f"{file}\nlook at it with:\n  tensorboard --logdir {file.parent}")
    return 0


def _classifier(file: Path, a: Arguments) -> int:
    """A classifier's file, which is one in another form already."""
    from resmom.runs.exporting.classifier import export_classifier
    from resmom.runs.exporting.onnxfiles import checked_words
    from resmom.runs.measuring.classifierfile import is_classifier

    if not is_classifier(file):
        raise UserError(no_run(file))
    if a.to != "onnx" or a.network != "both":
        what = "--network" if a.to == "onnx" else f"--to {a.to}"
        raise UserError(
            f"{what} is for runs, and {file} is a classifier, which is exported with --to onnx alone; its backbone by "
            f"itself is named by --init {file}"
        )
    made = export_classifier(file, a.out)
    if a.json:
        print_json({"file": str(made.path), "checked": asdict(made.checked)})
    else:
        print(f"{made.path}: {checked_words(made.checked, 'probabilities')}\n\n{made.lines}")
    return 0


def _alone(a: Arguments, form: Form) -> "Exported":
    """Of weights without a run."""
    from resmom.runs.alone.bare import asked_for
    from resmom.runs.exporting.alone import export_alone
    from resmom.runs.exporting.export import require_free

    require_alone(a.network)
    if a.out is None:
        raise UserError("--out is missing: a folder to write to (a RUN has one of its own)")
    require_free(a.out)
    return export_alone(asked_for(a.weights, a.image_size, "cpu"), a.out, form)
