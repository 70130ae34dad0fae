"""What all predictions have in common: how far they are, what came of them, and the images that could not be read."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from resmom.ondisk import write_whole
from resmom.runs.predicting.images import Unread

SECONDS = 20.0
"""Least time between two words on how far it is."""


@dataclass(frozen=True)
class Written:
    """Images that were read, those that were not, and how often each class was said."""

    images: int
    unread: tuple[Unread, ...]
    counts: dict[str, int]


@dataclass
class Told:
    """Says from time to time how far it is."""

    total: int
    say: Callable[[str], None]
    _done: int = 0
    _last: float = field(default_factory=time.monotonic)

    def image(self, count: int = 1) -> None:
        """So many more are done."""
        self._done += count
        if time.monotonic() - self._last >= SECONDS:
            self._last = time.monotonic()
            self.say(f"{self._done:,} of {self.total:,} images")


def evenly(total: int, some: int) -> frozenset[int]:
    """The numbers of some of so many images, from the first to the last."""
    return frozenset(np.linspace(0, total - 1, min(some, total)).round().astype(int).tolist()) if total else frozenset()


def list_unread(path: Path, unread: Sequence[Unread]) -> None:
    """Write the list, if there is anything in it."""
    if unread:
        write_whole(path, "".join(json.dumps(each.plain(), ensure_ascii=False) + "\n" for each in unread))
