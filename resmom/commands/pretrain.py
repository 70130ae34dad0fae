"""resmom pretrain RECIPE --data DATA --out DIR"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import tyro

from resmom.commands import Flat, parse, tell_end
from resmom.config import Run
from resmom.errors import UserError
from resmom.recipes import names, recipe
from resmom.runs.pretrain import Machine, pretrain

ABOUT = "Pretrain an encoder. Every field of the recipe is an option; `resmom recipes` lists the recipes."


@dataclass(frozen=True)
class Arguments:
    data: str
    """A folder of images, an .npz file, or cifar10, cifar100, stl10 (NAME or NAME:FOLDER)."""
    out: Path
    """The run folder: new, or empty."""
    run: tyro.conf.AvoidSubcommands[Flat[Run]]
    machine: Flat[Machine] = field(default_factory=Machine)
    json: bool = False
    """Print the result as JSON."""


def main(arguments: list[str]) -> int:
    """Run it; 0 when finished, 128 + signal when stopped by one (the state is saved, and the resume line printed)."""
    if not arguments or arguments[0].startswith("-"):
        wants_help = bool(arguments) and arguments[0] in ("-h", "--help")
        usage = (
            "usage: resmom pretrain RECIPE --data DATA --out DIR [OPTIONS]\n\n"
            f"recipes: {', '.join(names())}\n\n`resmom pretrain RECIPE --help` tells the options of a recipe."
        )
        if not wants_help:
            raise UserError(f"name a recipe first.\n{usage}")
        print(usage)
        return 0
    missing = cast(str, tyro.MISSING)
    default = Arguments(data=missing, out=cast(Path, missing), run=recipe(arguments[0]))
    asked = parse(Arguments, arguments[1:], f"resmom pretrain {arguments[0]}", ABOUT, default)
    finished = pretrain(asked.run, asked.data, asked.out, asked.machine)
    return tell_end(finished, asked.json)
