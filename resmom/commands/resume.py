"""resmom resume RUN"""

from dataclasses import dataclass, field, replace
from pathlib import Path

import tyro

from resmom.commands import Flat, parse, set_process, tell_end
from resmom.errors import UserError
from resmom.nearest import WORDS
from resmom.runs.machine import Trainer

ABOUT = "Continue a run from its last checkpoint, as if it had never stopped."

KEPT = frozenset(
    {"out", "time", "recipe", "init", "method", "backbone", "policy", "optim", "ema", "residual", "train", "online"}
)
"""What a run keeps to its end: its folder, all its fields but how it is watched, and its time."""

OTHERS = {**WORDS, **{name: f"train.{name}" for name in ("epochs", "steps", "batch", "seed")}}
"""What they may be called."""


@dataclass(frozen=True)
class Arguments:
    run: tyro.conf.Positional[Path]
    """The run folder. Without --threads it goes on with as many as it began with."""
    data: str | None = None
    """Where the images are now, if they have moved; later commands look there too."""
    machine: Flat[Trainer] = field(default_factory=Trainer)
    json: bool = False
    """Print the result as JSON."""


def main(arguments: list[str]) -> int:
    """Run it; 0 when finished, 128 + signal when stopped by one."""
    _refuse_changes(arguments)
    asked = parse(Arguments, arguments, "resmom resume", ABOUT)
    from resmom.runs.environment import threads_of
    from resmom.runs.pretrain import resume

    # The order in which threads add numbers up decides the last bits: the run goes on with as many as it began with.
    set_process(replace(asked.machine, threads=asked.machine.threads or threads_of(asked.run)))
    return tell_end(resume(asked.run, asked.machine, asked.data), asked.json)


def _refuse_changes(arguments: list[str]) -> None:
    """Say what to do instead to whoever wants a run to be longer, or otherwise: it keeps its settings to its end."""
    for word in arguments:
        option = word.partition("=")[0]
        plain = option[2:].replace("_", "-")
        field = OTHERS.get(plain, plain).partition(".")[0]
        if option.startswith("--") and field in KEPT:
            raise UserError(
                f"a run keeps its folder, its settings and its length, which {option} would change; begin another one "
                "from its weights: resmom pretrain --data DATA --init RUN/checkpoints/last.pt --out OTHER, with the "
                "options you want"
            )
