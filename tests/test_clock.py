"""The clock adds up what several threads do."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from resmom.clock import Clock


def test_parts_add_up_over_threads() -> None:
    clock = Clock()

    def work(_: int) -> None:
        with clock.part("sleep", torch.device("cpu")):
            time.sleep(0.02)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(8)))
    assert clock.read()["sleep"] >= 8 * 0.02
    before = clock.read()["sleep"]
    with clock.part("other"):
        pass
    assert clock.read()["sleep"] == before and 0 <= clock.read()["other"] < 0.02


def test_a_part_that_raises_is_not_counted() -> None:
    clock = Clock()
    with pytest.raises(ZeroDivisionError), clock.part("broken"):
        _ = 1 / 0
    assert clock.read() == {}
