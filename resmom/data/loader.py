"""Reading ahead: batches are made by threads in the background and handed over in order."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Barrier
from types import TracebackType
from typing import TypeVar, final

import torch

T = TypeVar("T")


@final
class Prefetch(Iterator[T]):
    """Iterates over make(start), make(start + 1), … make(stop - 1), made ahead of time by threads.

    `waited` is the time in seconds that the consumer has spent waiting for items so far; without threads, all the time
    it took to make them.
    """

    def __init__(self, make: Callable[[int], T], start: int, stop: int, workers: int, ahead: int | None = None) -> None:
        """At most `ahead` items (default: two per worker) are being made or lie ready at any time, which bounds memory.

        With `workers` = 0 each item is made when it is asked for. What `make` raises is raised in place of that item,
        and ends the iteration. Work starts at once; `close`, a `with` block or dropping the object ends it early.

        Raises ValueError if `workers` is negative or `ahead` less than 1.
        """
        if workers < 0 or (ahead is not None and ahead < 1):
            raise ValueError(f"workers must be at least 0 and ahead at least 1; got {workers} and {ahead}")
        self.waited = 0.0
        self._make, self._next, self._stop = make, start, stop
        self._ahead = 2 * workers if ahead is None else ahead
        self._pending: deque[Future[T]] = deque()
        self._pool = _pool(workers) if workers and start < stop else None
        self._submit()

    def __next__(self) -> T:
        if self._pool is None and self._next >= self._stop:
            raise StopIteration
        began, made = time.perf_counter(), False
        try:
            item = self._made_now() if self._pool is None else self._pending.popleft().result()
            made = True
        except StopIteration as error:  # let through, it would end the iteration as if all had been made
            raise RuntimeError("make raised StopIteration") from error
        finally:
            self.waited += time.perf_counter() - began
            if not made:
                self.close()
        self._submit()
        if self._pool is not None and not self._pending:
            self.close()
        return item

    def close(self) -> None:
        """End the iteration: drop what was made ahead and wait for the items under way, so that no thread is left."""
        self._next = self._stop
        self._pending.clear()
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None

    def __enter__(self) -> "Prefetch[T]":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __del__(self) -> None:
        # A loop left by `break` never calls close. The threads hold the pool's queue but not this object, so that it
        # does die then; it must not wait, since the collector may run in any thread, one of the pool's included.
        pool = getattr(self, "_pool", None)
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)

    def _made_now(self) -> T:
        self._next += 1
        return self._make(self._next - 1)

    def _submit(self) -> None:
        while self._pool is not None and self._next < self._stop and len(self._pending) < self._ahead:
            self._pending.append(self._pool.submit(self._make, self._next))
            self._next += 1


def prefetch(make: Callable[[int], T], start: int, stop: int, workers: int, ahead: int | None = None) -> Prefetch[T]:
    """make(start) … make(stop - 1) in order, made ahead by `workers` threads: see `Prefetch`."""
    return Prefetch(make, start, stop, workers, ahead)


def workers_here() -> int:
    """Threads that make things ahead, where nobody says how many: as many as torch computes with."""
    return max(1, torch.get_num_threads())


def _pool(workers: int) -> ThreadPoolExecutor:
    """Threads that use one core each in torch, while all other threads keep as many as they had.

    The number set in one thread does not reach a thread that has asked for its own before (seen with torch 2.15 on
    OpenMP: matrix products of the main thread go on using all cores), but it becomes the default of every thread that
    has not. So: the calling thread asks first, the workers ask and set theirs, and the default is then put back.
    """
    usual = torch.get_num_threads()
    ready = Barrier(workers + 1)

    def one_core() -> None:
        torch.get_num_threads()
        torch.set_num_threads(1)
        ready.wait()

    pool = ThreadPoolExecutor(workers, thread_name_prefix="prefetch")
    try:
        for _ in range(workers):  # each waits for all the others, so that every one gets a thread of its own
            pool.submit(one_core)
        ready.wait()
    except BaseException:  # Ctrl-C, say: threads that wait for this one would keep the process from ever ending
        ready.abort()
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    finally:
        torch.set_num_threads(usual)
    return pool
