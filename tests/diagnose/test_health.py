"""The label-free measures against slow NumPy loops, at points known by hand, and where features are ill."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from resmom.diagnose import health
from resmom.diagnose.health import alignment, feature_sd, rankme, retrieval, uniformity

Rows = NDArray[np.float64]
SHAPES = st.tuples(st.integers(2, 9), st.integers(1, 12))


def draw(seed: int, n: int, d: int, relu: bool = False) -> torch.Tensor:
    x = torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return x.relu() + 0.01 if relu else x


def unit(x: Rows) -> Rows:
    return np.stack([row / math.sqrt(sum(v * v for v in row)) for row in x])


def slow_sd(x: Rows) -> float:
    u, d = unit(x), x.shape[1]
    spreads = []
    for j in range(d):
        mean = sum(u[:, j]) / len(u)
        spreads.append(math.sqrt(sum((v - mean) ** 2 for v in u[:, j]) / len(u)))
    return math.sqrt(d) * sum(spreads) / d


def slow_rankme(x: Rows) -> float:
    # Singular values by another road: the eigenvalues of the smaller product.
    square = x @ x.T if len(x) < x.shape[1] else x.T @ x
    sigma = np.sqrt(np.clip(np.linalg.eigvalsh(square), 0, None))
    return math.exp(-sum(p * math.log(p) for p in sigma / sigma.sum() if p > 0))


def slow_uniformity(x: Rows) -> float:
    u, n = unit(x), len(x)
    values = [math.exp(-2 * sum((u[i] - u[j]) ** 2)) for i in range(n) for j in range(n) if i != j]
    return math.log(sum(values) / len(values))


def slow_retrieval(x: Rows, y: Rows) -> float:
    u, v, n = unit(x), unit(y), len(x)
    found = sum(all(u[i] @ v[i] > u[i] @ v[j] for j in range(n) if j != i) for i in range(n))
    return 100 * found / n


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), SHAPES, st.booleans())
def test_measures_are_the_slow_loops(seed: int, shape: tuple[int, int], relu: bool) -> None:
    x, y = draw(seed, *shape, relu), draw(seed + 1, *shape, relu)
    assert feature_sd(x) == pytest.approx(slow_sd(x.numpy()), rel=1e-9, abs=1e-12)
    assert rankme(x) == pytest.approx(slow_rankme(x.numpy()), rel=1e-5)
    apart = sum(sum((a - b) ** 2) for a, b in zip(unit(x.numpy()), unit(y.numpy()), strict=True))
    assert alignment(x, y) == pytest.approx(apart / len(x), rel=1e-9)
    assert uniformity(x) == pytest.approx(slow_uniformity(x.numpy()), rel=1e-9)
    assert retrieval(x, y) == pytest.approx(slow_retrieval(x.numpy(), y.numpy()))


def test_feature_sd_by_hand() -> None:
    eye = torch.eye(4)
    assert feature_sd(torch.cat([eye, -eye])) == pytest.approx(1.0)  # as spread as can be
    assert feature_sd(eye) == pytest.approx(math.sqrt(3 / 4))
    assert feature_sd(torch.linspace(-1, 3, 8).expand(50, 8)) == pytest.approx(0.0, abs=1e-9)
    isotropic = draw(0, 4000, 64)
    assert feature_sd(isotropic) == pytest.approx(1.0, abs=0.01)
    # After a ReLU there is a common direction, and less room: E[relu]^2 / E[relu^2] = 1 / pi of the length is common.
    assert feature_sd(isotropic.relu()) == pytest.approx(math.sqrt(1 - 1 / math.pi), abs=0.01)


def test_what_is_left_of_a_collapsed_representation_is_not_blown_up() -> None:
    collapsed = torch.ones(100, 32) + 1e-3 * draw(0, 100, 32).float()
    assert feature_sd(collapsed) < 2e-3
    assert rankme(collapsed) < 1.5
    assert feature_sd(collapsed - collapsed.mean(0)) > 0.9  # what centring first would have said


def test_rankme_by_hand() -> None:
    assert rankme(torch.eye(5)) == pytest.approx(5.0)
    assert rankme(torch.ones(30, 7)) == pytest.approx(1.0, abs=1e-6)
    assert rankme(torch.diag(torch.tensor([2.0, 1.0, 1.0]))) == pytest.approx(2**1.5)  # shares 1/2, 1/4, 1/4
    assert rankme(torch.eye(3, 100)) == pytest.approx(3.0)  # fewer images than dimensions
    assert rankme(draw(0, 2000, 16)) == pytest.approx(16.0, abs=0.1)
    assert rankme(draw(0, 2000, 4) @ draw(1, 4, 16)) < 4.0 + 1e-6


def test_alignment_uniformity_and_retrieval_by_hand() -> None:
    x, eye = draw(0, 6, 5), torch.eye(6)
    assert alignment(x, 3 * x) == pytest.approx(0.0, abs=1e-12)
    assert alignment(x, -x) == pytest.approx(4.0)
    assert alignment(eye, eye.roll(1, 0)) == pytest.approx(2.0)
    assert uniformity(eye) == pytest.approx(-4.0)
    assert uniformity(torch.tensor([[1.0, 0.0], [-2.0, 0.0]])) == pytest.approx(-8.0)
    assert uniformity(torch.ones(9, 3)) == pytest.approx(0.0, abs=1e-12)
    assert retrieval(eye, 2 * eye) == 100.0
    assert retrieval(eye, eye.roll(1, 0)) == 0.0
    swapped = eye[[0, 1, 2, 3, 5, 4]]
    assert retrieval(eye, swapped) == pytest.approx(100 * 4 / 6)


def test_equally_near_is_not_found() -> None:
    assert retrieval(torch.ones(10, 4), torch.ones(10, 4)) == 0.0
    assert retrieval(torch.eye(4), torch.zeros(4, 4)) == 0.0
    twins = torch.eye(4)[[0, 0, 1, 2]]
    assert retrieval(twins, twins) == 50.0


@pytest.mark.parametrize("scale", [1e-25, 1e25])
def test_the_length_of_features_does_not_matter(scale: float) -> None:
    x, y = draw(0, 20, 6).float(), draw(1, 20, 6).float()
    for measure in (feature_sd, rankme, uniformity):
        assert measure(scale * x) == pytest.approx(measure(x), rel=1e-5)
    for compare in (alignment, retrieval):
        assert compare(scale * x, y) == pytest.approx(compare(x, y), rel=1e-5)


def test_rows_of_zeros_have_no_direction() -> None:
    zeros = torch.zeros(5, 3)
    assert (feature_sd(zeros), rankme(zeros), alignment(zeros, zeros), uniformity(zeros)) == (0.0, 0.0, 0.0, 0.0)
    some = torch.cat([torch.zeros(1, 3), torch.eye(3)])
    # Distances squared: 1 from the zero row to each of three, 2 between these.
    assert uniformity(some) == pytest.approx(math.log((3 * math.exp(-2) + 3 * math.exp(-4)) / 6))
    assert rankme(some) == pytest.approx(3.0)
    assert alignment(some, some.flip(0)) == pytest.approx((1 + 2 + 2 + 1) / 4)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_feature_that_is_not_finite_makes_every_measure_nan(value: float) -> None:
    ill, well = draw(0, 6, 4), draw(1, 6, 4)
    ill[3, 2] = value
    for measure in (feature_sd, rankme, uniformity):
        assert math.isnan(measure(ill))
    for compare in (alignment, retrieval):
        assert math.isnan(compare(ill, well)) and math.isnan(compare(well, ill))


def test_too_few_images() -> None:
    none, one = torch.zeros(0, 4), torch.ones(1, 4)
    assert all(math.isnan(v) for v in (feature_sd(none), alignment(none, none), uniformity(none), uniformity(one)))
    assert math.isnan(retrieval(none, none)) and rankme(none) == 0.0
    assert (feature_sd(one), rankme(one), retrieval(one, one)) == (0.0, pytest.approx(1.0), 100.0)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = draw(0, 37, 5), draw(1, 37, 5) + 2 * draw(0, 37, 5)
    whole = uniformity(x), retrieval(x, y)
    monkeypatch.setattr(health, "_CELLS", 100)  # two rows at a time, and one alone at the end
    assert uniformity(x) == pytest.approx(whole[0], rel=1e-12)
    assert retrieval(x, y) == whole[1]
    assert 0 < whole[1] < 100


def test_half_precision_in_double_inside() -> None:
    x = (draw(0, 200, 16) + 3).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = feature_sd(x), uniformity(x), alignment(x, x.roll(1, 0))
    y = x.double()
    assert found == pytest.approx((feature_sd(y), uniformity(y), alignment(y, y.roll(1, 0))), rel=1e-6)
    assert not x.requires_grad and isinstance(rankme(x.float().requires_grad_()), float)
