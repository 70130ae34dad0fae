"""Reading ahead: in order, bounded, failing at the right place, leaving no thread and no setting behind."""

import gc
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from resmom.data import loader
from resmom.data.loader import prefetch


def ours() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("prefetch")]


def until(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + 30
    while not condition() and time.monotonic() < end:
        time.sleep(0.005)
    return condition()


@pytest.mark.parametrize("workers", [0, 1, 4])
def test_items_come_in_order(workers: int) -> None:
    def make(step: int) -> int:
        time.sleep(0.002 * (step % 3))
        return step * step

    assert list(prefetch(make, 3, 30, workers)) == [step * step for step in range(3, 30)]
    assert list(prefetch(make, 5, 5, workers)) == list(prefetch(make, 5, 4, workers)) == []
    assert not ours()


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_takes_the_place_of_its_item(workers: int) -> None:
    def make(step: int) -> int:
        if step == 4:
            raise RuntimeError("step four")
        return step

    items, seen = prefetch(make, 0, 10, workers), []
    with pytest.raises(RuntimeError, match="step four"):
        for item in items:
            seen.append(item)
    assert seen == [0, 1, 2, 3] and list(items) == [] and not ours()


@pytest.mark.parametrize("workers", [0, 2])
def test_a_stray_stop_iteration_does_not_end_the_run_quietly(workers: int) -> None:
    def make(step: int) -> int:
        return next(iter([step][step:]))

    with pytest.raises(RuntimeError, match="StopIteration"):
        list(prefetch(make, 0, 10, workers))


@pytest.mark.parametrize("ahead", [1, 3])
def test_no_more_than_ahead_are_made(ahead: int) -> None:
    started: list[int] = []

    def make(step: int) -> int:
        started.append(step)
        return step

    with prefetch(make, 0, 100, workers=2, ahead=ahead) as items:
        for taken in range(1, 6):
            next(items)
            assert until(lambda due=taken + ahead: len(started) == due)
        time.sleep(0.05)
        assert len(started) == 5 + ahead
    assert not ours()


def test_workers_work_at_the_same_time() -> None:
    meeting = threading.Barrier(3)
    assert list(prefetch(lambda step: meeting.wait(30) >= 0, 0, 6, workers=3)) == [True] * 6


@pytest.mark.slow
@pytest.mark.parametrize("way", ["close", "with", "break", "drop"])
def test_ending_early_leaves_no_thread(way: str) -> None:
    items = prefetch(lambda step: time.sleep(0.01), 0, 1000, workers=3)
    next(items)
    if way == "close":
        items.close()
        items.close()
    elif way == "with":
        with items:
            next(items)
    elif way == "break":
        for _ in items:
            break
    if way in ("close", "with"):
        assert not ours() and list(items) == []
    del items
    gc.collect()
    assert until(lambda: not ours())


def test_the_time_waited_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = prefetch(lambda step: time.sleep(0.05), 0, 4, workers=1)
    assert len(list(slow)) == 4 and slow.waited > 0.05
    inline = prefetch(lambda step: time.sleep(0.02), 0, 5, workers=0)
    assert len(list(inline)) == 5 and inline.waited >= 0.1
    made: list[int] = []  # and now a clock on which only the making takes time
    monkeypatch.setattr(loader, "time", SimpleNamespace(perf_counter=lambda: float(len(made))))
    ready = prefetch(made.append, 0, 4, workers=1, ahead=4)
    assert until(lambda: len(made) == 4)
    assert len(list(ready)) == 4 and ready.waited == 0


def test_only_the_workers_are_held_to_one_core() -> None:
    usual = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert list(prefetch(lambda step: torch.get_num_threads(), 0, 6, workers=2)) == [1] * 6
        later: list[int] = []
        thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        assert torch.get_num_threads() == 2 and later == [2]
    finally:
        torch.set_num_threads(usual)


@pytest.mark.parametrize("begun", [1, 2])
def test_a_stop_while_threads_begin_leaves_none_that_waits(monkeypatch: pytest.MonkeyPatch, begun: int) -> None:
    """Ctrl-C before the second thread, or when all are there: a process waits for its threads before it ends."""

    class Stopped(threading.Barrier):
        def wait(self, timeout: float | None = None) -> int:
            if threading.current_thread() is threading.main_thread():
                raise KeyboardInterrupt
            return super().wait(timeout)

    class Pool(ThreadPoolExecutor):
        def submit(self, *arguments: Any, **more: Any) -> Any:
            if begun == 1 and ours():
                raise KeyboardInterrupt
            return super().submit(*arguments, **more)

    monkeypatch.setattr(loader, "Barrier", Stopped)
    monkeypatch.setattr(loader, "ThreadPoolExecutor", Pool)
    usual = torch.get_num_threads()
    with pytest.raises(KeyboardInterrupt):
        prefetch(lambda step: step, 0, 4, workers=2)
    assert until(lambda: not ours()) and torch.get_num_threads() == usual


@pytest.mark.parametrize(("workers", "ahead"), [(-1, None), (1, 0)])
def test_impossible_numbers_are_refused(workers: int, ahead: int | None) -> None:
    with pytest.raises(ValueError, match="at least"):
        prefetch(lambda step: step, 0, 1, workers, ahead)
