"""Batches out of parts, of which one after another is made: all of a batch's photos at once would fill the memory."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from resmom.data.source import Index


def in_pieces(pieces: Iterable[Index], make: Callable[[Index], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    """What `make` makes of each of the `Source.pieces`, tensors with a row per image, as if of all at once: a batch of
    photos is never decoded as a whole, which for 256 of 12 megapixels would take 9 GB."""
    parts = list(pieces)
    return make(parts[0]) if len(parts) == 1 else together(map(make, parts), sum(map(len, parts)))


def together(
    parts: Iterable[tuple[Tensor, ...]],
    total: int,
    device: torch.device | None = None,
    memory_format: torch.memory_format = torch.contiguous_format,
) -> tuple[Tensor, ...]:
    """Tensors of `total` rows out of parts that have some each, on their device or another; each part is let go before
    the next is taken."""
    whole: tuple[Tensor, ...] = ()
    at = 0
    for part in parts:
        if not at:
            whole = tuple(
                torch.empty(
                    (total, *own.shape[1:]), dtype=own.dtype, device=device or own.device, memory_format=memory_format
                )
                for own in part
            )
        for rows, own in zip(whole, part, strict=True):
            rows[at : at + len(own)] = own
        at += len(part[0])
    return whole
