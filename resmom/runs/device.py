"""Where a run computes."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from resmom import dist
from resmom.called import either
from resmom.config import ConfigError

_THREAD = threading.local()
SHARE = 0.2
"""Of a GPU's free memory, what things that could lie elsewhere may take there."""


def default_device(name: str = "auto") -> torch.device:
    """`auto`: a CUDA GPU where there is one, else the CPU; anything else as torch names it.

    Raises ConfigError for a device that is not there.
    """
    own = dist.start(name)
    device = own if name in ("auto", own.type) else _named(name)  # under torchrun, "cuda" is that of this process
    if device.type == "cuda":  # or events and streams without a device would be those of another
        torch.cuda.set_device(device)
    return device


def _named(name: str) -> torch.device:
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).split("\n")[0].split(". ")[0]
        if "device string" in reason:  # torch lists every kind of device that it has heard of
            reason = "devices are called cpu, cuda, cuda:1 …"
        others = either("--device cpu or auto", "device='cpu' or 'auto'")
        raise ConfigError(f"there is no device '{name}' here: {reason}; use {others}") from error


def has_room(device: torch.device, needed: int) -> bool:
    """Whether so many bytes may lie on the device: on a GPU a `SHARE` of what is free there."""
    return device.type != "cuda" or needed <= SHARE * torch.cuda.mem_get_info(device)[0]


def beside(device: torch.device, *tensors: Tensor) -> tuple[Tensor, ...]:
    """The tensors together on the device, if there is room for them; else on the CPU."""
    there = has_room(device, sum(tensor.nbytes for tensor in tensors))
    return tuple(tensor.to(device if there else "cpu") for tensor in tensors)


def finish(device: torch.device) -> None:
    """Wait until a GPU has done what this thread's stream was asked for."""
    if device.type == "cuda":
        torch.cuda.current_stream(device).synchronize()


@contextmanager
def measured_kernels(device: torch.device) -> Iterator[None]:
    """On a GPU cuDNN tries its kernels on each new shape and takes the fastest, which pays where shapes stay the same.

    Not where algorithms are to be deterministic (`--deterministic`): which is the fastest is not the same every time.
    """
    before = torch.backends.cudnn.benchmark
    if device.type == "cuda" and not torch.are_deterministic_algorithms_enabled():
        torch.backends.cudnn.benchmark = True
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


def stream(device: torch.device) -> torch.cuda.Stream:
    """This thread's own stream on a GPU: one of every batch would keep memory of its own in torch's allocator.

    Before others: its many small kernels would else queue behind the large ones of training.
    """
    streams: dict[torch.device, torch.cuda.Stream] = _THREAD.__dict__.setdefault("streams", {})
    if device not in streams:
        streams[device] = torch.cuda.Stream(device, priority=-1)  # type: ignore[no-untyped-call]
    return streams[device]
