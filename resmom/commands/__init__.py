"""One thin file per verb: arguments in, one function below called, words out.

What stands here starts without torch: `resmom doctor` must answer where torch is broken.

Nor do the files import at their top what needs torch, which takes most of two seconds: a function imports the work it
calls, after `parse`, so that help and refusals come at once. Types of results are imported for the type checker alone.
Only where every field of a run or of a recipe is an option, as of `pretrain`, the options need torch themselves: these
settings stand beside networks and methods. tests/commands/test_start.py has the list.
"""

import dataclasses
import json
import os
import sys
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import tyro

from resmom.commands.mistakes import OPTIONS, require_values, told_in_a_sentence
from resmom.errors import UserError
from resmom.runs.machine import Machine, keep_memory, silence_libtiff
from resmom.runs.training.interrupt import Finished

if TYPE_CHECKING:
    from resmom.config import Run

T = TypeVar("T")

Flat = Annotated[T, tyro.conf.arg(name="")]
"""A dataclass whose fields stand as options of their own, without its name before them."""


def parse(kind: type[T], arguments: list[str], prog: str, about: str) -> T:
    """The command's arguments as its dataclass. Exits with help; raises UserError, with a sentence, for a mistake."""
    with told_in_a_sentence(kind, arguments, prog):
        found = tyro.cli(kind, args=arguments, prog=prog, description=about, registry=OPTIONS)
    require_values(found, arguments)
    return found


def parse_known(kind: type[T], arguments: list[str], prog: str) -> T:
    """The same of those options alone that `kind` has; the others are judged later."""
    with told_in_a_sentence(kind, arguments, prog):
        return tyro.cli(kind, args=arguments, prog=prog, return_unknown_args=True, registry=OPTIONS)[0]


def take(options: list[str], name: str) -> tuple[list[str], str | None]:
    """The options without `name VALUE` or `name=VALUE`, and the value; the last one counts."""
    rest: list[str] = []
    value = None
    waiting = False
    for option in options:
        given, equals, behind = option.partition("=")
        if waiting:
            value, waiting = option, False
        elif given.replace("_", "-") != name:
            rest.append(option)
        elif equals:
            value = behind
        else:
            waiting = True
    if waiting:
        raise UserError(f"{name} needs a value")
    return rest, value


def require_one_length(options: list[str], steps: int = 0) -> None:
    """Refuse epochs that would count for nothing: the options, which are valid, or the recipe set `steps` too."""
    epochs, asked = (take(options, name)[1] for name in ("--train.epochs", "--train.steps"))
    steps = steps if asked is None else int(asked)
    if epochs is not None and steps:
        raise UserError(
            f"--train.epochs {epochs} has no effect beside --train.steps {steps}, which is the run's length; leave one "
            "of them out (--train.steps 0 counts in epochs)"
        )


def require_warmup(options: list[str], in_steps: bool, derived: bool = False) -> None:
    """Refuse a warm-up that would count for nothing, since the run's length is given in the other unit.

    `derived`: a run without a recipe counts in steps, also where its length is asked for in epochs.
    """
    length, unit = ("steps", "epochs") if in_steps else ("epochs", "steps")
    warmup = take(options, f"--train.warmup-{unit}")[1]
    if warmup is not None and float(warmup):
        why = "a run without a recipe, which" if derived else "a run whose length"
        way = "--train.steps 0 --train.epochs" if derived and in_steps else f"--train.{unit}"
        raise UserError(
            f"--train.warmup-{unit} {warmup} has no effect in {why} counts in {length}; give --train.warmup-{length}, "
            f"or the length in {unit} ({way})"
        )


def require_term(options: list[str], run: "Run") -> None:
    """Refuse options of the residual term that the run's method can never have, also while the weight is 0."""
    from resmom.configcheck import check_term  # imports torch, which a command has when it has a run

    given = {option.partition("=")[0].removeprefix("--").replace("-", "_") for option in options}
    check_term(run, given)


def say(words: str) -> None:
    """What is being done, or has to be known, on standard error, beside the results."""
    print(words, file=sys.stderr, flush=True)


def print_json(content: Any) -> None:
    """Machine-readable results, on standard output."""
    print(json.dumps(content, indent=2, ensure_ascii=False))


def set_process(machine: Machine) -> None:
    """Set what holds for this whole process: torch's threads and algorithms, what becomes of freed memory, and what a C
    library prints."""
    import torch

    silence_libtiff()
    if machine.threads:
        torch.set_num_threads(machine.threads)
    if machine.keep_memory:
        keep_memory()
    if machine.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when the GPU is first used
        torch.use_deterministic_algorithms(True, warn_only=True)


def set_threads(threads: int) -> None:
    """The same for a command that trains nothing: only the CPU threads of one operation are the user's choice."""
    set_process(Machine(threads=threads, keep_memory=False))


def tell_end(finished: Finished, as_json: bool) -> int:
    """Say how a run ended, once of several processes, and leave their group; return the exit status: 0, or 128 + the
    signal that stopped it."""
    from resmom import dist, torchrun

    first = dist.rank() == 0
    called = "resmom" if dist.world() == 1 else f"torchrun --nproc-per-node {torchrun.neighbours()} -m resmom"
    dist.stop()
    status = 0 if finished.interrupted_by is None else 128 + finished.interrupted_by
    if not first:
        return status
    if as_json:
        print_json({**dataclasses.asdict(finished), "path": str(finished.path)})
    elif finished.interrupted_by is None:
        print(
            f"finished: {finished.path}\nlook at it with:\n  resmom report {finished.path} --out report.html\n"
            "with labelled images, its own or others, measure it with:\n"
            f"  resmom evaluate {finished.path} [--data LABELLED] --baselines"
        )
    else:
        print(f"saved at step {finished.step} of {finished.steps}; continue with:\n  {called} resume {finished.path}")
    return status
