"""torch's global generators, from which the program that calls us draws too."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def generators_kept() -> Iterator[None]:
    """Afterwards torch's global generators, CUDA's too, are as they were before, whatever was seeded in between.

    Every step seeds them, so that what a network draws inside is a function of (seed, step). A script that draws
    between two calls would go on from there, and draw the same after each.
    """
    known = _cuda_began()
    try:
        with torch.random.fork_rng(range(torch.cuda.device_count()) if known else [], device_type="cuda"):
            yield
    finally:
        if not known and _cuda_began():
            # CUDA began in between, so there was no state to keep; torch.manual_seed seeds it as it does the CPU.
            torch.cuda.manual_seed_all(torch.initial_seed())


def _cuda_began() -> bool:
    return bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]
