"""Where a run computes."""

import threading

import torch

from resmom import dist
from resmom.config import ConfigError

_THREAD = threading.local()


def default_device(name: str = "auto") -> torch.device:
    """`auto`: a CUDA GPU where there is one, else the CPU; anything else as torch names it.

    Raises ConfigError for a device that is not there.
    """
    own = dist.start()
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
        raise ConfigError(f"there is no device '{name}' here: {reason}; use --device cpu or auto") from error


def stream(device: torch.device) -> torch.cuda.Stream:
    """This thread's own stream on a GPU: one of every batch would keep memory of its own in torch's allocator."""
    streams: dict[torch.device, torch.cuda.Stream] = _THREAD.__dict__.setdefault("streams", {})
    if device not in streams:
        streams[device] = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    return streams[device]
