"""One thin file per verb: arguments in, one function below called, words out.

What stands here starts without torch: `resmom doctor` must answer where torch is broken.
"""

import dataclasses
import json
import os
from typing import Annotated, Any, TypeVar

import tyro

from resmom.errors import UserError
from resmom.runs.interrupt import Finished
from resmom.runs.machine import Machine, keep_memory

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
    """Set what holds for this whole process: torch's threads and algorithms, and what becomes of freed memory."""
    import torch

    if machine.threads:
        torch.set_num_threads(machine.threads)
    if machine.keep_memory:
        keep_memory()
    if machine.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when the GPU is first used
        torch.use_deterministic_algorithms(True, warn_only=True)


def tell_end(finished: Finished, as_json: bool) -> int:
    """Say how a run ended; return the exit status: 0, or 128 + the signal that stopped it."""
    if as_json:
        print_json({**dataclasses.asdict(finished), "path": str(finished.path)})
    elif finished.interrupted_by is None:
        print(
            f"finished: {finished.path}\nlook at it with:\n  resmom report {finished.path} --out report.html\n"
            "with labelled images, its own or others, measure it with:\n"
            f"  resmom evaluate {finished.path} [--data LABELLED]"
        )
    else:
        print(f"saved at step {finished.step} of {finished.steps}; continue with:\n  resmom resume {finished.path}")
    return 0 if finished.interrupted_by is None else 128 + finished.interrupted_by
