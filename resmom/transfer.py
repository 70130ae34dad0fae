"""From the host to the device that computes, without the host waiting for it."""

import torch
from torch import Tensor

AHEAD = {"cuda"}
"""Kinds of devices to which the host copies ahead. Others might read ordinary memory when it is another tensor's."""


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on a device; one that is there already, as it is.

    From the host to a GPU it goes by way of pinned memory, in the order of the current stream. In a plain `.to`, and in
    `torch.tensor(…, device=…)`, torch waits until the stream has done all that it was asked for before, and the views
    of a batch take dozens of small copies. `non_blocking` alone is not enough: ordinary memory is staged by the driver,
    which may wait for the stream (CUDA's documentation, "API synchronization behavior"). The pinned copy is made here,
    so the caller may change the tensor at once; torch's allocator gives its memory to nobody else before the stream has
    read it.
    """
    if tensor.device.type != "cpu" or device.type not in AHEAD:
        return tensor.to(device)
    if device.type == "cuda":  # of rows with gaps between them too the copy is dense, which a transfer has to be
        tensor = torch.empty_like(tensor, pin_memory=True).copy_(tensor)
    return tensor.to(device, non_blocking=True)
