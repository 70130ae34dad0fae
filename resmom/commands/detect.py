"""resmom detect train|resume|evaluate"""

from dataclasses import dataclass, field, make_dataclass
from pathlib import Path
from typing import Any, Literal

import tyro

from resmom.commands import Flat, named_recipe, parse, print_json, set_process, tell_stop
from resmom.errors import UserError
from resmom.evaluate.detection import Detect
from resmom.nets.backbones import BACKBONES, backbone_named
from resmom.recipes.detection import DETECTION, detection_recipe
from resmom.runs.detect import detect_evaluate, detect_resume, detect_train
from resmom.runs.origin import Origin
from resmom.runs.pretrain import Machine
from resmom.runs.tuning import Measured

USAGE = f"""usage: resmom detect train RUN --data DATA … --test DATA … --out OUT [--recipe NAME] [OPTIONS]
       resmom detect train --backbone NAME [--init FILE] --data DATA … --test DATA … --out OUT [OPTIONS]
       resmom detect resume OUT
       resmom detect evaluate OUT [--data DATA …]

train: fine-tune a run's student and teacher as object detectors, and measure them.
recipes: {", ".join(DETECTION)}

`resmom detect train --help` tells the options, with the defaults of a recipe: detect_small unless another is named.
"""


@dataclass(frozen=True)
class Shared:
    """What a training has beside its settings."""

    run: tyro.conf.Positional[Path | None] = None
    """A run folder, or one checkpoint of it."""
    data: tuple[str, ...] = ()
    """Images with boxes to learn from, one place or several: VOC folders (FOLDER:LIST), COCO's .json, YOLO folders."""
    test: tuple[str, ...] = ()
    """Images with boxes to measure on, likewise; none: nothing is measured."""
    out: Path | None = None
    """The folder for the detectors: new, or empty."""
    network: Literal["student", "teacher", "both"] = "both"
    random: bool = False
    """Also a detector on random weights of the same backbone, for comparison."""
    backbone: str = ""
    """Instead of a run: a backbone by name."""
    init: str = ""
    """The weights of that backbone (.safetensors, torch file, run's checkpoint); random ones without it."""
    machine: Flat[Machine] = field(default_factory=Machine)
    json: bool = False
    """Print the results as JSON."""


@dataclass(frozen=True)
class Resume:
    out: tyro.conf.Positional[Path]
    """The folder of `resmom detect train`."""
    machine: Flat[Machine] = field(default_factory=Machine)
    json: bool = False
    """Print the results as JSON."""


@dataclass(frozen=True)
class Evaluate:
    out: tyro.conf.Positional[Path]
    """The folder of `resmom detect train`."""
    data: tuple[str, ...] = ()
    """Images with boxes; the folder's own test images by default."""
    machine: Flat[Machine] = field(default_factory=Machine)
    json: bool = False
    """Print the results as JSON."""


def main(arguments: list[str]) -> int:
    """Train, continue or measure; 128 + signal when stopped by one."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE, end="")
        return 0
    match arguments[0]:
        case "train":
            return _train(arguments[1:])
        case "resume":
            a = parse(Resume, arguments[1:], "resmom detect resume", "Continue detectors that were stopped.")
            set_process(a.machine)
            ended = detect_resume(a.out, a.machine)
            _rows(ended.rows, a.json)
            return tell_stop(ended, "detect", a.json)
        case "evaluate":
            b = parse(Evaluate, arguments[1:], "resmom detect evaluate", "Measure detectors.")
            set_process(b.machine)
            return _rows(detect_evaluate(b.out, b.data, b.machine), b.json)
        case other:
            raise UserError(f"there is no '{other}'; it is `resmom detect train`, `resume` or `evaluate`")


def _train(arguments: list[str]) -> int:
    name, options = named_recipe(arguments, "detect_small")
    settings = ("settings", Flat[Detect], field(default=detection_recipe(name)))
    kind = make_dataclass("Arguments", [settings], bases=(Shared,), frozen=True)
    a: Any = parse(kind, options, f"resmom detect train --recipe {name}", "Fine-tune backbones as detectors.")
    if not a.data or a.out is None:
        raise UserError(f"name --data and --out.\n{USAGE}")
    try:
        body = backbone_named(a.backbone) if a.backbone else None
    except ValueError as error:
        raise UserError(f"{error} (of which {BACKBONES.partition(', vit')[0]} can become detectors)") from error
    set_process(a.machine)
    origin = Origin(a.run, a.network, a.random, body, a.init)
    ended = detect_train(a.settings, origin, a.data, a.test, a.out, a.machine)
    _rows(ended.rows, a.json)
    return tell_stop(ended, "detect", a.json)


def _rows(rows: list[Measured], as_json: bool) -> int:
    if as_json:
        print_json([row.plain() for row in rows])
        return 0
    for row in rows:
        s = row.scores
        print(
            f"{row.network:<9} AP {s['ap']:5.2f}  AP50 {s['ap50']:5.2f}  AP75 {s['ap75']:5.2f}  VOC07: "
            f"AP {s['voc07_ap']:5.2f}  AP50 {s['voc07_ap50']:5.2f}  AP75 {s['voc07_ap75']:5.2f}  step {row.step}"
        )
    if rows:
        _classes(rows)
        print(rows[-1].protocol)
    return 0


def _classes(rows: list[Measured]) -> None:
    print(f"  {'AP by class':<16}" + "".join(f"{row.network:>9}" for row in rows))
    for name in rows[0].scores["per_class"]:
        print(f"  {name:<16.16}" + "".join(f"{row.scores['per_class'][name]:9.2f}" for row in rows))
