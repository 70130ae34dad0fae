"""One thin file per verb: arguments in, one function below called, words out."""

import ctypes
import dataclasses
import json
import sys
from typing import Annotated, Any, TypeVar

import torch
import tyro

from resmom.errors import UserError
from resmom.runs.pretrain import Finished, Machine
from resmom.runs.tuned import Ended

T = TypeVar("T")

Flat = Annotated[T, tyro.conf.arg(name="")]
"""A dataclass whose fields stand as options of their own, without its name before them."""


def parse(kind: type[T], arguments: list[str], prog: str, about: str) -> T:
    """The command's arguments as its dataclass. Exits with help or tyro's message; UserError for impossible values."""
    try:
        return tyro.cli(kind, args=arguments, prog=prog, description=about)
    except ValueError as error:
        raise UserError(str(error)) from error


def print_json(content: Any) -> None:
    """Machine-readable results, on standard output."""
    print(json.dumps(content, indent=2, ensure_ascii=False))


def set_process(machine: Machine) -> None:
    """Set what holds for this whole process: torch's threads, and what becomes of freed memory."""
    if machine.threads:
        torch.set_num_threads(machine.threads)
    if machine.keep_memory:
        keep_memory()


def keep_memory() -> bool:
    """Tell glibc to keep freed memory for the next step; whether it could be told (only on Linux, with glibc).

    Blocks over 32 MiB, a batch's activations, are otherwise mapped, filled with zeros and unmapped in every step.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    done = [mallopt(option, value) for option, value in _MALLOC]
    return all(done)


# M_MMAP_MAX, M_TRIM_THRESHOLD and M_TOP_PAD of malloc.h: nothing is mapped apart, nothing below 2 GiB is given back,
# and the heap grows by 512 MiB at a time.
_MALLOC = ((-4, 0), (-1, 2**31 - 1), (-2, 2**29))


def tell_end(finished: Finished, as_json: bool) -> int:
    """Say how a run ended; return the exit status: 0, or 128 + the signal that stopped it."""
    if as_json:
        print_json({**dataclasses.asdict(finished), "path": str(finished.path)})
    elif finished.interrupted_by is None:
        print(
            f"finished: {finished.path}\nlook at it with:\n  resmom report {finished.path} --out report.html\n"
            f"with labels, measure it with:\n  resmom evaluate {finished.path}"
        )
    else:
        print(f"saved at step {finished.step} of {finished.steps}; continue with:\n  resmom resume {finished.path}")
    return 0 if finished.interrupted_by is None else 128 + finished.interrupted_by


def named_recipe(arguments: list[str], usual: str) -> tuple[str, list[str]]:
    """The name that --recipe gives, or the usual one, and the other arguments, whose defaults the recipe has."""
    name, rest = usual, []
    left = iter(arguments)
    for option in left:
        if option == "--recipe":
            name = next(left, "")
        elif option.startswith("--recipe="):
            name = option.partition("=")[2]
        else:
            rest.append(option)
    return name, rest


def tell_stop(ended: Ended, verb: str, as_json: bool) -> int:
    """Say how fine-tuning goes on if a signal stopped it; return the exit status: 0, or 128 + that signal."""
    if ended.interrupted_by is None:
        return 0
    if not as_json:
        print(f"saved; continue with:\n  resmom {verb} resume {ended.path}")
    return 128 + ended.interrupted_by
