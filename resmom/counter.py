"""Random numbers as a pure function of (seed, epoch, image, view): a counter-based generator.

Philox4x32-10 of Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC 2011), vectorised over the counter.
There is no state to save, to ship to workers or to lose: whoever knows the counter knows the number, on every machine.
"""

import numpy as np
from numpy.typing import NDArray

_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_WEYL = (np.uint64(0x9E3779B9), np.uint64(0xBB67AE85))
_LOW = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)
_ROUNDS = 10

Words = NDArray[np.uint64]


def philox4x32(counter: tuple[Words, Words, Words, Words], key: tuple[int, int]) -> tuple[Words, Words, Words, Words]:
    """The Philox4x32-10 block function on arrays of counters.

    `counter`: four arrays of one shape, `key`: two integers, all of 32-bit value. Returns four arrays of that shape,
    each uniform on [0, 2^32). Matches the known-answer vectors that the authors publish with their Random123 library.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = np.uint64(key[0]), np.uint64(key[1])
    for _ in range(_ROUNDS):
        first, second = _MULTIPLIERS[0] * c0, _MULTIPLIERS[1] * c2
        c0, c1, c2, c3 = (second >> _SHIFT) ^ c1 ^ k0, second & _LOW, (first >> _SHIFT) ^ c3 ^ k1, first & _LOW
        k0, k1 = (k0 + _WEYL[0]) & _LOW, (k1 + _WEYL[1]) & _LOW
    return c0, c1, c2, c3


def uniforms(seed: int, epoch: int, index: NDArray[np.int64], stream: int, n: int) -> NDArray[np.float64]:
    """`n` uniform numbers in [0, 1) for each of the images `index`, as an (N, n) array.

    `stream` separates independent uses of the same image in the same epoch (the number of the view, say). The numbers
    of one image do not depend on which other images stand beside it. `index` may reach 2^63, `seed` and `epoch` 2^32.
    """
    if not (0 <= seed < 2**32 and 0 <= epoch < 2**32 and 0 <= stream < 2**16):
        raise ValueError(f"seed and epoch must be in [0, 2^32), stream in [0, 2^16); got {seed}, {epoch}, {stream}")
    blocks = -(-n // 4)
    images = np.repeat(index.astype(np.uint64)[:, None], blocks, axis=1)
    position = np.broadcast_to(np.arange(blocks, dtype=np.uint64) + (np.uint64(stream) << np.uint64(16)), images.shape)
    zero = np.zeros_like(images)
    words = philox4x32((images & _LOW, images >> _SHIFT, position, zero), (seed, epoch))
    return np.stack(words, axis=-1).reshape(len(index), blocks * 4)[:, :n] / 2.0**32


def permutation(seed: int, epoch: int, n: int) -> NDArray[np.int64]:
    """A uniform random order of 0 … n-1 that depends on (seed, epoch, n) alone, on every platform and version.

    The images are sorted by a random 64-bit key each (ties, of chance n²/2^65, keep the order of the index).
    """
    keys = np.empty(n, dtype=np.uint64)
    for start in range(0, n, 2**16):  # in parts: the generator holds a dozen arrays, and n may be many millions
        index = np.arange(start, min(start + 2**16, n), dtype=np.uint64)
        stream = np.full(len(index), 2**32 - 1, dtype=np.uint64)  # a stream that no view uses
        high, low, _, _ = philox4x32((index & _LOW, index >> _SHIFT, stream, np.zeros_like(index)), (seed, epoch))
        keys[start : start + len(index)] = (high << _SHIFT) | low
    return np.argsort(keys, kind="stable").astype(np.int64)
