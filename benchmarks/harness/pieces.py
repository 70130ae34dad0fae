"""Checks and throughput piece by piece: those that are asked for, while there is time, a line each."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from resmom.errors import UserError
from resmom.jsonfiles import append_line
from resmom.runs.environment import environment, shareable

T = TypeVar("T")


def chosen(pieces: Mapping[str, T], only: str) -> dict[str, T]:
    """Those with `only` in their names, in any case. Raises UserError for none."""
    found = {name: piece for name, piece in pieces.items() if only.lower() in name.lower()}
    if not found:
        raise UserError(f"--only is '{only}', which is in none of {'; '.join(pieces)}")
    return found


def time_is_up(until: float, seconds: float) -> bool:
    """Whether a piece that takes so many seconds would not be done by then, which is said."""
    up = time.monotonic() > until - seconds
    if up:
        print("time is up; call again for the rest")
    return up


def keep(results: Path, line: Mapping[str, Any]) -> None:
    """Add the line of a piece, with where it ran."""
    append_line(results, {**line, "environment": shareable(environment())})
