"""Cores, memory, and how torch uses them as the command line sets it."""

import math
import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass

from resmom.report.numbers import size
from resmom.runs.doctor.finding import Answer, Finding, answer
from resmom.runs.limits import allowed_cores, core_quota, crowded, free_ram, load, memory_limit, ram
from resmom.runs.machine import cpu_model, keep_memory

LEAST_MEMORY = 2**30
"""Bytes without which not even a small run gets far: torch alone takes a third of it."""
SMALL_MEMORY = 4 * 2**30
"""Bytes below which batches of usual networks have to be small."""


@dataclass(frozen=True)
class Cores:
    model: str
    machine: int
    """Logical cores of the machine."""
    allowed: int
    """Those of them that this process may run on."""
    quota: float | None
    """Cores' worth of time that its container or job is granted."""
    load: float
    """Threads of all programs that wanted a core in the last minute, on average."""

    @property
    def usable(self) -> float:
        return self.allowed if self.quota is None else min(self.allowed, self.quota)


@dataclass(frozen=True)
class Memory:
    """In bytes."""

    machine: int
    free: int
    limit: int | None


@dataclass(frozen=True)
class Threads:
    """How torch computes on the CPU in this process, and what bears upon it."""

    threads: int
    usable: float
    """Cores' worth of time."""
    asked: str
    """OMP_NUM_THREADS; empty where it is not set."""
    waiting: str
    """OMP_WAIT_POLICY."""
    kept: bool
    """Whether the C library could be told to keep freed memory."""
    allocator: str
    """What LD_PRELOAD puts in the place of the C library's own allocator; empty where nothing does."""
    given: bool = False
    """Whether their number was given with --threads."""


def cores() -> Answer:
    """The probe of the processor."""
    found = _cores()
    return answer(found, judge_cores(found))


def judge_cores(found: Cores) -> Iterator[Finding]:
    model = found.model or "a processor of unknown kind"
    if found.usable < found.machine:
        why = "by its affinity" if found.allowed <= found.usable else "by the limit of its container or job"
        words = f"{model}, {found.usable:g} of {found.machine} cores for this process, {why}"
    else:
        words = f"{model}, {found.machine} core{'s' * (found.machine > 1)}"
    # On a Linux machine the load counts threads that wait for a disk as well; that is a reason to look, too.
    if crowded(found.load, found.machine):
        yield Finding(
            "cores",
            "note",
            f"{words}; in the last minute {found.load:.1f} threads wanted to run, on average.",
            "wait for other programs, or end them: training shares the cores; --threads 1 then suffers least",
        )
    else:
        yield Finding("cores", "ok", f"{words}.")


def memory() -> Answer:
    """The probe of RAM."""
    found = Memory(ram(), free_ram(), memory_limit())
    return answer(found, judge_memory(found))


def judge_memory(found: Memory) -> Iterator[Finding]:
    within = min(found.machine, found.limit or found.machine)
    words = f"{size(max(found.free, 0))} of {size(within)} are free"
    if within < found.machine:
        words += f", the limit of this container or job (the machine has {size(found.machine)})"
    remedy = "end other programs, or raise the limit of the container or job"
    if found.free < LEAST_MEMORY:
        yield Finding("memory", "problem", f"{words}; a run needs at least {size(LEAST_MEMORY)}.", remedy)
    elif found.free < SMALL_MEMORY:
        less = "or take small batches (--train.micro-batch) and networks"
        yield Finding("memory", "note", f"{words}, which is enough for small networks only.", f"{remedy}; {less}")
    else:
        yield Finding("memory", "ok", f"{words}.")


def threads(number: str = "0") -> Answer:
    """The probe of torch's threads and of the allocator, set for this process as the command line sets them.

    `number` of threads: 0 for torch's choice.
    """
    import torch

    if given := int(number):
        torch.set_num_threads(given)
    found = Threads(
        torch.get_num_threads(),
        _cores().usable,
        os.environ.get("OMP_NUM_THREADS", ""),
        os.environ.get("OMP_WAIT_POLICY", ""),
        keep_memory(),
        next((word for word in os.environ.get("LD_PRELOAD", "").split(":") if "malloc" in word), ""),
        given > 0,
    )
    return answer(found, judge_threads(found, platform.system()))


def judge_threads(found: Threads, system: str) -> Iterator[Finding]:
    """`system` is Linux, or another one, where nobody expects freed memory to be kept."""
    fits = max(1, math.floor(found.usable))
    words = f"torch computes with {found.threads} thread{'s' * (found.threads != 1)}"
    quiet = True
    if found.threads > math.ceil(found.usable):
        quiet = False
        yield Finding(
            "threads",
            "problem",
            f"{words}, and this process has time on {found.usable:g} core{'s' * (found.usable != 1)}: they wait for "
            "each other, which can make training many times slower.",
            f"--threads {fits} with every command, or OMP_NUM_THREADS={fits} in the environment",
        )
    elif found.asked and not found.given and 2 * found.threads <= fits:
        quiet = False
        yield Finding(
            "threads",
            "note",
            f"{words} of {fits} possible ones, because OMP_NUM_THREADS is {found.asked}.",
            f"--threads {fits}, or unset OMP_NUM_THREADS, unless other programs or processes want the other cores",
        )
    if found.waiting.upper() == "ACTIVE":
        quiet = False
        yield Finding(
            "threads",
            "note",
            "OMP_WAIT_POLICY is ACTIVE: waiting threads spin, a tenth faster on cores of your own, and far slower "
            "where another program wants one.",
            "unset it if anything else runs on this machine; the command line then takes PASSIVE",
        )
    if system == "Linux" and (not found.kept or found.allocator):
        quiet = False
        who = f"the allocator {found.allocator}" if found.allocator else "this C library"
        yield Finding(
            "threads",
            "note",
            f"{who} is not told to keep freed memory for the next step (--keep-memory has no effect), which glibc is.",
            "take LD_PRELOAD away, if its allocator is not faster" if found.allocator else "a system with glibc",
        )
    if quiet:
        kept = ", and freed memory is kept for the next step" if found.kept else ""
        policy = f"; OMP_WAIT_POLICY is {found.waiting}" if found.waiting else ""
        yield Finding("threads", "ok", f"{words}{kept}{policy}.")


def _cores() -> Cores:
    return Cores(cpu_model(), os.cpu_count() or 1, allowed_cores(), core_quota(), load())
