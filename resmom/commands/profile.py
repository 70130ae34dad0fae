"""resmom profile [RECIPE|RUN] --data DATA"""

from dataclasses import dataclass, field, make_dataclass
from typing import Any

import tyro

from resmom.commands import Flat, parse, parse_known, print_json, require_one_length, require_term, say, set_process
from resmom.config import Run
from resmom.data.open import open_data
from resmom.recipes.automatic import automatic
from resmom.runs.comparisons.base import base_named
from resmom.runs.device import default_device
from resmom.runs.machine import Machine
from resmom.runs.profile import profile
from resmom.runs.ready import workers_for
from resmom.runs.settling.facts import gather

ABOUT = (
    "Train a throw-away copy of a run for a while and say where the time goes, what holds it back, and what to do. "
    "A run folder stands for its settings and images. Without either, the run that `resmom pretrain` would derive from "
    "the data and the machine."
)


@dataclass(frozen=True)
class Shared:
    data: str
    """A folder of images, tar archives, an .npz file, or cifar10, cifar100, stl10 (NAME or NAME:FOLDER)."""
    seconds: float = 40.0
    """How long to train, warm-up and counting apart."""
    machine: Flat[Machine] = field(default_factory=Machine)
    json: bool = False
    """Print the result as JSON."""


def main(arguments: list[str]) -> int:
    """Profile, and print a table."""
    name = arguments[0] if arguments and not arguments[0].startswith("-") else None
    named = None if name is None else base_named(name)
    base = None if named is None else named.run
    rest = arguments if name is None else arguments[1:]
    if base is None and not {"-h", "--help"} & set(rest):
        first = parse_known(Shared, rest, "resmom profile")
        base = automatic(gather(open_data(first.data), default_device(first.machine.device))).run
    options: list[Any] = [("run", tyro.conf.AvoidSubcommands[Flat[Run]], field(default=base or Run()))]
    if named is not None and named.data:
        options.append(("data", str, field(default=named.data)))
    kind: Any = make_dataclass("Arguments", options, bases=(Shared,), frozen=True, kw_only=True)
    a = parse(kind, rest, f"resmom profile {name or ''}".strip(), ABOUT)
    require_one_length(rest)
    require_term(rest, a.run)
    set_process(a.machine)
    data = open_data(a.data)
    device = default_device(a.machine.device)
    found = profile(a.run, data, device, workers_for(a.machine, data), a.seconds, say=say)
    if a.json:
        print_json(found.plain())
    else:
        print(found)
    return 0
