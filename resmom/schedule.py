"""Learning rate, teacher momentum and weights as pure functions of the step. No state, no torch."""

import math
from collections.abc import Sequence


def warmup_cosine(step: int, steps: int, warmup: int, base: float, start: float = 0.0, end: float = 0.0) -> float:
    """Linear from `start` to `base` over `warmup` steps, then half a cosine from `base` to `end` at `steps`.

    With start = end = 0 this is moco-v3's `adjust_learning_rate`, evaluated per iteration.
    """
    if step < warmup:
        return start + (base - start) * step / warmup
    return end + (base - end) * 0.5 * (1.0 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def warmup_drops(
    step: int, steps: int, warmup: int, base: float, drops: Sequence[float], factor: float, start: float = 0.0
) -> float:
    """Linear from `start` to `base` over `warmup` steps, then `base`, times `factor` from each of `drops` on.

    A drop is a share of all steps, rounded to a whole one; during the warm-up none counts.
    """
    if step < warmup:
        return start + (base - start) * step / warmup
    return base * factor ** sum(step >= round(share * steps) for share in drops)


def half_cosine(step: int, steps: int, first: float, last: float) -> float:
    """Half a cosine from `first` at step 0 to `last` at `steps`: BYOL's and MoCo-v3's rule for the teacher momentum."""
    return last - (last - first) * 0.5 * (1.0 + math.cos(math.pi * step / steps))


def linear(step: int, steps: int, first: float, last: float) -> float:
    """A straight line from `first` at step 0 to `last` at `steps`."""
    return first + (last - first) * step / steps


def by_epoch(epoch: float, epochs: int, first: float, last: float) -> float:
    """In equal rises from `first` in epoch 0 to `last` in epoch `epochs` - 1, and `last` from then on.

    The same throughout an epoch: DINO's rule for the teacher's temperature.
    """
    whole = int(epoch)
    if whole >= epochs:
        return last
    return first + (last - first) * whole / max(1, epochs - 1)


def every(epochs: float, per_epoch: int) -> int:
    """An interval given in epochs, in whole steps: at least one, and 0 (never) for 0 epochs."""
    return max(1, round(epochs * per_epoch)) if epochs > 0 else 0


def due(step: int, every: int) -> bool:
    """Whether something that happens every `every` steps happens after `step` steps are done (never for every = 0)."""
    return every > 0 and step > 0 and step % every == 0


def on_time(step: int, steps: int, every: int) -> bool:
    """Whether something that happens every `every` steps, and at the end of `steps`, happens after `step` are done.

    What would fall into the last half of an interval waits for the end, so that two do not crowd there; 0 is the end
    alone.
    """
    return step == steps or (due(step, every) and 2 * (steps - step) >= every)


def times(steps: int, every: int) -> int:
    """For how many steps of a run `on_time` is true, its end included."""
    return 1 + max(0, (2 * steps - every) // (2 * every)) if every > 0 else 1
