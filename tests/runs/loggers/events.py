"""Lines of metrics, and what TensorBoard reads of a folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from resmom.runs.loggers.lines import numbers

Points = dict[tuple[str, int], list[float]]
"""The values under a name and a step: one, where nothing is there twice."""


def line(step: int, seconds: float | None = None, kind: str = "train", **values: Any) -> dict[str, Any]:
    """A line of metrics."""
    clock = {} if seconds is None else {"elapsed_seconds": seconds}
    return {"kind": kind, "step": step, "epoch": step / 10, **values, **clock}


def points(folder: Path) -> Points:
    """All points in the event files of a folder, as TensorBoard's own reader gives them, in the order of its files."""
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
    from tensorboard.compat.proto.event_pb2 import Event

    found: Points = {}
    for path in sorted(folder.glob("*tfevents*")):
        for record in RawEventFileLoader(str(path)).Load():
            event = Event.FromString(record)
            for value in event.summary.value:
                found.setdefault((value.tag, event.step), []).append(value.simple_value)
    return found


def points_of(lines: Sequence[Mapping[str, Any]]) -> Points:
    """The same, as metrics.jsonl has them."""
    found: Points = {}
    for line in lines:
        for name, value in numbers(line).items():
            found.setdefault((name, line["step"]), []).append(value)
    return found


def assert_same_points(folder: Path, lines: Sequence[Mapping[str, Any]]) -> None:
    """Each number of each line once, as float32, and nothing else."""
    there, wanted = points(folder), points_of(lines)
    assert there.keys() == wanted.keys()
    for name, values in wanted.items():
        assert there[name] == pytest.approx(values, rel=1e-6, nan_ok=True) and len(values) == 1, name
