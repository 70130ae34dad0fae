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


def moco(q: Vector, k: Vector, queue: Vector, temperature: float) -> float:
    """arXiv 1911.05722, Eq. 1: -log of the own key's share among it and the queue, averaged over queries."""
    total = 0.0
    for i in range(len(q)):
        shares = softmax(np.array([cos(q[i], x) / temperature for x in [k[i], *queue]]))
        total -= math.log(shares[0])
    return total / len(q)


def densecl(
    q: Vector, k: Vector, f_q: Vector, f_k: Vector, r: Vector, t: Vector, queues: tuple[Vector, Vector], weights: Vector
) -> float:
    """arXiv 2011.09157, sections 3.3 and 3.4, with temperature .2: maps f, r and t are image x channel x place."""
    total, places = 0.0, range(f_q.shape[2])
    for n in range(len(q)):
        total += weights[0] * moco(q[n : n + 1], k[n : n + 1], queues[0], 0.2) / len(q)
        for i in places:
            c = max(places, key=lambda j, n=n, i=i: cos(f_q[n, :, i], f_k[n, :, j]))
            dense = moco(r[n, :, i][None], t[n, :, c][None], queues[1], 0.2)
            total += weights[1] * dense / (len(q) * len(places))
    return total


def byol(p1: Vector, p2: Vector, z1: Vector, z2: Vector) -> float:
    """arXiv 2006.07733, Eq. 2, symmetrised: the squared distance of the unit vectors, averaged over images."""
    total = 0.0
    for p, z in ((p1, z2), (p2, z1)):
        for a, b in zip(p, z, strict=True):
            difference = a / np.linalg.norm(a) - b / np.linalg.norm(b)
            total += float(difference @ difference) / len(p)
    return total


def dino(
    students: list[Vector], teachers: list[Vector], centre: Vector, student_temperature: float, temperature: float
) -> float:
    """arXiv 2104.14294, Eq. 3: H(P_t(x), P_s(x')), averaged over both global x, all x' != x, and images."""
    total, count = 0.0, 0
    for i, t in enumerate(teachers):
        for j, s in enumerate(students):
            if i == j:
                continue
            count += 1
            for a, b in zip(t, s, strict=True):
                target, guess = softmax((a - centre) / temperature), softmax(b / student_temperature)
                total -= sum(x * math.log(y) for x, y in zip(target, guess, strict=True)) / len(t)
    return total / count


def ibot(
    students: list[Vector], teachers: list[Vector], masks: list[NDArray[np.bool_]], centre: Vector, temperature: float
) -> float:
    """arXiv 2111.07832, Eq. 2: H(P_t(u), P_s(masked u)) of hidden patches, averaged over these, images and views.

    Logits are images x places x prototypes, masks images x places; the student's temperature is .1.
    """
    total = 0.0
    for s, t, mask in zip(students, teachers, masks, strict=True):
        for i in range(len(s)):
            hidden = [place for place in range(len(mask[i])) if mask[i][place]]
            for place in hidden:
                target, guess = softmax((t[i, place] - centre) / temperature), softmax(s[i, place] / 0.1)
                entropy = -sum(x * math.log(y) for x, y in zip(target, guess, strict=True))
                total += entropy / len(hidden) / len(s) / len(students)
    return total


def sinkhorn(logits: Vector, temperature: float, rounds: int = 3) -> Vector:
    """arXiv 2006.09882, appendix A: Q = exp(scores / eps), made to sum to 1; then in turns every prototype is given
    1/K of the mass and every sample 1/B; in the end each sample's row sums to 1. `logits`: samples x prototypes."""
    samples, prototypes = logits.shape
    q = [[math.exp(logits[b, k] / temperature) for b in range(samples)] for k in range(prototypes)]
    mass = sum(map(sum, q))
    q = [[x / mass for x in row] for row in q]
    for _ in range(rounds):
        for k in range(prototypes):
            total = sum(q[k])
            q[k] = [x / (total * prototypes) for x in q[k]]
        for b in range(samples):
            total = sum(q[k][b] for k in range(prototypes))
            for k in range(prototypes):
                q[k][b] /= total * samples
    return np.array([[q[k][b] * samples for k in range(prototypes)] for b in range(samples)])


def koleo(h: Vector) -> float:
    """arXiv 1806.03198, Eq. 2, of rows at unit length: -1/n sum_i log(min over j != i of |h_i - h_j|)."""
    unit = [row / math.sqrt(sum(x * x for x in row)) for row in h]
    nearest = [
        min(math.sqrt(sum((x - y) ** 2 for x, y in zip(a, b, strict=True))) for j, b in enumerate(unit) if j != i)
        for i, a in enumerate(unit)
    ]
    return -sum(map(math.log, nearest)) / len(nearest)


def assigned(targets: Vector, logits: Vector) -> Vector:
    """H(target, softmax(logits / .1)) of every row."""
    rows = []
    for target, guess in zip(targets, logits, strict=True):
        rows.append(-sum(x * math.log(y) for x, y in zip(target, softmax(guess / 0.1), strict=True)))
    return np.array(rows)


def block_mask(
    numbers: list[float], rows: int, columns: int, masks: tuple[float, float, float, float], smallest: int = 0
) -> Vector:
    """Blockwise masking (arXiv 2106.08254, Algorithm 1, with iBOT's range of ratios), block after block, out of numbers
    uniform on [0, 1): whether and how much, two unused, then four a try. `masks`: ratio, spread, share, log aspect."""
    ratio, spread, share, aspect = masks
    mask = np.zeros((rows, columns))
    if numbers[0] >= share:
        return mask
    most = (ratio - spread + 2 * spread * numbers[1]) * rows * columns
    position, failed = 4, 0
    while mask.sum() < most and failed < 10:
        area, shape, down, along = numbers[position : position + 4]
        position += 4
        left, least = most - mask.sum(), smallest or (min(rows, columns) // 3) ** 2
        size, stretch = least + (left - least) * area, math.exp(aspect * (2 * shape - 1))
        h, w = round(math.sqrt(size * stretch)), round(math.sqrt(size / stretch))
        failed += 1
        if h >= rows or w >= columns:
            continue
        top, start = int(down * (rows - h + 1)), int(along * (columns - w + 1))
        places = [(r, c) for r in range(top, top + h) for c in range(start, start + w) if not mask[r, c]]
        if 0 < len(places) <= left:
            failed = 0
            for r, c in places:
                mask[r, c] = 1
    return mask


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
    """One LARS update of one tensor: (weight, velocity). arXiv 1708.03888, Algorithm 1, in its public forms."""
    if w.ndim > 1 or form == "paper":
        norm_w, norm_g = math.sqrt((w * w).sum()), math.sqrt((g * g).sum())
        if form == "mocov3":
            g = g + decay * w
            norm = math.sqrt((g * g).sum())
            g = g * (trust * norm_w / norm if norm_w > 0 and norm > 0 else 1.0)
        elif norm_w > 0 and norm_g > 0:
            rate = trust * norm_w / (norm_g + decay * norm_w + 1e-8)
            g = (g + decay * w) * (rate if form == "paper" else min(rate / lr, 1.0))
    v = momentum * v + g
    return w - lr * v, v


def simsiam(p1: Vector, p2: Vector, z1: Vector, z2: Vector) -> float:
    """arXiv 2011.10566, Eq. 2: D(p1, z2) / 2 + D(p2, z1) / 2, where D is -cos (Eq. 1), averaged over images."""
    total = 0.0
    for i in range(len(p1)):
        total += -0.5 * cos(p1[i], z2[i]) - 0.5 * cos(p2[i], z1[i])
    return total / len(p1)


def simclr(z1: Vector, z2: Vector, temperature: float) -> float:
    """arXiv 2002.05709, Eq. 1: over all 2N outputs, each against its partner among the 2N - 1 others."""
    z = [*z1, *z2]
    n, total = len(z1), 0.0
    for i in range(2 * n):
        j = (i + n) % (2 * n)
        shares = sum(math.exp(cos(z[i], z[k]) / temperature) for k in range(2 * n) if k != i)
        total -= math.log(math.exp(cos(z[i], z[j]) / temperature) / shares)
    return total / (2 * n)


def _column(z: Vector, i: int) -> tuple[float, float]:
    """Mean, and sum of squares about it."""
    mean = sum(z[:, i]) / len(z)
    return mean, sum((x - mean) ** 2 for x in z[:, i])


def barlow(z1: Vector, z2: Vector, lambd: float, scale: float) -> float:
    """arXiv 2103.03230, Eq. 1 and 2, with BatchNorm's 1e-5 beside each variance, as the authors' code has it."""
    n, d = z1.shape
    total = 0.0
    for i in range(d):
        for j in range(d):
            (m1, s1), (m2, s2) = _column(z1, i), _column(z2, j)
            c = sum((z1[b, i] - m1) * (z2[b, j] - m2) for b in range(n)) / n
            c /= math.sqrt(s1 / n + 1e-5) * math.sqrt(s2 / n + 1e-5)
            total += (1 - c) ** 2 if i == j else lambd * c**2
    return scale * total


def vicreg(z1: Vector, z2: Vector, lambd: float, mu: float, nu: float) -> float:
    """arXiv 2105.04906, Eq. 1 to 6, with the invariance averaged over dimensions as in Algorithm 1."""
    n, d = z1.shape
    total = lambd * sum((x - y) ** 2 for x, y in zip(z1.ravel(), z2.ravel(), strict=True)) / (n * d)
    for z in (z1, z2):
        for i in range(d):
            mean, squares = _column(z, i)
            total += mu * max(0.0, 1 - math.sqrt(squares / (n - 1) + 1e-4)) / d
            for j in range(d):
                other, _ = _column(z, j)
                c = sum((z[b, i] - mean) * (z[b, j] - other) for b in range(n)) / (n - 1)
                total += nu * c**2 / d if i != j else 0.0
    return total


def mean_shift(p: Vector, z: Vector, bank: Vector, k: int) -> float:
    """arXiv 2105.07269, section 3: squared distance of a prediction to the k members nearest to its target."""
    total = 0.0
    for a, b in zip(p, z, strict=True):
        for near in sorted(bank, key=lambda m, b=b: cos(b, m), reverse=True)[:k]:
            difference = a / np.linalg.norm(a) - near / np.linalg.norm(near)
            total += float(difference @ difference) / k
    return total / len(p)


def nnclr_ema(p1: Vector, p2: Vector, z1: Vector, z2: Vector, queue: Vector, first: int, temperature: float) -> float:
    """The momentum form of NNCLR: predictions against the neighbours of the teacher's projections z of all images."""
    nearest = [np.array([max(queue, key=lambda q, v=v: cos(v, q)) for v in z]) for z in (z1, z2)]
    return 0.5 * info_nce(p2, nearest[0], first, temperature) + 0.5 * info_nce(p1, nearest[1], first, temperature)


def nnclr(z1: Vector, z2: Vector, p1: Vector, p2: Vector, queue: Vector, temperature: float) -> float:
    """arXiv 2104.14548, Algorithm 1: each z's neighbour in the queue against all predictions of the other view."""
    nearest = [np.array([max(queue, key=lambda q, v=v: cos(v, q)) for v in z]) for z in (z1, z2)]
    return 0.5 * info_nce(nearest[0], p2, 0, temperature) + 0.5 * info_nce(nearest[1], p1, 0, temperature)
