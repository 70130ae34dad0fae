"""The table of times to an accuracy, on lines made up by hand."""

from typing import Any

import pytest

from benchmarks.clock import main, table
from resmom.errors import UserError
from resmom.jsonfiles import append_line

CPU = {"gpu": [], "cpu": "EPYC", "threads": 1}


def line(arm: str, seed: int, score: float, seconds: float, place: int = 0, **more: Any) -> dict[str, Any]:
    base = {"format": 1, "arm": arm, "place": place, "seed": seed, "measures": {"knn/student": score}}
    return base | {"seconds": seconds, "processor_seconds": None, "environment": CPU} | more


def rows(*lines: dict[str, Any], clock: str = "seconds", target: float = 20.0) -> list[str]:
    return list(table(lines, "knn/student", clock, target))[2:]


def test_an_arm_reaches_what_its_mean_reaches() -> None:
    """Means 20.5 and 19.5 of (19, 22) and (19, 20); minutes 1 and 3, and 2."""
    found = rows(
        line("slow", 0, 19.0, 120.0, place=1),
        line("slow", 1, 20.0, 120.0, place=1),
        line("fast", 0, 19.0, 60.0),
        line("fast", 1, 22.0, 180.0),
    )
    assert found == [
        "| fast | EPYC, 1 thread | 2 | 20.50 ± 2.12 | 2.0 ± 1.4 | in 2.0 minutes (1 of 2 seeds) |",
        "| slow | EPYC, 1 thread | 2 | 19.50 ± 0.71 | 2.0 ± 0.0 | no |",
    ]


def test_machines_are_told_apart_and_the_clock_is_the_one_asked_for() -> None:
    gpu = CPU | {"gpu": ["H200"]}
    shared = [line("a", 0, 30.0, 60.0, environment=gpu, beside=0), line("a", 1, 30.0, 90.0, environment=gpu, beside=2)]
    assert [row.split(" | ")[1] for row in rows(*shared)] == ["H200", "H200, beside two other runs"]
    lines = [line("a", 0, 30.0, 60.0, processor_seconds=90.0), line("a", 1, 30.0, 6.0, environment=gpu)]
    assert rows(*lines) == [
        "| a | EPYC, 1 thread | 1 | 30.00 | 1.0 | in 1.0 minutes (1 of 1 seeds) |",
        "| a | H200 | 1 | 30.00 | 0.1 | in 0.1 minutes (1 of 1 seeds) |",
    ]
    assert rows(*lines, clock="processor_seconds") == [
        "| a | EPYC, 1 thread | 1 | 30.00 | 1.5 | in 1.5 minutes (1 of 1 seeds) |"
    ]


def test_what_was_not_measured_is_told() -> None:
    with pytest.raises(UserError, match="no run has linear/student; measured were knn/student"):
        list(table([line("a", 0, 30.0, 60.0)], "linear/student", "seconds", 20.0))
    with pytest.raises(UserError, match="no run was timed by processor_seconds"):
        rows(line("a", 0, 30.0, 60.0), clock="processor_seconds")


def test_the_command(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    append_line(tmp_path / "cells.jsonl", line("a", 0, 30.0, 60.0))
    assert main([str(tmp_path), "--measure", "knn/student", "--target", "40"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "| a | EPYC, 1 thread | 1 | 30.00 | 1.0 | no |"
