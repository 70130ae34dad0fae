"""Ctrl-C, SIGTERM and the signals of schedulers as a wish that the loop grants between two steps."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

ASKING = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
"""What asks a run to stop: Ctrl-C, `kill`, and by which schedulers say that a job's time is nearly over."""


@dataclass
class Interrupt:
    """Whether a stop was asked for, and by which signal."""

    signal: int | None = None

    @property
    def asked(self) -> bool:
        return self.signal is not None


@dataclass(frozen=True)
class Finished:
    """How a run ended: at its last step, or earlier by a signal."""

    path: Path
    step: int
    steps: int
    interrupted_by: int | None


@contextmanager
def interruptible() -> Iterator[Interrupt]:
    """Turn the first signal of `ASKING` into `asked`; a second one acts as it always does, and ends the process.

    Outside the main thread Python allows no handlers: signals then keep their usual meaning.
    """
    interrupt = Interrupt()
    before: dict[signal.Signals, Any] = {}

    def note(number: int, _: FrameType | None) -> None:
        interrupt.signal = number
        restore()

    def restore() -> None:
        for which, handler in before.items():
            signal.signal(which, handler)

    try:
        for which in ASKING:
            before[which] = signal.signal(which, note)
    except ValueError:
        before.clear()
    try:
        yield interrupt
    finally:
        restore()
