"""`resmom.residual` on plain tensors: the definition, its gradient, its precision, and what it refuses."""

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

import resmom
from resmom.errors import UserError
from resmom.losses.cosine import cosine_distance
from resmom.losses.residual import Residual, kd_relation, residual_term
from resmom.types import Encoding, Pair
from tests import forked, oracle


def draw(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_it_is_the_mean_of_one_minus_cos_over_rows_and_views() -> None:
    s, t = [draw(0, 5, 3), draw(1, 5, 3)], [draw(2, 5, 3), draw(3, 5, 3)]
    single = [oracle.cosine_distance(a.numpy(), b.numpy()) for a, b in zip(s, t, strict=True)]
    assert resmom.residual(s[0], t[0]).item() == pytest.approx(single[0], rel=1e-12)
    assert resmom.residual(s, tuple(t)).item() == pytest.approx(sum(single) / 2, rel=1e-12)
    e1, e2 = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 0.5]])
    assert [resmom.residual(e1, x).item() for x in (3 * e1, e2, -e1)] == pytest.approx([0.0, 1.0, 2.0], abs=1e-6)


@pytest.mark.parametrize("distance", ["cosine", "mse", "kd_feature", "kd_relation"])
def test_it_is_the_term_that_runs_train(distance: str) -> None:
    s, t = [draw(0, 5, 3), draw(1, 5, 3)], [draw(2, 5, 3), draw(3, 5, 3)]
    pairs = [Pair("global", Encoding(a, a), Encoding(b, b), bank=Encoding(b, b)) for a, b in zip(s, t, strict=True)]
    config = Residual(1.0, "z", "same", distance, 0.5, 0.3)
    assert torch.equal(resmom.residual(s, t, distance, 0.5, 0.3), residual_term(pairs, config))
    assert torch.equal(resmom.residual(s, t, distance), residual_term(pairs, Residual(1.0, "z", distance=distance)))


def test_the_gradient_is_the_students_alone() -> None:
    s, t = draw(0, 4, 3).requires_grad_(), draw(1, 4, 3).requires_grad_()
    for distance in ("cosine", "mse", "kd_feature", "kd_relation"):
        resmom.residual([s, s], [t, t], distance).backward()
    assert s.grad is not None and s.grad.abs().sum() > 0
    assert t.grad is None
    s.grad = None
    resmom.residual(s, t).backward()
    # d(1 - cos)/ds = (cos * s/|s| - t/|t|) / |s|, a row's share being 1/4
    a, b = (torch.nn.functional.normalize(x.detach(), dim=1) for x in (s, t))
    cos = (a * b).sum(1, keepdim=True)
    torch.testing.assert_close(s.grad, (cos * a - b) / s.detach().norm(dim=1, keepdim=True) / 4)


@pytest.mark.parametrize("distance", ["cosine", "mse", "kd_feature", "kd_relation"])
def test_it_is_computed_in_float32_under_autocast(distance: str) -> None:
    s, t = draw(0, 64, 16).bfloat16().requires_grad_(), draw(1, 64, 16).bfloat16()
    exact = resmom.residual(s.float(), t.float(), distance)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = resmom.residual(s, t, distance)
    assert found.dtype == torch.float32 and torch.equal(found, exact)
    found.backward()
    assert s.grad is not None and s.grad.dtype == torch.bfloat16


def test_what_does_not_fit_together_is_told() -> None:
    s, t = draw(0, 4, 3), draw(1, 4, 3)
    with pytest.raises(UserError, match=r"2 view\(s\) of the student and 1 of the teacher"):
        resmom.residual([s, s], [t])
    with pytest.raises(
        UserError, match=r"^student and teacher have no views, both lists are empty; give one N x D tensor for each"
    ):
        resmom.residual([], [])
    with pytest.raises(UserError, match=r"\(1, 3\) and \(4, 3\)"):
        resmom.residual(s[:1], t)
    with pytest.raises(UserError, match=r"\(4, 2\) and \(4, 3\).*prediction p with the teacher's projection z"):
        resmom.residual(s[:, :2], t)
    with pytest.raises(UserError, match="pool maps"):
        resmom.residual(s[None], t[None])
    with pytest.raises(UserError, match=r"no rows, got \(0, 3\).*at least one row"):
        resmom.residual(s[:0], t[:0])


@pytest.mark.parametrize("call", [resmom.residual, resmom.gap])
def test_rows_without_numbers_and_complex_numbers_are_told(call: Callable[..., object]) -> None:
    s, t = draw(0, 4, 3), draw(1, 4, 3)
    with pytest.raises(UserError, match=r"hold no numbers, got \(4, 0\); give N x D with D of at least 1"):
        call(s[:, :0], t[:, :0])
    for a, b in ((torch.complex(s, t), t), (s, torch.complex(s, t))):
        with pytest.raises(UserError, match=r"must be real numbers; got torch\.complex128.*view_as_real\(x\)\.flatten"):
            call([s, a], [t, b])


@pytest.mark.parametrize("name", ["student_temperature", "teacher_temperature"])
@pytest.mark.parametrize("value", [0, -0.1, math.nan, math.inf])
def test_temperatures_that_are_none_are_told_by_the_name_of_their_argument(name: str, value: float) -> None:
    with pytest.raises(UserError, match=rf"^{name} is {value}; it must be a finite number above 0"):
        resmom.residual(draw(0, 4, 3), draw(1, 4, 3), "kd_feature", **{name: value})


TYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@pytest.mark.parametrize("distance", ["cosine", "mse", "kd_feature", "kd_relation"])
def test_the_sides_may_be_of_different_floating_types(distance: str) -> None:
    for one, other in itertools.product(TYPES, TYPES):
        s, t = draw(0, 5, 3).to(one).requires_grad_(), draw(1, 5, 3).to(other)
        found = resmom.residual(s, t, distance, 0.5, 0.3)
        found.backward()
        assert found.dtype == (torch.float64 if torch.float64 in (one, other) else torch.float32)
        exact = resmom.residual(s.detach().double(), t.double(), distance, 0.5, 0.3)
        assert found.item() == pytest.approx(exact.item(), rel=1e-5)
        assert s.grad is not None and s.grad.dtype == one and s.grad.abs().sum() > 0


@pytest.mark.parametrize("distance", ["cosine", "kd_relation"])
@pytest.mark.parametrize("length", [0.0, 1e-10])
def test_rows_without_a_direction_carry_no_gradient_and_leave_the_others_as_they_were(
    distance: str, length: float
) -> None:
    s, t = draw(0, 6, 3).float(), draw(1, 6, 3).float()
    s[2] *= length
    s.requires_grad_()
    found = resmom.residual(s, t, distance)
    found.backward()
    plain = s.detach().clone().requires_grad_()
    straight = cosine_distance(plain, t) if distance == "cosine" else kd_relation(plain, t, t, t_s=0.1, t_t=0.04)
    straight.backward()
    assert torch.equal(found, straight)
    assert s.grad is not None and plain.grad is not None
    assert plain.grad[2].abs().max() > 1e6 and not s.grad[2].any()
    others = [0, 1, 3, 4, 5]
    assert torch.equal(s.grad[others], plain.grad[others]) and s.grad[others].abs().min() > 0


def test_exchanged_sides_are_told_where_they_would_train_nothing() -> None:
    s, t = draw(0, 4, 3).requires_grad_(), draw(1, 4, 3)
    with pytest.raises(UserError, match=r"residual\(student, teacher\) in this order"):
        resmom.residual(t, s)
    with torch.no_grad():  # where nobody wants a gradient it is only a number
        assert resmom.residual(t, s).item() == pytest.approx(resmom.residual(s, t).item())


def arrays_refused(call: str) -> str:
    return refused(call, np.ones((4, 3), np.float32))


def encodings_refused(call: str) -> str:
    return refused(call, Encoding(torch.ones(4, 3), torch.ones(4, 3)))


def refused(call: str, rows: object) -> str:
    try:
        getattr(resmom, call)(rows, rows)
    except UserError as error:
        return str(error)
    return ""


@pytest.mark.slow
@pytest.mark.parametrize("call", ["residual", "gap"])
def test_arrays_are_told_to_become_tensors(call: str) -> None:
    assert forked.answer(arrays_refused, call) == (
        "student and teacher must be tensors; got ndarray; make tensors of them, as torch.from_numpy(array) does"
    )


@pytest.mark.slow
@pytest.mark.parametrize("call", ["residual", "gap"])
def test_of_encodings_it_is_told_to_give_their_vectors(call: str) -> None:
    assert forked.answer(encodings_refused, call) == (
        "student and teacher must be tensors; got Encoding; give one of its vectors on both sides, such as its .h (or "
        "the student's .p and the teacher's .z)"
    )


def refusal() -> str:
    try:
        resmom.residual(torch.ones(2, 3), torch.ones(2, 3), "cos")
    except ValueError as error:
        return str(error)
    return ""


@pytest.mark.slow
def test_an_unknown_distance_is_told_without_the_tests_checks() -> None:
    said = "there is no distance 'cos'; there are cosine, mse, kd_feature, kd_relation"
    assert forked.answer(refusal) == said
