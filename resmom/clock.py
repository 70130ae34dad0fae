"""Where the time goes: seconds per named part of the work, added up over threads, on a GPU without waiting for it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import final

import torch
from torch import device


@final
class Clock:
    """Adds up the seconds of parts of the work. Safe to use from several threads; parts must not be nested.

    On a GPU the work of a part ends long after the host has left it: there, events are put into the stream, and read
    when somebody asks.
    """

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._events: list[tuple[str, torch.cuda.Event, torch.cuda.Event]] = []
        self._lock = Lock()

    @contextmanager
    def part(self, name: str, on: device | None = None) -> Iterator[None]:
        """Time the block under this name; `on` is the device that works, if it is not the host."""
        if on is not None and on.type == "cuda":
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
            start.record()
            yield
            end.record()
            with self._lock:
                self._events.append((name, start, end))
            return
        began = time.perf_counter()
        yield
        spent = time.perf_counter() - began
        with self._lock:
            self._seconds[name] = self._seconds.get(name, 0.0) + spent

    def read(self) -> dict[str, float]:
        """Seconds per part so far. On a GPU it waits for the last event."""
        with self._lock:
            events, self._events = self._events, []
        for name, start, end in events:
            end.synchronize()
            with self._lock:
                self._seconds[name] = self._seconds.get(name, 0.0) + start.elapsed_time(end) / 1e3
        with self._lock:
            return dict(self._seconds)
