"""The papers' formulas as slow NumPy loops over single vectors: what every loss is tested against."""

import math

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]


def cos(a: Vector, b: Vector) -> float:
    return float(sum(x * y for x, y in zip(a, b, strict=True)) / math.sqrt(sum(a * a)) / math.sqrt(sum(b * b)))


def softmax(x: Vector) -> Vector:
    e = [math.exp(v - max(x)) for v in x]
    return np.array([v / sum(e) for v in e])


def info_nce(q: Vector, k: Vector, first: int, temperature: float) -> float:
    """-log of the positive's share, averaged over queries (arXiv 1807.03748, Eq. 4)."""
    total = 0.0
    for i in range(len(q)):
        shares = softmax(np.array([cos(q[i], k[j]) / temperature for j in range(len(k))]))
        total -= math.log(shares[first + i])
    return total / len(q)


def mocov3(q1: Vector, q2: Vector, k1: Vector, k2: Vector, temperature: float) -> float:
    """arXiv 2104.02057, Algorithm 1: ctr(q1, k2) + ctr(q2, k1), each 2 tau times a cross-entropy."""
    return 2 * temperature * (info_nce(q1, k2, 0, temperature) + info_nce(q2, k1, 0, temperature))


def byol(p1: Vector, p2: Vector, z1: Vector, z2: Vector) -> float:
    """arXiv 2006.07733, Eq. 2, symmetrised: the squared distance of the unit vectors, averaged over images."""
    total = 0.0
    for p, z in ((p1, z2), (p2, z1)):
        for a, b in zip(p, z, strict=True):
            difference = a / np.linalg.norm(a) - b / np.linalg.norm(b)
            total += float(difference @ difference) / len(p)
    return total


def cosine_distance(a: Vector, b: Vector) -> float:
    return sum(1 - cos(x, y) for x, y in zip(a, b, strict=True)) / len(a)


def mse(a: Vector, b: Vector) -> float:
    return float(sum((x - y) ** 2 for x, y in zip(a.ravel(), b.ravel(), strict=True)) / a.size)


def kd_feature(s: Vector, t: Vector, t_s: float, t_t: float) -> float:
    """Cross-entropy of softmaxes over the vectors' dimensions (Hinton et al. 2015, arXiv 1503.02531)."""
    total = 0.0
    for a, b in zip(s, t, strict=True):
        p, q = softmax(b / t_t), softmax(a / t_s)
        total -= sum(x * math.log(y) for x, y in zip(p, q, strict=True))
    return total / len(s)


def kd_relation(s: Vector, t: Vector, bank: Vector, t_s: float, t_t: float) -> float:
    """Cross-entropy of softmaxes over cosine similarities to a bank of keys."""
    total = 0.0
    for a, b in zip(s, t, strict=True):
        p = softmax(np.array([cos(b, k) for k in bank]) / t_t)
        q = softmax(np.array([cos(a, k) for k in bank]) / t_s)
        total -= sum(x * math.log(y) for x, y in zip(p, q, strict=True))
    return total / len(s)


def lars_step(
    w: Vector, g: Vector, v: Vector, lr: float, decay: float, momentum: float, trust: float, form: str
) -> tuple[Vector, Vector]:
    """One LARS update of one tensor: (weight, velocity). arXiv 1708.03888, Algorithm 1, in both public forms."""
    if w.ndim > 1:
        norm_w, norm_g = math.sqrt((w * w).sum()), math.sqrt((g * g).sum())
        if form == "mocov3":
            g = g + decay * w
            norm = math.sqrt((g * g).sum())
            g = g * (trust * norm_w / norm if norm_w > 0 and norm > 0 else 1.0)
        elif norm_w > 0 and norm_g > 0:
            rate = trust * norm_w / (norm_g + decay * norm_w + 1e-8)
            g = (g + decay * w) * min(rate / lr, 1.0)
    v = momentum * v + g
    return w - lr * v, v


def simsiam(p1: Vector, p2: Vector, z1: Vector, z2: Vector) -> float:
    """arXiv 2011.10566, Eq. 2: D(p1, z2) / 2 + D(p2, z1) / 2, where D is -cos (Eq. 1), averaged over images."""
    total = 0.0
    for i in range(len(p1)):
        total += -0.5 * cos(p1[i], z2[i]) - 0.5 * cos(p2[i], z1[i])
    return total / len(p1)
