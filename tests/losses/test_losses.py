"""Losses against the papers as slow loops, and at points known by hand."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from resmom.losses.contrastive import info_nce, nt_xent
from resmom.losses.cosine import cosine_distance
from resmom.losses.decorrelation import covariance, cross_correlation, off_diagonal, spread_hinge
from resmom.losses.koleo import koleo
from resmom.losses.prototypes import cross_entropies, sharpened
from resmom.losses.residual import Residual, kd_feature, kd_relation, residual_term, target_entropy
from resmom.types import Encoding, Pair
from tests import oracle


def draw(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 1000), st.integers(1, 6), st.integers(2, 5), st.floats(0.05, 2.0))
def test_info_nce_is_the_oracle(seed: int, n: int, d: int, temperature: float) -> None:
    q, k = draw(seed, n, d), draw(seed + 1, n + 4, d)
    for first in (0, 4):
        ours = info_nce(q, k, first, temperature).item()
        assert ours == pytest.approx(oracle.info_nce(q.numpy(), k.numpy(), first, temperature), rel=1e-10)


def test_info_nce_by_hand() -> None:
    same = torch.ones(4, 3)
    assert info_nce(same, same, 0, 0.2).item() == pytest.approx(math.log(4))
    apart = torch.eye(2)
    assert info_nce(apart, apart, 0, 1.0).item() == pytest.approx(math.log(1 + math.exp(-1)))


def test_info_nce_ignores_lengths_and_half_precision_ends_at_the_loss() -> None:
    q, k = draw(0, 5, 8), draw(1, 5, 8)
    assert info_nce(q * 7, k / 3, 0, 0.2).item() == pytest.approx(info_nce(q, k, 0, 0.2).item(), rel=1e-12)
    assert info_nce(q.bfloat16(), k.bfloat16(), 0, 0.2).dtype == torch.float32


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 1000), st.integers(1, 5), st.integers(2, 5), st.floats(0.05, 2.0))
def test_nt_xent_is_the_oracle(seed: int, n: int, d: int, temperature: float) -> None:
    a, b = draw(seed, n, d), draw(seed + 1, n, d)
    ours = (nt_xent(a, b, a, 0, temperature) + nt_xent(b, a, b, 0, temperature)).item() / 2
    assert ours == pytest.approx(oracle.simclr(a.numpy(), b.numpy(), temperature), rel=1e-10)
    parts = [nt_xent(a[i : i + 1], b, a, i, temperature).item() for i in range(n)]  # as ranks see it
    assert sum(parts) / n == pytest.approx(nt_xent(a, b, a, 0, temperature).item(), rel=1e-10)


def test_nt_xent_by_hand() -> None:
    same = torch.ones(4, 3)
    assert nt_xent(same, same, same, 0, 0.2).item() == pytest.approx(math.log(7))
    apart = torch.eye(2)  # the partner at cosine 1, two others at 0
    assert nt_xent(apart, apart, apart, 0, 1.0).item() == pytest.approx(math.log(1 + 2 * math.exp(-1)))
    assert nt_xent(apart[:1], apart[:1], apart[:1], 0, 1.0).item() == pytest.approx(0.0)  # nothing to tell apart


def test_correlation_and_covariance_by_hand() -> None:
    z = torch.tensor([[1.0, 1.0], [-1.0, -1.0], [1.0, 1.0], [-1.0, -1.0]], dtype=torch.float64)
    flipped = z * torch.tensor([1.0, -1.0], dtype=torch.float64)
    want = torch.tensor([[1.0, -1.0], [1.0, -1.0]], dtype=torch.float64)
    torch.testing.assert_close(cross_correlation(z, 7 * flipped + 3), want, rtol=2e-5, atol=0)
    torch.testing.assert_close(covariance(z), torch.full((2, 2), 4 / 3, dtype=torch.float64))
    assert off_diagonal(covariance(flipped)).tolist() == [[0.0, -4 / 3], [-4 / 3, 0.0]]
    assert cross_correlation(torch.zeros(4, 2), torch.zeros(4, 2)).abs().max() == 0  # constant, and still a number


def test_correlation_and_covariance_are_numpys_wherever_the_mean_is() -> None:
    a, b = draw(0, 20, 3) + 5, 2 * draw(1, 20, 3) - 1
    a[:, 1] += b[:, 0]
    both = np.corrcoef(a.numpy(), b.numpy(), rowvar=False)[:3, 3:]
    assert cross_correlation(a, b).numpy() == pytest.approx(both, rel=3e-5, abs=1e-6)
    assert covariance(a).numpy() == pytest.approx(np.cov(a.numpy(), rowvar=False), rel=1e-12)
    # A variance of 1e-5 is doubled by the 1e-5 that is added to it.
    short = math.sqrt(1e-5) * torch.tensor([[1.0], [-1.0]], dtype=torch.float64)
    assert cross_correlation(short, short).item() == pytest.approx(1 / 2, rel=1e-12)


def test_spread_hinge_by_hand() -> None:
    z = draw(0, 50, 3)
    z = (z - z.mean(0)) / z.std(0)
    assert spread_hinge(2 * z).item() == 0.0
    assert spread_hinge(0.5 * z).item() == pytest.approx(1 - math.sqrt(0.25 + 1e-4), rel=1e-10)
    assert spread_hinge(torch.zeros(5, 3)).item() == pytest.approx(1 - 0.01)


@pytest.mark.parametrize(
    "loss",
    [
        lambda a, b: info_nce(a, b, 0, 0.2),
        lambda a, b: nt_xent(a, b, a, 0, 0.2),
        lambda a, b: cross_correlation(a, b).sum(),
        lambda a, b: covariance(a).sum(),
        lambda a, b: spread_hinge(a),
        lambda a, b: koleo(1 + 0.03 * a),  # near each other: which is the nearest hangs on the last digits
    ],
)
def test_an_autocast_around_a_loss_rounds_nothing_in_it(
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
) -> None:
    a, b = draw(0, 8, 16).float(), draw(1, 8, 16).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = loss(a, b)
    assert inside.dtype == torch.float32 and torch.equal(inside, loss(a, b))


def test_cosine_distance_by_hand_and_oracle() -> None:
    e1, e2 = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    assert cosine_distance(e1, 5 * e1).item() == pytest.approx(0.0, abs=1e-7)
    assert cosine_distance(e1, e2).item() == pytest.approx(1.0)
    assert cosine_distance(e1, -e1).item() == pytest.approx(2.0)
    a, b = draw(0, 6, 4), draw(1, 6, 4)
    assert cosine_distance(a, b).item() == pytest.approx(oracle.cosine_distance(a.numpy(), b.numpy()), rel=1e-10)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 1000), st.integers(1, 6), st.integers(2, 9), st.floats(0.05, 2.0), st.floats(0.04, 2.0))
def test_prototype_cross_entropy_is_the_oracle(seed: int, n: int, k: int, t_s: float, t_t: float) -> None:
    (s1, s2), (t1, t2), centre = draw(seed, 2, n, k), draw(seed + 1, 2, n, k), draw(seed + 2, k)
    found = [cross_entropies(sharpened(t, centre, t_t), s, t_s).mean().item() for t, s in ((t1, s2), (t2, s1))]
    expected = oracle.dino([s1.numpy(), s2.numpy()], [t1.numpy(), t2.numpy()], centre.numpy(), t_s, t_t)
    assert np.mean(found) == pytest.approx(expected, rel=1e-10)


def test_prototype_cross_entropy_by_hand() -> None:
    flat, some, zero = torch.zeros(3, 7), draw(0, 3, 7).float(), torch.zeros(7)
    target = sharpened(some, zero, 0.1)
    assert cross_entropies(target, flat, 0.1).tolist() == pytest.approx(
        [math.log(7)] * 3
    )  # chance, whatever the target
    # A centre equal to the logits leaves nothing to tell: the target is uniform.
    assert sharpened(some[:1], some[0], 0.04).tolist()[0] == pytest.approx([1 / 7] * 7)
    # Two prototypes, one ahead by T ln 3: three quarters; so H against itself is that of (3/4, 1/4).
    logits = torch.tensor([[0.1 * math.log(3), 0.0]])
    share = sharpened(logits, torch.zeros(2), 0.1)
    assert share.tolist()[0] == pytest.approx([0.75, 0.25])
    entropy = -0.75 * math.log(0.75) - 0.25 * math.log(0.25)
    assert cross_entropies(share, logits, 0.1).item() == pytest.approx(entropy)


def test_the_target_carries_no_gradient_and_is_full_precision() -> None:
    teacher = draw(0, 4, 5).requires_grad_()
    assert not sharpened(teacher, torch.zeros(5).double(), 0.1).requires_grad
    assert sharpened(teacher.bfloat16(), torch.zeros(5), 0.1).dtype == torch.float32
    assert cross_entropies(torch.full((4, 5), 0.2), teacher.bfloat16(), 0.1).dtype == torch.float32


def pairs(seed: int, predictor: bool = True) -> list[Pair]:
    made = []
    for view in range(2):
        s = [draw(seed + 10 * view + i, 5, 6) for i in range(5)]
        student = Encoding(s[0], s[1], s[2] if predictor else None)
        teacher = Encoding(s[3], s[4])
        made.append(Pair("global", student, teacher, bank=teacher))
    return made


@pytest.mark.parametrize("site", ["h", "z", "p"])
@pytest.mark.parametrize("pairing", ["same", "cross"])
@pytest.mark.parametrize("distance", ["cosine", "mse", "kd_feature", "kd_relation"])
def test_residual_is_the_oracle(site: str, pairing: str, distance: str) -> None:
    both = pairs(3)
    config = Residual(1.0, site, pairing, distance, student_temperature=0.5, teacher_temperature=0.3)
    expected = []
    for i in range(2):
        j = i if pairing == "same" else 1 - i
        a = getattr(both[i].student, site).numpy()
        b = getattr(both[j].teacher, "h" if site == "h" else "z").numpy()
        expected.append(
            {
                "cosine": lambda a=a, b=b: oracle.cosine_distance(a, b),
                "mse": lambda a=a, b=b: oracle.mse(a, b),
                "kd_feature": lambda a=a, b=b: oracle.kd_feature(a, b, 0.5, 0.3),
                "kd_relation": lambda a=a, b=b: oracle.kd_relation(a, b, b, 0.5, 0.3),
            }[distance]()
        )
    assert residual_term(both, config).item() == pytest.approx(np.mean(expected), rel=1e-10)


def test_residual_sends_its_gradient_to_the_student_alone() -> None:
    made = []
    for pair in pairs(0):
        student = Encoding(*(x.clone().requires_grad_() for x in (pair.student.h, pair.student.z, pair.student.p)))
        teacher = Encoding(*(x.clone().requires_grad_() for x in (pair.teacher.h, pair.teacher.z)))
        made.append(Pair("global", student, teacher, bank=teacher))
    for distance in ("cosine", "mse", "kd_feature", "kd_relation"):
        residual_term(made, Residual(1.0, "p", distance=distance)).backward()
    for pair in made:
        assert pair.student.p.grad.abs().sum() > 0
        assert pair.student.z.grad is None
        assert pair.teacher.h.grad is None and pair.teacher.z.grad is None


def test_residual_of_equal_networks_is_zero_and_refuses_what_is_not_there() -> None:
    z = draw(0, 4, 3)
    equal = [Pair("global", Encoding(z, z), Encoding(z, z), bank=Encoding(z, z))]
    assert residual_term(equal, Residual(1.0, "z")).item() == pytest.approx(0.0, abs=1e-12)
    with pytest.raises(ValueError, match="no predictor; use 'z' or 'h'"):
        residual_term(equal, Residual(1.0, "p"))
    with pytest.raises(ValueError, match="two views"):
        residual_term(equal, Residual(1.0, "z", "cross"))
    with pytest.raises(ValueError, match="must be 0"):
        Residual(weight=-1.0)
    for name in ("student_temperature", "teacher_temperature"):
        with pytest.raises(ValueError, match="above 0"):
            Residual(**{name: 0.0})
    assert Residual().weight == 0  # off, which is the published method


def test_target_entropy_tells_a_flat_target_from_a_sharp_one() -> None:
    made = pairs(0)
    assert target_entropy(made, Residual(1.0)) is None
    flat = target_entropy(made, Residual(1.0, "z", distance="kd_feature", teacher_temperature=1e4))
    sharp = target_entropy(made, Residual(1.0, "z", distance="kd_relation", teacher_temperature=1e-3))
    assert flat.item() == pytest.approx(math.log(6), rel=1e-4)
    assert sharp.item() == pytest.approx(0.0, abs=1e-6)


def test_target_entropy_by_hand() -> None:
    """Two keys at cosines 1 and 0, whatever the lengths, with T = 1 / ln 3: three quarters and one quarter."""
    turned = torch.tensor([[0.6, 0.8], [0.8, -0.6]])
    teacher = Encoding(turned, torch.tensor([[5.0], [0.2]]) * turned)
    bank = Encoding(turned, torch.tensor([[0.1], [3.0]]) * turned)
    config = Residual(1.0, "z", distance="kd_relation", teacher_temperature=1 / math.log(3))
    found = target_entropy([Pair("global", teacher, teacher, bank=bank)], config)
    assert found is not None
    assert found.item() == pytest.approx(-0.75 * math.log(0.75) - 0.25 * math.log(0.25))


def test_kd_is_least_where_student_equals_teacher() -> None:
    t = draw(0, 4, 6)
    for other in (draw(1, 4, 6), -t, t + 0.5 * draw(2, 4, 6)):
        assert kd_feature(t, t, 0.3, 0.3) < kd_feature(other, t, 0.3, 0.3)
        assert kd_relation(t, t, t, 0.3, 0.3) < kd_relation(other, t, t, 0.3, 0.3)


@pytest.mark.parametrize("name", ["weight", "student_temperature", "teacher_temperature"])
@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
def test_settings_that_are_no_numbers_of_a_term(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"residual.{name} is {value}; it must be"):
        Residual(**{name: value})
