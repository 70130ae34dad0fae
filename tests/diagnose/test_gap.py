"""The gap against slow loops, at points known by hand, and where sums or precision could betray it."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from resmom.diagnose.gap import Gap, gap, gap_sums, gaps
from resmom.errors import UserError
from resmom.types import Encoding, Pair
from resmom.which import Site


def draw(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def distance(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    return 1.0 - float(dot / math.sqrt(sum(x * x for x in a)) / math.sqrt(sum(y * y for y in b)))


def slow_intra(s: torch.Tensor, t: torch.Tensor) -> float:
    return float(np.mean([distance(a, b) for a, b in zip(s.numpy(), t.numpy(), strict=True)]))


def slow_chance(s: torch.Tensor, t: torch.Tensor) -> float:
    a, b = s.numpy(), t.numpy()
    return float(np.mean([distance(a[i], b[j]) for i in range(len(a)) for j in range(len(b)) if i != j]))


def made(views: int, n: int = 5, predictor: bool = True) -> list[Pair]:
    pairs = []
    for v in range(views):
        student = Encoding(draw(10 * v, n, 7), draw(10 * v + 1, n, 4), draw(10 * v + 2, n, 4) if predictor else None)
        teacher = Encoding(draw(10 * v + 3, n, 7), draw(10 * v + 4, n, 4))
        pairs.append(Pair("global", student, teacher, bank=teacher))
    return pairs


def test_intra_by_hand() -> None:
    x = draw(0, 6, 8)
    e1, e2 = torch.tensor([[3.0, 0.0], [3.0, 0.0]]), torch.tensor([[0.0, 0.5], [0.0, 0.5]])
    assert gap(x, 4 * x).intra.item() == pytest.approx(0.0, abs=1e-12)
    assert gap(x, -x).intra.item() == pytest.approx(2.0)
    assert gap(e1, e2).intra.item() == pytest.approx(1.0)
    assert gap(torch.zeros(2, 3), torch.ones(2, 3)).intra.item() == 1.0


def test_chance_by_hand() -> None:
    assert gap(torch.ones(9, 4), torch.ones(9, 4)).chance.item() == pytest.approx(0.0, abs=1e-6)
    assert gap(torch.eye(5), torch.eye(5)).chance.item() == pytest.approx(1.0)
    e1 = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    assert gap(e1, e1).chance.item() == pytest.approx(2.0)
    assert gap(e1, e1).intra.item() == pytest.approx(0.0)


def test_inter_by_hand() -> None:
    a, b = torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([[0.0, 1.0], [0.0, 1.0]])
    both = gap([a, b], [a, b])
    assert both.inter is not None
    assert (both.intra.item(), both.inter.item()) == pytest.approx((0.0, 1.0))
    swapped = gap([a, b], [b, a])
    assert swapped.inter is not None
    assert (swapped.intra.item(), swapped.inter.item()) == pytest.approx((1.0, 0.0))
    assert gap(a, b).inter is None


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 1000), st.integers(2, 7), st.integers(1, 5), st.integers(1, 6))
def test_both_are_the_slow_loops_in_one_batch_or_two(seed: int, n: int, d: int, cut: int) -> None:
    s, t = draw(seed, n, d), draw(seed + 1, n, d)
    found = gap(s, t)
    assert found.intra.item() == pytest.approx(slow_intra(s, t), rel=1e-9, abs=1e-12)
    assert found.chance.item() == pytest.approx(slow_chance(s, t), rel=1e-9, abs=1e-12)
    cut = min(cut, n - 1)
    parts = gap_sums([s[:cut], t[:cut]], [t[:cut], s[:cut]]).plus(gap_sums([s[cut:], t[cut:]], [t[cut:], s[cut:]]))
    whole, summed = gap([s, t], [t, s]), parts.gap()
    torch.testing.assert_close(summed.intra, whole.intra)
    torch.testing.assert_close(summed.inter, whole.inter)
    torch.testing.assert_close(summed.chance, whole.chance)


@pytest.mark.slow
def test_half_precision_is_computed_in_float32_even_under_autocast() -> None:
    s = (draw(0, 300, 16) + 2).bfloat16()
    t = (draw(1, 300, 16) + 2).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = gap(s, t)
    assert found.intra.dtype == found.chance.dtype == torch.float32
    assert found.intra.item() == pytest.approx(slow_intra(s.double(), t.double()), rel=1e-5)
    assert found.chance.item() == pytest.approx(slow_chance(s.double(), t.double()), rel=1e-5)


def test_the_sum_over_many_equal_rows_stays_accurate() -> None:
    collapsed = torch.ones(20_000, 8) + 1e-4 * draw(0, 20_000, 8).float()
    assert gap(collapsed, collapsed).chance.item() == pytest.approx(0.0, abs=1e-5)


def test_a_measurement_carries_no_gradient_and_reads_as_numbers() -> None:
    s = draw(0, 3, 4).requires_grad_()
    found = gap([s, s], [s, 2 * s])
    assert not any(value.requires_grad for value in (found.intra, found.inter, found.chance) if value is not None)
    assert float(found.intra) == pytest.approx(0.0, abs=1e-9)
    assert repr(gap(torch.eye(3), torch.eye(3))) == "Gap(intra=0.0000, inter=None, chance=1.0000)"
    assert "inter=0.0000" in repr(found)
    below = torch.tensor(-1e-7)  # what rounding makes of equal rows
    assert repr(Gap(below, below, below)) == "Gap(intra=0.0000, inter=0.0000, chance=0.0000)"


def test_tensors_that_do_not_fit_together_are_refused() -> None:
    with pytest.raises(UserError, match="at least 2; got 1"):
        gap(draw(0, 1, 4), draw(1, 1, 4))
    with pytest.raises(UserError, match=r"1 view\(s\) of the student and 2 of the teacher"):
        gap(draw(0, 3, 4), [draw(1, 3, 4), draw(2, 3, 4)])
    with pytest.raises(UserError, match=r"^student and teacher have no views, both lists are empty; give one N x D"):
        gap([], [])
    with pytest.raises(UserError, match=r"0 view\(s\) of the student and 1 of the teacher"):
        gap([], [draw(1, 3, 4)])
    with pytest.raises(UserError, match=r"\(3, 4\) and \(3, 5\)"):
        gap(draw(0, 3, 4), draw(1, 3, 5))
    with pytest.raises(UserError, match="same images"):
        gap([draw(0, 3, 4), draw(0, 2, 4)], [draw(1, 3, 4), draw(1, 2, 4)])


@pytest.mark.parametrize("site", ["h", "z", "p"])
@pytest.mark.parametrize("views", [2, 3])
def test_gaps_are_the_slow_loops_over_views(site: Site, views: int) -> None:
    pairs = made(views)
    partner: Site = "z" if site == "p" else site
    s = [pair.student.at(site) for pair in pairs]
    t = [pair.teacher.at(partner) for pair in pairs]
    found = gaps(pairs, site)
    assert found.intra.item() == pytest.approx(np.mean([slow_intra(a, b) for a, b in zip(s, t, strict=True)]))
    crossed = [slow_intra(s[v], t[w]) for v in range(views) for w in range(views) if v != w]
    assert found.inter is not None
    assert found.inter.item() == pytest.approx(np.mean(crossed))
    assert found.chance.item() == pytest.approx(np.mean([slow_chance(a, b) for a, b in zip(s, t, strict=True)]))


def test_one_view_has_no_inter_gap() -> None:
    assert gaps(made(1), "z").inter is None


def test_gaps_tell_the_same_view_from_the_other_one() -> None:
    a, b = draw(0, 50, 16), draw(1, 50, 16)
    first, second = Encoding(a, a), Encoding(b, b)
    found = gaps([Pair("global", first, first, first), Pair("global", second, second, second)], "h")
    assert found.inter is not None
    assert found.intra.item() == pytest.approx(0.0, abs=1e-12)
    assert found.inter.item() == pytest.approx(1.0, abs=0.1)
    assert found.chance.item() == pytest.approx(1.0, abs=0.05)


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(ValueError, match="got none"):
        gaps([], "z")
    pair = made(1)[0]
    with pytest.raises(ValueError, match="dense"):
        gaps([pair, Pair("dense", pair.student, pair.teacher, pair.bank)], "z")
    with pytest.raises(ValueError, match="no predictor"):
        gaps(made(2, predictor=False), "p")
