"""What a run uses of the machine, and what the command line tells the system for the whole process. No torch."""

import ctypes
import platform
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import tyro

from resmom.called import called
from resmom.errors import UserError

Compile = Literal["no", "kernels", "graphs"]
"""How backbones are compiled while a run trains (runs/training/compiling.py)."""

Logger = Literal["tensorboard", "wandb", "wandb-online", "none"]
"""What is given the lines of metrics.jsonl, too, while a run trains (runs/loggers/); "none" stands alone."""

Call = Callable[[dict[str, Any]], object]
"""A function of the user's own that is given each line."""


@dataclass(frozen=True)
class Machine:
    """What a run uses of the machine. None of it changes what is computed, rounding apart."""

    device: str = "auto"
    """auto (a CUDA GPU where there is one), cpu, cuda, cuda:1 …"""
    workers: int = -1
    """Threads that prepare batches; -1: one for images in RAM of one size, else one per core."""
    threads: int = 0
    """CPU threads of one operation, set by the command line; 0 leaves torch's choice. Where other programs compete for
    the cores, or the network is very small, 1 can be many times faster than 2."""
    keep_memory: bool = True
    """Keep freed memory for the next step instead of giving it back to the system each time; set by the command line
    (Linux with glibc). Faster, and more memory is held while the run lasts."""
    deterministic: bool = False
    """On a GPU: only operations that give the same bits again, so that a run repeats and resumes exactly there too; set
    by the command line. Slower; torch warns of an operation that has no such form. A CPU does so anyway."""
    quiet: bool = False
    """Say nothing while training. A comparison says a line for every finished cell all the same."""

    def __post_init__(self) -> None:
        if self.workers < -1:
            raise UserError(
                f"{called('workers')} is {self.workers}; it is a number of threads, or -1 to let resmom choose"
            )
        if self.threads < 0:
            raise UserError(
                f"{called('threads')} is {self.threads}; it is a number of threads, or 0 for torch's choice"
            )


@dataclass(frozen=True)
class Trainer(Machine):
    """What a run of pretraining uses of the machine."""

    compile: Compile | None = None
    """Compile the backbones by torch's inductor: kernels, or on a GPU graphs (CUDA graphs) too. It takes a minute at
    the start. On a CPU it was measured to gain nothing; on a GPU it has not been tried. Without it: no, or
    where a run is resumed, as before."""
    log_to: tuple[Logger, ...] | None = None
    """Write the measurements for other tools, too, several as words of their own: tensorboard (into RUN/tensorboard),
    wandb (into RUN/wandb, and nothing is sent), wandb-online (sent to Weights & Biases). Without it: none, or where a
    run is resumed, as before; none ends that."""
    calls: Annotated[tuple[Call, ...], tyro.conf.Suppress] = ()
    """In Python: functions that are given each line of metrics.jsonl."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.compile is not None and self.compile not in get_args(Compile):
            raise UserError(f"{called('compile')} is {self.compile!r}; it is one of {', '.join(get_args(Compile))}")
        if self.log_to is not None:
            _require_loggers(self.log_to)


def _require_loggers(log_to: Sequence[Any]) -> None:
    """Raise UserError for names that are none, or that do not go together."""
    names = ", ".join(get_args(Logger))
    if not log_to:
        raise UserError(f"{called('log_to')} needs at least one of {names}, several as words of their own")
    for name in log_to:
        if name not in get_args(Logger):
            raise UserError(
                f"{called('log_to')} is {name!r}; it is one of {names}, in Python also a function of one line"
            )
    if "none" in log_to and len(log_to) > 1:
        raise UserError(f"{called('log_to')} none ends all others; leave it out beside them")
    if {"wandb", "wandb-online"} <= set(log_to):
        raise UserError(f"{called('log_to')} wandb sends nothing, and wandb-online everything; leave one of them out")


LogTo = Logger | Call | Sequence[Logger | Call]
"""What is given in Python for both fields of `Trainer` at once."""


def loggers_of(log_to: LogTo | None) -> tuple[tuple[Logger, ...] | None, tuple[Call, ...]]:
    """The names and the functions in what was given; `Trainer` says whether they can be."""
    if log_to is None:
        return None, ()
    several = isinstance(log_to, Sequence) and not isinstance(log_to, str)
    given: list[Any] = list(log_to) if isinstance(log_to, Sequence) and several else [log_to]
    calls = tuple(each for each in given if callable(each))
    names = tuple(each for each in given if not callable(each))
    return (names if names or not calls else None), calls


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


def silence_libtiff() -> bool:
    """Have the C library that unpacks TIFFs print nothing; whether it could be told (not where Pillow has it built in).

    It prints a line on standard error for whatever it stumbles over, without the file's name. What is damaged is told
    of by that name anyway, and listed.
    """
    from PIL import _imaging

    try:
        library = ctypes.CDLL(_imaging.__file__)  # by way of what is linked to it, wherever that lies
        handlers = library.TIFFSetErrorHandler, library.TIFFSetWarningHandler
    except (OSError, AttributeError):
        return False
    for set_handler in handlers:
        set_handler.argtypes, set_handler.restype = [ctypes.c_void_p], ctypes.c_void_p
        set_handler(None)
    return True


# M_MMAP_MAX, M_TRIM_THRESHOLD and M_TOP_PAD of malloc.h: nothing is mapped apart, nothing below 2 GiB is given back,
# and the heap grows by 512 MiB at a time.
_MALLOC = ((-4, 0), (-1, 2**31 - 1), (-2, 2**29))


def cpu_model() -> str:
    """What the processor calls itself; empty where it does not."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor()
