"""Views of several steps made at once: on a GPU their many small kernels cost by their number, not by their size."""

from collections.abc import Callable, Hashable
from threading import Lock

from torch import Tensor

MOST = 8
"""Steps of a block."""
NUMBERS = 1 << 24
"""Numbers that the images of a block, or one view of them, may have (64 MiB); one step's are made in any case."""
KEPT = 2
"""Blocks that are kept: batches are made ahead, so that the next one may be begun while the last is still asked for."""

Views = tuple[Tensor, ...]


class Blocks:
    """The newest blocks, each the views of its steps; made under a lock, by whoever asks first."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._made: dict[Hashable, dict[int, Views]] = {}

    def views(self, key: Hashable, step: int, make: Callable[[], dict[int, Views]]) -> Views:
        """The views of a step, of the block called `key`, which `make` makes if it is not there."""
        with self._lock:
            if key not in self._made:
                block = make()
                while len(self._made) >= KEPT:
                    del self._made[next(iter(self._made))]
                self._made[key] = block
            return self._made[key][step]


def steps_of(step: int, per_epoch: int, batch: int, numbers: int) -> range:
    """The steps of the block of a step: of one epoch, and always the same ones for each of them.

    `numbers`: those of one image, or of its largest view.
    """
    size = max(1, min(MOST, NUMBERS // (batch * numbers)))
    within = step % per_epoch
    start = step - within % size
    return range(start, min(start + size, step - within + per_epoch))
