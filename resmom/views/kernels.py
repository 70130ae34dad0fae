"""The compiled loops behind `fused`: every function works on one image and touches nothing else.

Inner loops run along rows, which LLVM turns into vector instructions; where it would not, a comment says why the loop
looks as it does. Sums may be reordered (`reassoc`), which vectors need; no other fast maths.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]
Counts = NDArray[np.int64]

_compiled = njit(nogil=True, cache=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz", "nnan", "ninf"})

ROWS = 16
"""Rows that are resized side by side: as many float32 as the widest vector holds."""
PART = 1024


@_compiled
def _cubic(d: float) -> float:
    """Keys' cubic, a = -1/2, as in `resample`."""
    if d < 1.0:
        return (1.5 * d - 2.5) * d * d + 1.0
    if d < 2.0:
        return ((-0.5 * d + 2.5) * d - 4.0) * d + 2.0
    return 0.0


@_compiled
def filters(length: int, size: int, cubic: bool) -> tuple[Counts, Counts, Floats]:
    """Per output pixel: its first input pixel, how many, and their weights (rows sum to 1)."""
    scale = length / size
    stretch = max(scale, 1.0)
    support = (2.0 if cubic else 1.0) * stretch
    most = int(np.ceil(2.0 * support)) + 2
    first = np.empty(size, np.int64)
    count = np.empty(size, np.int64)
    weight = np.zeros((size, most), np.float32)
    for i in range(size):
        centre = (i + 0.5) * scale
        low = max(int(centre - support + 0.5), 0)
        high = min(int(centre + support + 0.5), length)
        total = 0.0
        for k in range(high - low):
            d = abs(low + k + 0.5 - centre) / stretch
            w = _cubic(d) if cubic else max(1.0 - d, 0.0)
            weight[i, k] = w
            total += w
        for k in range(high - low):
            weight[i, k] /= total
        first[i], count[i] = low, high - low
    return first, count, weight


@_compiled
def _down(image: Bytes, first: int, count: int, weight: Floats, begin: int, end: int, row: Floats) -> None:
    """One row of the image resized along its columns, still bytes wide: whole rows are added up, nothing gathered."""
    scale = np.float32(1.0 / 255.0)
    one = image[first, begin:end]
    w = weight[0] * scale
    for x in range(row.size):
        row[x] = w * np.float32(one[x])
    k = 1
    while k + 1 < count:
        one, two = image[first + k, begin:end], image[first + k + 1, begin:end]
        w, v = weight[k] * scale, weight[k + 1] * scale
        for x in range(row.size):
            row[x] += w * np.float32(one[x]) + v * np.float32(two[x])
        k += 2
    if k < count:
        one = image[first + k, begin:end]
        w = weight[k] * scale
        for x in range(row.size):
            row[x] += w * np.float32(one[x])


@_compiled
def resize(image: Bytes, top: int, left: int, height: int, width: int, flip: bool, cubic: bool, out: Floats) -> None:
    """Crop, antialiased resize to S x S, flip: H x 3 W uint8 to 3 x S x S in [0, 1], columns before rows.

    The result stands on its side (`out[c, x, y]`), which every op after it is indifferent to.
    """
    size = out.shape[1]
    y0, yn, yw = filters(height, size, cubic)
    x0, xn, xw = filters(width, size, cubic)
    span = 3 * width
    rows = np.zeros((ROWS, span), np.float32)
    turned = np.empty(span * ROWS, np.float32)
    sums = np.empty(3 * ROWS, np.float32)
    zero, one = np.float32(0.0), np.float32(1.0)
    for base in range(0, size, ROWS):
        held = min(ROWS, size - base)
        for i in range(held):
            _down(image, top + y0[base + i], yn[base + i], yw[base + i], 3 * left, 3 * left + span, rows[i])
        # Along the rows, several rows side by side in one vector: alone, a row's pixels would have to be gathered.
        for x in range(span):
            to = turned[x * ROWS : (x + 1) * ROWS]
            for i in range(ROWS):
                to[i] = rows[i, x]
        for j in range(size):
            start = 3 * x0[j] * ROWS
            own = turned[start : start + 3 * ROWS]
            w = xw[j, 0]
            for i in range(3 * ROWS):
                sums[i] = w * own[i]
            for k in range(1, xn[j]):
                w = xw[j, k]
                own = turned[start + 3 * k * ROWS : start + 3 * (k + 1) * ROWS]
                for i in range(3 * ROWS):
                    sums[i] += w * own[i]
            at = size - 1 - j if flip else j
            for c in range(3):
                line, part = out[c, at, base : base + held], sums[c * ROWS : c * ROWS + held]
                for i in range(line.size):
                    line[i] = min(max(part[i], zero), one)


@_compiled
def brightness(r: Floats, g: Floats, b: Floats, factor: float) -> None:
    """As `ops.brightness`, in place, on three planes."""
    one = np.float32(1.0)
    for x in range(r.size):
        r[x] = min(r[x] * factor, one)
        g[x] = min(g[x] * factor, one)
        b[x] = min(b[x] * factor, one)


@_compiled
def contrast(r: Floats, g: Floats, b: Floats, factor: float) -> None:
    """As `ops.contrast`, in place."""
    zero, one = np.float32(0.0), np.float32(1.0)
    lr, lg, lb = np.float32(0.2989), np.float32(0.587), np.float32(0.114)
    total = 0.0
    for start in range(0, r.size, PART):  # sums of parts keep the rounding below that of one running float32
        pr, pg, pb = r[start : start + PART], g[start : start + PART], b[start : start + PART]
        part = np.float32(0.0)
        for x in range(pr.size):
            part += lr * pr[x] + lg * pg[x] + lb * pb[x]
        total += part  # type: ignore[assignment]
    add = np.float32(total / r.size * (1.0 - factor))
    for x in range(r.size):
        r[x] = min(max(r[x] * factor + add, zero), one)
        g[x] = min(max(g[x] * factor + add, zero), one)
        b[x] = min(max(b[x] * factor + add, zero), one)


@_compiled
def saturation(r: Floats, g: Floats, b: Floats, factor: float) -> None:
    """As `ops.saturation`, in place."""
    zero, one = np.float32(0.0), np.float32(1.0)
    lr, lg, lb = np.float32(0.2989), np.float32(0.587), np.float32(0.114)
    rest = one - factor
    for x in range(r.size):
        add = rest * (lr * r[x] + lg * g[x] + lb * b[x])
        r[x] = min(max(r[x] * factor + add, zero), one)
        g[x] = min(max(g[x] * factor + add, zero), one)
        b[x] = min(max(b[x] * factor + add, zero), one)


@_compiled
def hue(r: Floats, g: Floats, b: Floats, shift: float) -> None:
    """The circle of HSV without branches, as `ops.hue`: the selections below become masks."""
    zero, one, two, three, four, six = (
        np.float32(0.0),
        np.float32(1.0),
        np.float32(2.0),
        np.float32(3.0),
        np.float32(4.0),
        np.float32(6.0),
    )
    turn = six * shift
    for x in range(r.size):
        red, green, blue = r[x], g[x], b[x]
        high = max(max(red, green), blue)
        low = min(min(red, green), blue)
        chroma = high - low
        scale = one / (chroma if chroma > zero else one)
        angle = (red - green) * scale + four
        angle = (blue - red) * scale + two if high == green else angle
        angle = (green - blue) * scale if high == red else angle
        angle += turn
        angle -= np.floor(angle / six) * six
        red = abs(angle - three) - one
        green = two - abs(angle - two)
        blue = two - abs(angle - four)
        r[x] = min(max(red, zero), one) * chroma + low
        g[x] = min(max(green, zero), one) * chroma + low
        b[x] = min(max(blue, zero), one) * chroma + low


@_compiled
def _smooth(values: Floats, centre: int, step: int, taps: Floats, row: Floats) -> None:
    """row[x] = sum over k of taps[|k|] * values[centre + k * step + x], two pairs of taps at a time."""
    n = row.size
    own = values[centre : centre + n]
    w = taps[0]
    for x in range(n):
        row[x] = w * own[x]
    k = 1
    while k + 1 < taps.size:
        w, v = taps[k], taps[k + 1]
        a, b = values[centre - k * step : centre - k * step + n], values[centre + k * step : centre + k * step + n]
        k += 1
        c, d = values[centre - k * step : centre - k * step + n], values[centre + k * step : centre + k * step + n]
        for x in range(n):
            row[x] += w * (a[x] + b[x]) + v * (c[x] + d[x])
        k += 1
    if k < taps.size:
        w = taps[k]
        a, b = values[centre - k * step : centre - k * step + n], values[centre + k * step : centre + k * step + n]
        for x in range(n):
            row[x] += w * (a[x] + b[x])


@_compiled
def blur(plane: Floats, taps: Floats, out: Floats) -> None:
    """Gaussian blur of one S x S plane, mirrored at the border (the border pixel not repeated)."""
    size, radius = plane.shape[0], taps.size - 1
    last = size - 1
    padded = np.empty((size + 2 * radius, size), np.float32)
    for i in range(-radius, size + radius):
        to, own = padded[i + radius], plane[last - abs(last - abs(i))]
        for x in range(size):
            to[x] = own[x]
    values = padded.reshape(-1)
    line = np.empty(size + 2 * radius, np.float32)
    centre = line[radius : radius + size]
    for i in range(size):
        _smooth(values, (i + radius) * size, size, taps, centre)
        for k in range(1, radius + 1):
            line[radius - k] = line[radius + k]
            line[radius + last + k] = line[radius + last - k]
        _smooth(line, radius, 1, taps, out[i])


@_compiled
def _write(r: Floats, g: Floats, b: Floats, scale: Floats, shift: Floats, out: Floats) -> None:
    """Normalise and set upright: three planes on their sides to S x 3 S, channels last."""
    s0, s1, s2, t0, t1, t2 = scale[0], scale[1], scale[2], shift[0], shift[1], shift[2]
    size = r.shape[0]
    for top in range(0, size, ROWS):  # in tiles, or every pixel read would touch another line of the cache
        for left in range(0, size, ROWS):
            right = min(left + ROWS, size)
            for i in range(top, min(top + ROWS, size)):
                row = out[i, 3 * left : 3 * right]
                for j in range(right - left):
                    row[3 * j] = r[left + j, i] * s0 + t0
                    row[3 * j + 1] = g[left + j, i] * s1 + t1
                    row[3 * j + 2] = b[left + j, i] * s2 + t2


@_compiled
def render(
    image: Bytes,
    top: int,
    left: int,
    height: int,
    width: int,
    flip: bool,
    cubic: bool,
    jitter: bool,
    factors: Floats,
    order: Counts,
    grey: bool,
    taps: Floats,
    solarise: bool,
    scale: Floats,
    shift: Floats,
    work: Floats,
    out: Floats,
) -> None:
    """One view of one image: H x 3 W uint8 to S x 3 S, normalised. `work`: 2 x 3 x S x S floats to write in."""
    planes, spare = work[0], work[1]
    resize(image, top, left, height, width, flip, cubic, planes)
    r, g, b = planes[0].reshape(-1), planes[1].reshape(-1), planes[2].reshape(-1)
    if jitter:
        for turn in range(4):
            op = order[turn]
            if op == 0:
                brightness(r, g, b, factors[0])
            elif op == 1:
                contrast(r, g, b, factors[1])
            elif op == 2:
                saturation(r, g, b, factors[2])
            else:
                hue(r, g, b, factors[3])
    if grey:
        lr, lg, lb = np.float32(0.2989), np.float32(0.587), np.float32(0.114)
        for x in range(r.size):
            r[x] = lr * r[x] + lg * g[x] + lb * b[x]
    count = 1 if grey else 3
    if taps.size > 0:
        for c in range(count):
            blur(planes[c], taps, spare[c])
        planes = spare
    if solarise:
        one = np.float32(1.0)
        for c in range(count):
            flat = planes[c].reshape(-1)
            for x in range(flat.size):
                flat[x] = min(flat[x], one - flat[x])
    second, third = (0, 0) if grey else (1, 2)
    _write(planes[0], planes[second], planes[third], scale, shift, out)
