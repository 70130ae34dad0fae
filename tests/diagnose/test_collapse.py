"""Why a small intra gap alone proves nothing: what each way of cheating does to intra, inter and chance."""

import pytest
import torch

from resmom.diagnose.gap import gaps
from resmom.types import Encoding, Pair
from resmom.which import Site


def draw(seed: int) -> torch.Tensor:
    return torch.randn(64, 32, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def pair(student: torch.Tensor, teacher: torch.Tensor) -> Pair:
    said = Encoding(teacher, teacher)
    return Pair("global", Encoding(student, student, student), said, said)


@pytest.mark.parametrize("site", ["h", "z", "p"])
def test_collapse_closes_all_three(site: Site) -> None:
    constant = torch.linspace(-1, 2, 32, dtype=torch.float64).expand(64, 32)
    found = gaps([pair(3 * constant, constant), pair(constant, 2 * constant)], site)
    assert found.inter is not None
    for value in (found.intra, found.inter, found.chance):
        assert value.item() == pytest.approx(0.0, abs=1e-12)


def test_a_teacher_that_copies_closes_intra_only() -> None:
    found = gaps([pair(draw(0), draw(0)), pair(draw(1), draw(1))], "z")
    assert found.inter is not None
    assert found.intra.item() == pytest.approx(0.0, abs=1e-12)
    assert found.inter.item() > 0.9 and found.chance.item() > 0.9


def test_inter_is_symmetric_in_the_views() -> None:
    first, second = pair(draw(0), draw(1)), pair(draw(2), draw(3))
    one, other = gaps([first, second], "z"), gaps([second, first], "z")
    assert one.inter is not None and other.inter is not None
    assert one.inter.item() == pytest.approx(other.inter.item(), abs=1e-12)
    # Both directions count: with one alone, exchanging the two teachers would not swap intra and inter exactly.
    crossed = gaps([pair(draw(0), draw(3)), pair(draw(2), draw(1))], "z")
    assert crossed.intra.item() == pytest.approx(one.inter.item(), abs=1e-12)
    assert crossed.inter is not None
    assert crossed.inter.item() == pytest.approx(one.intra.item(), abs=1e-12)


def test_at_p_the_teacher_is_read_at_z_even_if_it_predicts() -> None:
    student = Encoding(draw(0), draw(1), draw(2))
    teacher = Encoding(-draw(0), draw(2), draw(5))  # its z is the student's p
    found = gaps([Pair("global", student, teacher, teacher)], "p")
    assert found.intra.item() == pytest.approx(0.0, abs=1e-12)
    assert gaps([Pair("global", student, teacher, teacher)], "h").intra.item() == pytest.approx(2.0)
