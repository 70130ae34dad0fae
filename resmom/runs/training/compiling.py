"""Backbones compiled by torch's inductor for as long as a run trains (`--compile`).

What is measured in between runs as written: other batches and modes would each be compiled anew, and of one piece of
code no more than a few forms are kept.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch

from resmom.called import called, setting
from resmom.config import ConfigError
from resmom.method import Method
from resmom.methodconfig import MethodConfig, masks_of
from resmom.methodnames import method_name
from resmom.runs.machine import Compile, Machine, Trainer
from resmom.runs.training.job import backbone_of
from resmom.train.state import networks_of

MODES = {"kernels": "default", "graphs": "reduce-overhead"}
"""inductor's modes. The second records CUDA graphs, so that the host has next to nothing to do in a step."""

FORMS = 32
"""Forms of one piece of code that may be kept compiled: student and teacher, training and not, and each size of views.
Past torch's own 8 it would go on uncompiled without a word."""


def require_compiler(how: Compile, device: torch.device) -> None:
    """Raise ConfigError where the device cannot be compiled for in this way."""
    if how == "graphs" and device.type != "cuda":
        raise ConfigError(
            f"{setting('compile', 'graphs')} records CUDA graphs, and the device is {device}; take kernels, or leave "
            "it out"
        )
    compiler = os.environ.get("CXX", "g++")  # as inductor looks for it
    if how != "no" and device.type == "cpu" and shutil.which(compiler) is None:
        raise ConfigError(
            f"{called('compile')} needs a C++ compiler on a CPU, and there is no {compiler}; install one, or leave it "
            "out"
        )


def require_compilable(method: MethodConfig, how: Compile) -> None:
    """Raise ConfigError for a method of which nothing would be compiled."""
    if how != "no" and masks_of(method) is not None:
        raise ConfigError(
            f"{method_name(method)} goes through its transformer part by part, which {called('compile')} does not "
            "reach; leave it out"
        )


def how_asked(machine: Machine) -> Compile | None:
    """How a run shall be compiled by what was asked for now; None where nothing was."""
    return machine.compile if isinstance(machine, Trainer) else None


class Way(NamedTuple):
    """How a run was asked to be compiled, how it is, and why not so, where it cannot be."""

    asked: Compile
    used: Compile
    why: str = ""


def how_to_compile(machine: Machine, before: Compile, device: torch.device) -> Way:
    """How a run is compiled on this device.

    What is not asked for now is as `before`, and another machine may not be able to: the run is the same without.
    """
    if (asked := how_asked(machine)) is not None:
        return Way(asked, asked)
    try:
        require_compiler(before, device)
    except ConfigError as error:
        return Way(before, "no", f"it goes on without compiled backbones: {error}")
    return Way(before, before)


def compile_backbones(method: Method, how: Compile, *, alone: bool = True) -> None:
    """Have both backbones compiled at their first call. Names and values of their weights stay as they are.

    Few forms of one piece of code are kept compiled, and all networks share theirs: those of an earlier run in this
    process would leave no room, so they are dropped first, unless it is not `alone`. Each size of views and of batches
    has a form of its own: one for sizes that are left open is slower, and could not keep images channels last.
    """
    if how == "no":
        return
    if alone:
        torch.compiler.reset()
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, FORMS)
    for network in networks_of(method).values():
        backbone_of(network).compile(mode=MODES[how], dynamic=False)


@contextmanager
def compiled(how: Compile) -> Iterator[None]:
    """For the time in which a run trains: a compiler that fails is told of in a sentence."""
    if how == "no":
        yield
        return
    from torch._dynamo.exc import TorchDynamoException  # seconds to import, which other runs need not wait for
    from torch._inductor.exc import InductorError

    try:
        yield
    except (TorchDynamoException, InductorError) as error:
        reason = str(error).partition("\n")[0]
        raise ConfigError(
            f"the backbone cannot be compiled here ({reason}); what was trained is saved: go on with "
            f"{setting('compile', 'no')}"
        ) from error


@contextmanager
def as_written(how: Compile) -> Iterator[None]:
    """Nothing inside runs compiled."""
    if how == "no":
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield


def begin_step(how: Compile) -> None:
    """Before a step: what the graphs of the last one left in memory is free again."""
    if how == "graphs":
        torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
