"""Features are made ready piece by piece: with the same numbers as at once, and in little memory beside them."""

import resource
import sys

import pytest
import torch
import torch.nn.functional as F

from resmom.evaluate import standard
from resmom.evaluate.knn import _of_length_1, knn
from resmom.evaluate.linear import linear_probe
from resmom.evaluate.settings import Knn, Linear
from resmom.evaluate.standard import all_finite, finite_rows, in_chunks, moments, only, standardised
from tests import forked


def draw(n: int, d: int) -> torch.Tensor:
    return 1 + 3 * torch.randn(n, d, generator=torch.Generator().manual_seed(n))


@pytest.mark.parametrize("cells", [1, 50, 1000, 1 << 22])
@pytest.mark.parametrize("n", [1, 2, 7, 40])
def test_in_pieces_the_numbers_are_those_of_all_at_once(n: int, cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standard, "_CELLS", cells)
    x = draw(n, 16)
    pieces = list(in_chunks(x))
    assert torch.equal(torch.cat([x[rows] for rows in pieces]), x) and all(
        len(x[rows]) > 1 or n == 1 for rows in pieces
    )
    mean, deviation = moments(x)
    expected = (x - mean) / deviation
    assert torch.equal(standardised(x, mean, deviation), expected)
    assert torch.equal(standardised(x, mean, deviation, ones=1), F.pad(expected, (0, 1), value=1.0))
    assert torch.equal(_of_length_1(x), F.normalize(x, dim=1))
    x[n // 2, 3] = torch.inf
    assert finite_rows(x).tolist() == x.isfinite().all(1).tolist()
    labels = torch.zeros(n, dtype=torch.int64)
    assert not all_finite(x, labels)
    labels[n // 2] = -1
    assert all_finite(x, labels)  # an image that nothing is learnt from


def test_what_is_whole_is_not_copied() -> None:
    x = draw(4, 3)
    assert only(x, torch.ones(4, dtype=torch.bool)) is x
    assert torch.equal(only(x, torch.tensor([True, False, True, False])), x[::2])


def more_memory(what: str) -> float:
    """Of a measurement of 96 MiB of features, the highest there was beside them, as a multiple of them."""
    labels = torch.arange(6144) % 4
    x = torch.randn(6144, 4096) + 2 * F.one_hot(labels, 4096)
    standard._CELLS = 1 << 18
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if what == "knn":
        knn(x, labels, x[:50], labels[:50], Knn())
    else:
        linear_probe(x, labels, x[:50], labels[:50], Linear((0.003,), (0.0,), epochs=1, batch=64))
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / x.nbytes


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts in units of Linux")
@pytest.mark.parametrize("what", ["knn", "linear"])
def test_one_copy_of_the_features_is_all_that_is_made(what: str) -> None:
    assert forked.answer(more_memory, what) < 1.6
