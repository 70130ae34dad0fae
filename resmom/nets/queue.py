"""A memory of the newest keys, first in, first out."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from resmom import dist
from resmom.called import called


class Queue(nn.Module):
    """Unit vectors, one per row of `rows`; at the start random ones from torch's generator.

    The length may be any number, not only a multiple of the batch: writing goes round.
    """

    rows: Float[Tensor, "k d"]
    pointer: Int[Tensor, ""]

    def __init__(self, length: int, width: int) -> None:
        super().__init__()
        self.register_buffer("rows", F.normalize(torch.randn(length, width), dim=1))
        self.register_buffer("pointer", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def after(self, keys: Float[Tensor, "n d"]) -> Float[Tensor, "k d"]:
        """The rows as they will be when these keys, of all ranks, are in: the oldest overwritten. Writes nothing."""
        return self.rows.index_copy(0, self._places(len(keys)), self._unit(keys))

    @torch.no_grad()
    def push(self, keys: Float[Tensor, "n d"]) -> None:
        """Take in the keys of all ranks, brought to length 1. For a method's `remember`, after the step."""
        keys = dist.gather(keys)
        self.rows.index_copy_(0, self._places(len(keys)), self._unit(keys))
        self.pointer.copy_((self.pointer + len(keys)) % len(self.rows))

    def _places(self, n: int) -> Int[Tensor, " n"]:
        if n > len(self.rows):
            raise ValueError(
                f"{n} keys do not fit into a queue of {len(self.rows)}; set {called('method.queue')} to at least {n}"
            )
        return (self.pointer + torch.arange(n, device=self.pointer.device)) % len(self.rows)

    def _unit(self, keys: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        return F.normalize(keys.to(self.rows.dtype), dim=1)  # out of half precision first
