"""Processes of their own for tests: they may be killed at any moment, and shapes in signatures are not enforced there.

One server per process of pytest has imported everything once (`tests.preloaded`); a child is a fork of it and begins at
once, where a fresh interpreter would take seconds to import torch.
"""

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, ForkServerProcess
from typing import Any

import torch

CONTEXT: ForkServerContext = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.preloaded"])


def start(work: Callable[..., object], *arguments: object) -> ForkServerProcess:
    """Begin `work(*arguments)`; it is found again by its name, so it must stand at the top of its module."""
    process = CONTEXT.Process(target=_alone, args=(work, arguments))
    process.start()
    return process


def answer(work: Callable[..., Any], *arguments: object) -> Any:
    """What `work(*arguments)` returns in a process of its own."""
    ours, theirs = CONTEXT.Pipe(duplex=False)
    process = start(_tell, theirs, work, *arguments)
    theirs.close()
    with ours:
        said = ours.recv()  # an EOFError if the process ended without an answer
    process.join()
    return said


def _alone(work: Callable[..., object], arguments: tuple[object, ...]) -> None:
    torch.set_num_threads(1)
    work(*arguments)


def _tell(to: Connection, work: Callable[..., Any], *arguments: object) -> None:
    with to:
        to.send(work(*arguments))
