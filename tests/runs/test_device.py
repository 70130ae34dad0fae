"""Where a run computes: what is put beside it, and what has no room there."""

import pytest
import torch

from resmom.runs.device import SHARE, beside, has_room

META = torch.device("meta")


def test_tensors_come_together_on_the_device() -> None:
    a, b = beside(META, torch.zeros(3), torch.zeros(2, dtype=torch.long))
    assert a.device.type == b.device.type == "meta"


def test_a_gpu_takes_what_it_has_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 10_000))
    gpu = torch.device("cuda")
    assert has_room(gpu, int(1000 * SHARE)) and not has_room(gpu, int(1000 * SHARE) + 1)
    assert has_room(torch.device("cpu"), 10**18)
    # What does not fit stays where everything else can follow it.
    a, b = beside(gpu, torch.zeros(50), torch.zeros(1))
    assert a.device.type == b.device.type == "cpu"
