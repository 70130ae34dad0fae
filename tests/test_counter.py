"""The counter-based generator: published vectors, uniformity, independence of the batch."""

import numpy as np
import pytest
from scipy import stats

from resmom.counter import permutation, philox4x32, uniforms


def words(*values: int) -> tuple[np.ndarray, ...]:
    return tuple(np.array([v], dtype=np.uint64) for v in values)


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [  # the known-answer vectors of Random123 for philox4x32-10
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_philox_gives_the_published_answers(
    counter: tuple[int, ...], key: tuple[int, int], expected: tuple[int, ...]
) -> None:
    assert tuple(int(word[0]) for word in philox4x32(words(*counter), key)) == expected


def test_uniforms_are_uniform_and_belong_to_the_image() -> None:
    index = np.arange(2000)
    drawn = uniforms(3, 5, index, 1, 10)
    assert drawn.shape == (2000, 10) and drawn.min() >= 0 and drawn.max() < 1
    assert stats.kstest(drawn.ravel(), "uniform").pvalue > 1e-4
    shuffled = np.random.default_rng(0).permutation(index)
    np.testing.assert_array_equal(uniforms(3, 5, shuffled, 1, 10), drawn[shuffled])
    np.testing.assert_array_equal(uniforms(3, 5, index[:1], 1, 3), drawn[:1, :3])
    for other in ((4, 5, 1), (3, 6, 1), (3, 5, 2)):
        assert not np.array_equal(uniforms(other[0], other[1], index, other[2], 10), drawn)


def test_permutation_is_one_and_changes_with_epoch_and_seed() -> None:
    one = permutation(0, 0, 1000)
    assert sorted(one) == list(range(1000))
    assert not np.array_equal(one, permutation(0, 1, 1000)) and not np.array_equal(one, permutation(1, 0, 1000))
    # A fixed point is as frequent as chance has it: Poisson with mean 1 over many orders.
    fixed = [(permutation(0, epoch, 50) == np.arange(50)).sum() for epoch in range(400)]
    assert abs(np.mean(fixed) - 1.0) < 0.2
    assert permutation(7, 3, 5).tolist() == permutation(7, 3, 5).tolist()


def test_numbers_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="seed and epoch"):
        uniforms(-1, 0, np.arange(2), 0, 4)
