"""Colours for the classes of a mask: as far apart as may be, also for those who see fewer colours.

Each new colour is the one farthest from all before it, its distance to another the smallest of those that people
without red, green or blue cones see and of half of what normal sight sees, which tells more apart. Oklab: B. Ottosson
2020. Sight: Machado, Oliveira, Fernandes 2009, IEEE TVCG 15(6), severity 1.
"""

from functools import cache

import numpy as np
from jaxtyping import Float

from resmom.report.colours import oklch

MOST = 40
"""So many colours there are; further classes begin anew."""
VOID = ("#8c8c8c", "#4a4a4a")
"""The stripes of pixels that count for nothing."""

Colours = Float[np.ndarray, "n 3"]

SIGHTS = np.array([
    np.eye(3),
    [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
])  # fmt: skip
"""Linear RGB to what is left of it: normal, protanopia, deuteranopia, tritanopia."""
WEIGHTS = np.array([0.5, 1.0, 1.0, 1.0])

_TO_LMS = np.array([
    [0.4122214708, 0.5363325363, 0.0514459929],
    [0.2119034982, 0.6806995451, 0.1073969566],
    [0.0883024619, 0.2817188376, 0.6299787005],
])  # fmt: skip
_TO_LAB = np.array([
    [0.2104542553, 0.7936177850, -0.0040720468],
    [1.9779984951, -2.4285922050, 0.4505937099],
    [0.0259040371, 0.7827717662, -0.8086757660],
])  # fmt: skip


def class_colour(number: int) -> str:
    """The colour of a class, as #rrggbb."""
    return _chosen()[number % MOST]


def distance(one: str, other: str) -> float:
    """How far apart two colours look in Oklab, to those who see them least apart; to normal sight black and white are
    .5 apart."""
    a, b = (_seen(_linear([colour])) for colour in (one, other))
    return float(_apart(a, b)[0])


@cache
def _chosen() -> list[str]:
    candidates = [
        oklch(lightness, chroma, hue)
        for lightness in (0.42, 0.52, 0.62, 0.72, 0.82, 0.92)
        for chroma in (0.09, 0.14, 0.19)
        for hue in range(0, 360, 15)
    ]
    seen = _seen(_linear(candidates))
    # Away from the stripes of void, too.
    near = np.full(len(candidates), np.inf)
    for grey in VOID:
        near = np.minimum(near, _apart(seen, _seen(_linear([grey]))))
    found: list[str] = []
    for _ in range(MOST):
        best = int(near.argmax())
        found.append(candidates[best])
        near = np.minimum(near, _apart(seen, seen[:, best : best + 1]))
    return found


def _apart(seen: Float[np.ndarray, "sights n 3"], other: Float[np.ndarray, "sights 1 3"]) -> Float[np.ndarray, " n"]:
    apart: Float[np.ndarray, " n"] = (WEIGHTS[:, None] * np.sqrt(((seen - other) ** 2).sum(-1))).min(0)
    return apart


def _seen(linear: Colours) -> Float[np.ndarray, "sights n 3"]:
    """Oklab of linear RGB, for each of `SIGHTS`."""
    left = np.clip(np.einsum("sij,nj->sni", SIGHTS, linear), 0, 1)
    lab: Float[np.ndarray, "sights n 3"] = np.cbrt(left @ _TO_LMS.T) @ _TO_LAB.T
    return lab


def _linear(colours: list[str]) -> Colours:
    encoded = np.array([[int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)] for colour in colours])
    linear: Colours = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    return linear
