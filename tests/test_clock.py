"""The clock adds up what several threads do."""

import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
import torch

from resmom.clock import Clock


def test_parts_add_up_over_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()

    def work(_: int) -> None:
        with clock.part("sleep", torch.device("cpu")):
            time.sleep(0.02)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(8)))
    before = clock.read()["sleep"]
    assert before >= 8 * 0.02
    monkeypatch.setattr("resmom.clock.time", SimpleNamespace(perf_counter=iter((1.0, 3.5)).__next__))
    with clock.part("other"):
        pass
    assert clock.read() == {"sleep": before, "other": 2.5}


def test_a_part_that_raises_is_not_counted() -> None:
    clock = Clock()
    with pytest.raises(ZeroDivisionError), clock.part("broken"):
        _ = 1 / 0
    assert clock.read() == {}
