"""Measures of a representation that need no labels: is it constant, does it use its room, does it know its images?

Features are rows, one per image. All is computed in float64 whatever comes in, without gradient. A feature that is not
finite has no health: every measure is then NaN. A row of zeros has no direction; it stays a row of zeros.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

_CELLS = 1 << 22
"""Similarities held at once (32 MiB), whatever the number of images."""


def feature_sd(h: Float[Tensor, "n d"]) -> float:
    """Spread of the directions, in [0, 1]: sqrt(d) x the mean over the d dimensions of the standard deviation over the
    images of h / |h|; NaN for no images.

    1: the directions are spread evenly around 0; 0: all images have the same one (collapse). Chen and He 2021, SimSiam
    (arXiv 2011.10566, section 4.1), times sqrt(d) so that widths compare. A deviation is from the mean, so the common
    direction of features after a ReLU counts for nothing, but it leaves less room: their healthy values lie well below
    1. The features themselves are not centred first: what little is left of a collapsed representation would be blown
    up to a healthy one.
    """
    if h.numel() == 0 or not _finite(h):
        return math.nan
    return math.sqrt(h.shape[1]) * _unit(h).std(0, correction=0).mean().item()


def rankme(h: Float[Tensor, "n d"]) -> float:
    """Effective number of dimensions, in [1, min(n, d)]: exp of the entropy of the singular values over their sum.

    Garrido et al. 2023, RankMe (arXiv 2210.02885, equation 1), with 0 log 0 = 0 in place of their 1e-7. As there, the
    features are not centred: collapse to a point gives 1. After a ReLU the mean of the features then takes one large
    singular value, so values are far below the width by nature; compare a network with its own start. 0 if all features
    are 0 or there are none.
    """
    if not _finite(h):
        return math.nan
    if h.numel() == 0 or not h.any():
        return 0.0
    h = h.detach().double()
    values = torch.linalg.svdvals(h / h.abs().max())  # the scale is free, and the squares inside cannot overflow
    entropy: float = torch.special.entr(values / values.sum()).sum().item()
    return math.exp(entropy)


def alignment(first: Float[Tensor, "n d"], second: Float[Tensor, "n d"]) -> float:
    """Mean squared distance of the two views of an image on the unit sphere, in [0, 4]; NaN for no images.

    Wang and Isola 2020 (arXiv 2005.10242), equation 4 with alpha = 2. 0 is perfect, and what collapse has too.
    """
    if first.numel() == 0 or not (_finite(first) and _finite(second)):
        return math.nan
    return (_unit(first) - _unit(second)).square().sum(1).mean().item()


def uniformity(h: Float[Tensor, "n d"]) -> float:
    """log of the mean of exp(-2 x squared distance) over all pairs of different images on the unit sphere, <= 0.

    Wang and Isola 2020 (arXiv 2005.10242), equation 5 with t = 2. 0: all at one point; -4: all orthogonal; the least
    possible is a little below that. NaN for fewer than two images. O(n) memory beside a bounded block.
    """
    n = len(h)
    if n < 2 or not _finite(h):
        return math.nan
    unit = _unit(h)
    squares = unit.square().sum(1)  # 1, or 0 for a row of zeros
    total = 0.0
    for start in range(0, n, _block(n)):
        part = slice(start, min(start + _block(n), n))
        apart = (squares[part, None] + squares - 2.0 * unit[part] @ unit.T).clamp(min=0.0)
        total += (-2.0 * apart).exp().sum().item()
    return math.log((total - n) / (n * (n - 1)))  # the n pairs of an image with itself are 1 each


def retrieval(first: Float[Tensor, "n d"], second: Float[Tensor, "n d"]) -> float:
    """Percent of the images whose first view is nearer, by cosine, to its own second view than to any other's.

    Nearer means strictly: of equally near ones none is found, so constant features find nothing. Chance is 100 / n.
    Instance discrimination as a test (Wu et al. 2018, arXiv 1805.01978, train on it). NaN for no images.
    """
    n = len(first)
    if n == 0 or not (_finite(first) and _finite(second)):
        return math.nan
    asked, known = _unit(first), _unit(second)
    found = 0
    for start in range(0, n, _block(n)):
        rows = torch.arange(start, min(start + _block(n), n), device=first.device)
        similarity = asked[rows] @ known.T
        place = torch.arange(len(rows), device=first.device)
        own = similarity[place, rows]
        similarity[place, rows] = -math.inf
        found += int((own > similarity.amax(1)).sum())
    return 100.0 * found / n


def _block(n: int) -> int:
    return max(1, _CELLS // n)


def _finite(x: Tensor) -> bool:
    return bool(x.isfinite().all())


def _unit(x: Tensor) -> Tensor:
    """Rows of length 1, in float64, without gradient, however short they were; a row of zeros stays one."""
    return F.normalize(x.detach().double(), dim=1, eps=1e-300)
