"""How large a difference of two shares may be by chance alone: shares of images, in percent."""

import math
import re

Both = tuple[float, float]
"""A number of one network, or time, and the same of another."""

NOISE = 2.0
"""Standard errors up to which a difference tells nothing: one of twenty is larger by chance alone."""


def standard_error(percentages: Both, images: int) -> float:
    """Of the difference of two accuracies in percent, each counted on so many images: binomial, as if independent.

    Both networks see the same images, which makes the true one smaller as a rule.
    """
    return math.sqrt(sum(p * (100.0 - p) for p in percentages) / images)


def noise(percentages: Both, images: int) -> float:
    """Percentage points up to which two accuracies may differ by chance: `NOISE` standard errors."""
    return NOISE * standard_error(percentages, images)


def noise_words(points: float, images: int) -> str:
    """How large the noise is, and where that comes from."""
    return (
        f"the noise of {points:.2f} points (two standard errors of the difference: binomial, {images} images, as if "
        "each network had seen its own)"
    )


def images_of(protocol: str) -> int | None:
    """The number of images that a share was counted on, as the text of its protocol says; None if it does not."""
    found = re.search(r"queries (\d+)|(\d+) training images", protocol)
    return int(found[1] or found[2]) if found else None
