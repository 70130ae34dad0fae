"""The compiled loops behind `fused` that place pixels: crop, resize, flips, rotation. `colourkernels` has the rest.

Every function works on one image and touches nothing else. Inner loops run along rows, which LLVM turns into vector
instructions; where it would not, a comment says why the loop looks as it does. Sums may be reordered (`reassoc`), which
vectors need; no other fast maths.

The trap: numba keeps compiled code by the file that a function stands in, and does not see a change of one that it
calls in another file. So no compiled function here calls one there, nor the reverse: `fused` calls both.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]
Counts = NDArray[np.int64]

compiled = njit(nogil=True, cache=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz", "nnan", "ninf"})

ROWS = 16
"""Rows that are resized side by side: as many float32 as the widest vector holds."""


@compiled
def _cubic(d: float) -> float:
    """Keys' cubic, a = -1/2, as in `resample`."""
    if d < 1.0:
        return (1.5 * d - 2.5) * d * d + 1.0
    if d < 2.0:
        return ((-0.5 * d + 2.5) * d - 4.0) * d + 2.0
    return 0.0


@compiled
def filters(length: int, size: int, cubic: bool) -> tuple[Counts, Counts, Floats]:
    """Per output pixel: its first input pixel, how many, and their weights (rows sum to 1)."""
    return some_filters(length, size, 0, size, cubic)


@compiled
def some_filters(length: int, target: int, begin: int, size: int, cubic: bool) -> tuple[Counts, Counts, Floats]:
    """The same for `size` of `target` output pixels, from number `begin` on."""
    scale = length / target
    stretch = max(scale, 1.0)
    support = (2.0 if cubic else 1.0) * stretch
    most = int(np.ceil(2.0 * support)) + 2
    first = np.empty(size, np.int64)
    count = np.empty(size, np.int64)
    weight = np.zeros((size, most), np.float32)
    for i in range(size):
        centre = (begin + i + 0.5) * scale
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


@compiled
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


@compiled
def resize(image: Bytes, box: Counts, mirrored: bool, upended: bool, cubic: bool, out: Floats) -> None:
    """Crop, antialiased resize to S x S, flips: H x 3 W uint8 to 3 x S x S in [0, 1], columns before rows.

    `box`: top, left, height, width in pixels. `mirrored`, `upended`: whether columns, and rows, stand in reverse. The
    result stands on its side (`out[c, x, y]`), which every op after it is indifferent to.
    """
    top, left, height, width = box[0], box[1], box[2], box[3]
    size = out.shape[1]
    y0, yn, yw = filters(height, size, cubic)
    x0, xn, xw = filters(width, size, cubic)
    y0 += top
    _summed(image, y0, yn, yw, x0, xn, xw, 3 * left, 3 * width, mirrored, upended, out)


@compiled
def centre(image: Bytes, rows: int, columns: int, top: int, left: int, cubic: bool, out: Floats) -> None:
    """The part at `top`, `left` of an image resized to `rows` x `columns`, as `resize` has its own; the rest is not
    made."""
    size = out.shape[1]
    y0, yn, yw = some_filters(image.shape[0], rows, top, size, cubic)
    x0, xn, xw = some_filters(image.shape[1] // 3, columns, left, size, cubic)
    begin, end = x0[0], x0[size - 1] + xn[size - 1]
    x0 -= begin
    _summed(image, y0, yn, yw, x0, xn, xw, 3 * begin, 3 * (end - begin), False, False, out)


@compiled
def _summed(
    image: Bytes,
    y0: Counts,
    yn: Counts,
    yw: Floats,
    x0: Counts,
    xn: Counts,
    xw: Floats,
    begin: int,
    span: int,
    mirrored: bool,
    upended: bool,
    out: Floats,
) -> None:
    """Filters of both axes applied to the `span` bytes of the image's rows from `begin` on, where x0 counts from."""
    size = out.shape[1]
    rows = np.zeros((ROWS, span), np.float32)
    turned = np.empty(span * ROWS, np.float32)
    sums = np.empty(3 * ROWS, np.float32)
    zero, one = np.float32(0.0), np.float32(1.0)
    for base in range(0, size, ROWS):
        held = min(ROWS, size - base)
        for i in range(held):
            y = size - 1 - base - i if upended else base + i
            _down(image, y0[y], yn[y], yw[y], begin, begin + span, rows[i])
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
            at = size - 1 - j if mirrored else j
            for c in range(3):
                line, part = out[c, at, base : base + held], sums[c * ROWS : c * ROWS + held]
                for i in range(line.size):
                    line[i] = min(max(part[i], zero), one)


@compiled
def rotate(planes: Floats, cosine: float, sine: float, out: Floats) -> None:
    """As `ops.rotate`, of 3 x S x S planes by one angle; on planes that stand on their side it turns the other way."""
    size = planes.shape[1]
    last = size - 1
    centre = 0.5 * last
    for i in range(size):
        for j in range(size):
            x = cosine * (j - centre) - sine * (i - centre) + centre
            y = sine * (j - centre) + cosine * (i - centre) + centre
            x, y = last - abs(last - abs(x)), last - abs(last - abs(y))
            left, top = min(int(x), last - 1), min(int(y), last - 1)
            along, down = np.float32(x - left), np.float32(y - top)
            for c in range(3):
                upper, lower = planes[c, top], planes[c, top + 1]
                above = upper[left] + along * (upper[left + 1] - upper[left])
                below = lower[left] + along * (lower[left + 1] - lower[left])
                out[c, i, j] = above + down * (below - above)
