"""The allocator is told only where there is one that listens, and only by the command line."""

import os
import resource
import sys

import pytest
import torch

from resmom import commands
from resmom.runs import machine
from resmom.runs.machine import Machine
from tests import forked


def faults(how: str) -> int:
    """Page faults of ten allocations, with and without being told to keep memory."""
    if how == "keep":
        assert machine.keep_memory()
    for _ in range(10):  # the heap takes a few to settle
        torch.ones(48 * 2**18)  # 48 MiB, three times what is ever mapped apart at the default
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.ones(48 * 2**18)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc only")
def test_kept_memory_is_not_faulted_in_again() -> None:
    found = {how: forked.answer(faults, how) for how in ("keep", "system")}
    assert found["keep"] < found["system"] / 10


def test_the_switch_is_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[bool] = []
    monkeypatch.setattr(commands, "keep_memory", lambda: told.append(True))
    commands.set_process(Machine(keep_memory=False))
    assert told == []
    commands.set_process(Machine())
    assert told == [True]


def test_elsewhere_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert machine.keep_memory() is False


def test_deterministic_algorithms_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")  # what the user set stays
    try:
        commands.set_process(Machine())
        assert not torch.are_deterministic_algorithms_enabled()
        commands.set_process(Machine(deterministic=True))
        assert torch.are_deterministic_algorithms_enabled()
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"
    finally:
        torch.use_deterministic_algorithms(False)
