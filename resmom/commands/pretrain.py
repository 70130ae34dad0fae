"""resmom pretrain RECIPE --data DATA --out DIR"""

from dataclasses import dataclass, field, make_dataclass
from pathlib import Path

import tyro

from resmom.commands import Flat, parse, set_threads, tell_end
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
    asked = parse(_arguments(recipe(arguments[0])), arguments[1:], f"resmom pretrain {arguments[0]}", ABOUT)
    set_threads(asked.machine)
    finished = pretrain(asked.run, asked.data, asked.out, asked.machine)
    return tell_end(finished, asked.json)


def _arguments(default: Run) -> type[Arguments]:
    """The arguments with the fields of a recipe as defaults; data and out stay without one."""
    run = ("run", tyro.conf.AvoidSubcommands[Flat[Run]], field(default=default))
    return make_dataclass("Arguments", [run], bases=(Arguments,), frozen=True)
