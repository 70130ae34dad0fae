"""Where a run computes: what is put beside it, and what has no room there."""

import pytest
import torch

from resmom.runs.device import SHARE, beside, has_room, measured_kernels

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


@pytest.mark.parametrize(
    ("place", "exact", "tried"), [("cuda", False, True), ("cuda", True, False), ("cpu", False, False)]
)
def test_kernels_are_tried_on_a_gpu_alone_and_only_while_training(
    place: str, exact: bool, tried: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: exact)
    with pytest.raises(ValueError, match="on the way"), measured_kernels(torch.device(place)):
        assert torch.backends.cudnn.benchmark is tried
        raise ValueError("on the way")
    assert torch.backends.cudnn.benchmark is False
