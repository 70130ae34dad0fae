"""Copies to a device for which the host does not wait."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from resmom.transfer import sent
from tests.pretended import POSSIBLE, HostRead, start, unread

CPU = torch.device("cpu")


class PretendedGpu(TorchFunctionMode):
    """Pinned memory without a GPU, and the tensors that were sent on, as they were."""

    def __init__(self) -> None:
        super().__init__()
        self.pinned: list[int] = []
        self.sent: list[tuple[Tensor, bool]] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.empty_like and kwargs.pop("pin_memory", False):
            made: Tensor = func(*args, **kwargs)
            self.pinned.append(made.data_ptr())
            return made
        if func is Tensor.to and args[1] == torch.device("cuda"):
            self.sent.append((args[0], kwargs.get("non_blocking", False)))
            return args[0]
        return func(*args, **kwargs)


def test_nothing_is_copied_where_it_lies_there_already() -> None:
    tensor = torch.ones(3)
    assert sent(tensor, CPU) is tensor


ROWS = torch.arange(12.0).view(3, 4)
IMAGES = torch.arange(96).view(2, 3, 4, 4).to(torch.uint8).contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    "tensor",
    [ROWS, ROWS[:, 1], ROWS[:, :2], ROWS > 3, IMAGES, torch.empty(0, 4)],
    ids=["rows", "column", "columns", "flags", "channels last", "none"],
)
def test_to_a_gpu_it_goes_by_way_of_a_pinned_copy(tensor: Tensor) -> None:
    """Of its own, dense and in the same order of memory: what is not would be made so in ordinary memory again."""
    with PretendedGpu() as gpu:
        sent(tensor, torch.device("cuda"))
    ((copy, non_blocking),) = gpu.sent
    assert non_blocking and gpu.pinned == [copy.data_ptr()]
    assert torch.equal(copy, tensor) and (not len(tensor) or copy.data_ptr() != tensor.data_ptr())
    assert copy.untyped_storage().nbytes() == copy.nbytes
    if tensor is IMAGES:
        assert copy.is_contiguous(memory_format=torch.channels_last)


def test_to_other_devices_the_host_waits_for_the_copy() -> None:
    """Apple's GPU, for one, reads memory that is not pinned when it comes to it."""
    asked = list[Any]()

    class Recorded(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func is Tensor.to:
                asked.append((args[1:], kwargs or {}))
                return args[0]
            return func(*args, **(kwargs or {}))

    with Recorded():
        sent(ROWS, torch.device("mps"))
    assert asked == [((torch.device("mps"),), {})]


@pytest.mark.skipif(not POSSIBLE, reason="this torch has no backends written in Python")
def test_the_host_does_not_wait() -> None:
    device = start()
    with unread():
        there = sent(ROWS, device)
        assert sent(there, device) is there
        with pytest.raises(HostRead):
            sent(there, CPU)
    assert there.device == device and torch.equal(sent(there, CPU), ROWS)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu() -> None:
    """What is sent to a busy stream is what it was then, and torch does not see the host wait."""
    device, tensor = torch.device("cuda"), torch.arange(1 << 16)
    sent(tensor, device)  # pinned memory is taken at the first time
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        torch.cuda._sleep(100_000_000)  # type: ignore[no-untyped-call]
        there = sent(tensor, device)
        assert not torch.cuda.current_stream().query()
        tensor += 1
        with pytest.raises(RuntimeError, match="synchroniz"):
            tensor.to(device)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.equal(there.cpu(), torch.arange(1 << 16))
