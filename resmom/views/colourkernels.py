"""The compiled loops behind `fused` that change colours, blur, normalise and write. See `kernels` for how they look."""

import numpy as np

from resmom.views.kernels import ROWS, Counts, Floats, compiled

PART = 1024
"""Pixels of a sum in one running float32."""


@compiled
def brightness(r: Floats, g: Floats, b: Floats, factor: float) -> None:
    """As `ops.brightness`, in place, on three planes."""
    one = np.float32(1.0)
    for x in range(r.size):
        r[x] = min(r[x] * factor, one)
        g[x] = min(g[x] * factor, one)
        b[x] = min(b[x] * factor, one)


@compiled
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


@compiled
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


@compiled
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


@compiled
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


@compiled
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


@compiled
def _write(r: Floats, g: Floats, b: Floats, transposed: bool, scale: Floats, shift: Floats, out: Floats) -> None:
    """Normalise and set upright: three planes on their sides to S x 3 S, channels last.

    `transposed`: rows have become columns, so that on their sides they stand as they should.
    """
    s0, s1, s2, t0, t1, t2 = scale[0], scale[1], scale[2], shift[0], shift[1], shift[2]
    size = r.shape[0]
    if transposed:
        for i in range(size):
            row, red, green, blue = out[i], r[i], g[i], b[i]
            for j in range(size):
                row[3 * j] = red[j] * s0 + t0
                row[3 * j + 1] = green[j] * s1 + t1
                row[3 * j + 2] = blue[j] * s2 + t2
        return
    for top in range(0, size, ROWS):  # in tiles, or every pixel read would touch another line of the cache
        for left in range(0, size, ROWS):
            right = min(left + ROWS, size)
            for i in range(top, min(top + ROWS, size)):
                row = out[i, 3 * left : 3 * right]
                for j in range(right - left):
                    row[3 * j] = r[left + j, i] * s0 + t0
                    row[3 * j + 1] = g[left + j, i] * s1 + t1
                    row[3 * j + 2] = b[left + j, i] * s2 + t2


@compiled
def finish(
    planes: Floats,
    spare: Floats,
    jitter: bool,
    factors: Floats,
    order: Counts,
    grey: bool,
    taps: Floats,
    solarise: bool,
    transposed: bool,
    scale: Floats,
    shift: Floats,
    out: Floats,
) -> None:
    """All that comes after the pixels are in their places: 3 x S x S planes on their sides to S x 3 S, normalised.

    `spare`: as many floats to write in; the planes are overwritten.
    """
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
    _write(planes[0], planes[second], planes[third], transposed, scale, shift, out)
