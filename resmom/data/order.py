"""Which image when: pure functions of (n, batch, seed, step, rank, world), so that a resumed run is a slice."""

from threading import Lock
from typing import final

from resmom.called import called
from resmom.counter import permutation
from resmom.data.errors import DataError
from resmom.data.source import Index


def steps_per_epoch(n: int, batch: int, field: str = "train.batch") -> int:
    """Steps until every image was due once. The n % batch images left over at the end wait for the next epoch's order.

    Raises `DataError`, which names the `field` that says the batch, unless 1 <= batch <= n.
    """
    if batch < 1:
        raise DataError(f"the batch ({called(field)}) must hold at least one image; got {batch}")
    if n < batch:
        raise DataError(
            f"{n} images cannot fill a batch of {batch}; give at least {batch} images or a smaller batch "
            f"({called(field)})"
        )
    return n // batch


def batch_index(n: int, batch: int, seed: int, step: int, rank: int = 0, world: int = 1) -> Index:
    """The images of the run's `step`-th batch (from 0) that fall to `rank`: (batch / world,) int64, in order.

    `batch` is that of all ranks together. Rank r has the r-th of `world` equal stretches, so that the ranks' images one
    after the other are the batch of a run on a single process. Raises `DataError` as `Order` does.
    """
    return Order(n, batch, seed, rank, world).index(step)


@final
class Order:
    """`batch_index` for many steps: the same numbers, with the orders of the last two epochs kept."""

    def __init__(
        self, n: int, batch: int, seed: int, rank: int = 0, world: int = 1, field: str = "train.batch"
    ) -> None:
        """Raises `DataError`, which names the `field` that says the batch, unless 1 <= batch <= n, world divides batch,
        and 0 <= rank < world."""
        self.steps = steps_per_epoch(n, batch, field)
        if world < 1 or batch % world:
            raise DataError(
                f"a batch of {batch} cannot be split evenly over {world} processes; make {called(field)} a multiple of "
                f"{world}"
            )
        if not 0 <= rank < world:
            raise DataError(f"the rank must be in 0 … {world - 1}; got {rank}")
        self._n, self._batch, self._seed = n, batch, seed
        self._start, self._count = rank * (batch // world), batch // world
        self._kept: dict[int, Index] = {}
        self._lock = Lock()

    def index(self, step: int) -> Index:
        """The images of batch `step` (counted over the whole run, from 0) for this rank: (batch / world,) int64.

        Safe from several threads. Raises `DataError` for a negative step.
        """
        if step < 0:
            raise DataError(f"steps count from 0; got {step}")
        epoch, within = divmod(step, self.steps)
        start = within * self._batch + self._start
        return self._epoch(epoch)[start : start + self._count].copy()

    def _epoch(self, epoch: int) -> Index:
        # Two, not one: threads that read ahead ask for the end of one epoch and the start of the next by turns.
        with self._lock:
            if epoch not in self._kept:
                if len(self._kept) == 2:
                    del self._kept[min(self._kept)]
                self._kept[epoch] = permutation(self._seed, epoch, self._n)
            return self._kept[epoch]
