"""resmom segment train|resume|evaluate"""

from dataclasses import dataclass, field, make_dataclass
from pathlib import Path
from typing import Any, Literal

import tyro

from resmom.commands import Flat, named_recipe, parse, print_json, set_process, tell_stop
from resmom.errors import UserError
from resmom.nets.backbones import backbone_named
from resmom.recipes.segmentation import SEGMENTATION, segmentation_recipe
from resmom.runs.origin import Origin
from resmom.runs.pretrain import Machine
from resmom.runs.segment import segment_evaluate, segment_resume, segment_train, told
from resmom.runs.tuning import Measured

USAGE = f"""usage: resmom segment train RUN --data DATA … --test DATA … --out OUT [--recipe NAME] [OPTIONS]
       resmom segment train --backbone NAME [--init FILE] --data DATA … --test DATA … --out OUT [OPTIONS]
       resmom segment resume OUT
       resmom segment evaluate OUT [--data DATA …]

train: let a run's student and teacher name every pixel, fine-tuned or frozen under a linear layer, and measure them.
recipes: {", ".join(SEGMENTATION)}

`resmom segment train --help` tells the options, with the defaults of a recipe: segment_small unless another is named.
"""


@dataclass(frozen=True)
class Shared:
    """What a training has beside its settings."""

    run: tyro.conf.Positional[Path | None] = None
    """A run folder, or one checkpoint of it."""
    data: tuple[str, ...] = ()
    """Images with masks to learn from, one place or several: VOC folders (FOLDER:LIST), pairs of folders, lists."""
    test: tuple[str, ...] = ()
    """Images with masks to measure on, likewise; none: nothing is measured."""
    out: Path | None = None
    """The folder for the networks: new, or empty."""
    network: Literal["student", "teacher", "both"] = "both"
    random: bool = False
    """Also random weights of the same backbone, for comparison."""
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
    """The folder of `resmom segment train`."""
    machine: Flat[Machine] = field(default_factory=Machine)
    json: bool = False
    """Print the results as JSON."""


@dataclass(frozen=True)
class Evaluate:
    out: tyro.conf.Positional[Path]
    """The folder of `resmom segment train`."""
    data: tuple[str, ...] = ()
    """Images with masks; the folder's own test images by default."""
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
            a = parse(Resume, arguments[1:], "resmom segment resume", "Continue networks that were stopped.")
            set_process(a.machine)
            ended = segment_resume(a.out, a.machine)
            _rows(ended.rows, a.json)
            return tell_stop(ended, "segment", a.json)
        case "evaluate":
            b = parse(Evaluate, arguments[1:], "resmom segment evaluate", "Measure networks.")
            set_process(b.machine)
            _rows(segment_evaluate(b.out, b.data, b.machine), b.json)
            return 0
        case other:
            raise UserError(f"there is no '{other}'; it is `resmom segment train`, `resume` or `evaluate`")


def _train(arguments: list[str]) -> int:
    name, options = named_recipe(arguments, "segment_small")
    recipe = segmentation_recipe(name)
    settings = ("settings", Flat[type(recipe)], field(default=recipe))  # type: ignore[misc]
    kind = make_dataclass("Arguments", [settings], bases=(Shared,), frozen=True)
    a: Any = parse(kind, options, f"resmom segment train --recipe {name}", "Backbones that name every pixel.")
    if not a.data or a.out is None:
        raise UserError(f"name --data and --out.\n{USAGE}")
    try:
        body = backbone_named(a.backbone) if a.backbone else None
    except ValueError as error:
        raise UserError(str(error)) from error
    set_process(a.machine)
    origin = Origin(a.run, a.network, a.random, body, a.init)
    ended = segment_train(a.settings, origin, a.data, a.test, a.out, a.machine)
    _rows(ended.rows, a.json)
    return tell_stop(ended, "segment", a.json)


def _rows(rows: list[Measured], as_json: bool) -> None:
    if as_json:
        print_json([row.plain() for row in rows])
        return
    for row in rows:
        chosen = f"  lr {row.scores['lr']:g}" if "lr" in row.scores else ""
        print(f"{row.network:<9} {told(row.scores)}{chosen}  step {row.step}")
    if rows:
        _classes(rows)
    # The learning rate that was chosen, and with it the protocol, may differ.
    for protocol in dict.fromkeys(row.protocol for row in rows):
        print(protocol)


def _classes(rows: list[Measured]) -> None:
    print(f"  {'IoU by class':<16}" + "".join(f"{row.network:>9}" for row in rows))
    for name in dict.fromkeys(name for row in rows for name in row.scores["per_class"]):
        said = [row.scores["per_class"].get(name) for row in rows]
        print(f"  {name:<16.16}" + "".join(f"{'-':>9}" if iou is None else f"{iou:9.2f}" for iou in said))
