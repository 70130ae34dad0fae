"""Methods with a memory: the papers' formulas, what is remembered, chance, and pairs where they are asked for."""

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from resmom.method import Method
from resmom.methods.mocov2 import MoCoV2, MoCoV2Method
from resmom.methods.msf import MSF, MSFMethod
from resmom.methods.nnclr_ema import NNCLREma, NNCLREmaMethod
from resmom.methods.ressl import ReSSL, ReSSLMethod
from resmom.nets.backbones import Backbone
from resmom.nets.teacher import make_teacher, unrecorded
from resmom.types import Batch, Encoding, Outcome, Targets
from tests import oracle, toy

ROWS = [slice(0, 8), slice(2, 5)]


@torch.no_grad()
def encodings(method: Method, batch: Batch) -> tuple[list[Encoding], list[Encoding]]:
    """Student and teacher of both views, statistics put back."""
    kept = copy.deepcopy(method.state_dict())
    made = [[network(view) for view in batch.views] for network in (method.student, method.teacher)]
    method.load_state_dict(kept)
    return made[0], made[1]


def total(outcome: Outcome) -> float:
    return sum(term.weight * term.value.item() for term in outcome.terms)


def said(method: Method, rows: slice) -> tuple[Outcome, list[Encoding], list[Encoding]]:
    """The method on some rows of a batch; and both networks on those rows of both views."""
    batch = toy.batch()
    student, teacher = encodings(method, batch)
    outcome = method(batch, method.teach(batch), rows)
    return outcome, [e.rows(rows) for e in student], [e.rows(rows) for e in teacher]


@pytest.mark.parametrize("rows", ROWS, ids=str)
def test_mocov2_is_its_formula(rows: slice) -> None:
    method = toy.method("mocov2", batch_norm=False)
    outcome, (s1, _), (_, t2) = said(method, rows)
    expected = oracle.moco(s1.z.numpy(), t2.z.numpy(), method.queue.rows.numpy(), 0.2)
    assert total(outcome) == pytest.approx(expected, rel=1e-12)
    assert torch.equal(outcome.memory[0], t2.z) and len(outcome.memory) == 1
    assert len(outcome.encodings) == 1  # the student sees one view


@pytest.mark.parametrize("rows", ROWS, ids=str)
def test_mocov2plus_is_the_mean_of_both_directions_with_a_queue_each(rows: slice) -> None:
    method = toy.method("mocov2plus", batch_norm=False)
    assert not torch.equal(method.queue.rows, method.queue1.rows)
    outcome, (s1, s2), (t1, t2) = said(method, rows)
    one = oracle.moco(s1.z.numpy(), t2.z.numpy(), method.queue.rows.numpy(), 0.2)
    other = oracle.moco(s2.z.numpy(), t1.z.numpy(), method.queue1.rows.numpy(), 0.2)
    assert total(outcome) == pytest.approx((one + other) / 2, rel=1e-12)
    method.remember(outcome.memory)
    for queue, t in ((method.queue, t2), (method.queue1, t1)):
        torch.testing.assert_close(queue.rows[: len(t.z)], torch.nn.functional.normalize(t.z, dim=1))


@pytest.mark.parametrize("rows", ROWS, ids=str)
def test_ressl_is_its_formula(rows: slice) -> None:
    """The student on the first view, the teacher on the second, both by their relation to the queue."""
    method = toy.method("ressl", batch_norm=False)
    outcome, (s1, _), (_, t2) = said(method, rows)
    expected = oracle.kd_relation(s1.z.numpy(), t2.z.numpy(), method.queue.rows.numpy(), 0.1, 0.04)
    assert total(outcome) == pytest.approx(expected, rel=1e-12)
    assert torch.equal(outcome.memory[0], t2.z) and len(outcome.memory) == 1
    assert len(outcome.encodings) == 1


def bank(method: Method, *targets: Encoding) -> list[Any]:
    """The queues with a whole batch's targets written over the oldest rows, by a loop."""
    queues = [method.queue, *([method.queue1] if len(targets) > 1 else [])]
    made = []
    for queue, target in zip(queues, targets, strict=True):
        rows, start = queue.rows.numpy().copy(), int(queue.pointer)
        for i, z in enumerate(target.z.numpy()):
            rows[(start + i) % len(rows)] = z / np.linalg.norm(z)
        made.append(rows)
    return made


def advanced(kind: str) -> Method:
    """A method whose queue is about to go round."""
    method = toy.method(kind, batch_norm=False)
    for seed in (7, 8):
        method.queue.push(toy.batch(seed).views[0].flatten(1)[:, :8])
    return method


@pytest.mark.parametrize("rows", ROWS, ids=str)
def test_msf_is_its_formula(rows: slice) -> None:
    """The neighbours are sought in a bank that holds the targets of the whole batch already."""
    method = advanced("msf")
    outcome, (s1, _), (_, t2) = said(method, rows)
    _, (_, whole) = encodings(method, toy.batch())
    (written,) = bank(method, whole)
    expected = oracle.mean_shift(s1.p.numpy(), t2.z.numpy(), written, 3)
    assert total(outcome) == pytest.approx(expected, rel=1e-12)
    assert torch.equal(outcome.memory[0], t2.z) and len(outcome.memory) == 1
    assert len(outcome.encodings) == 1 and outcome.chance is None


@pytest.mark.parametrize("rows", ROWS, ids=str)
def test_symmetric_msf_is_the_mean_of_both_directions_with_a_bank_each(rows: slice) -> None:
    method = toy.method("msf_symmetric", batch_norm=False)
    outcome, (s1, s2), (t1, t2) = said(method, rows)
    _, (whole1, whole2) = encodings(method, toy.batch())
    bank2, bank1 = bank(method, whole2, whole1)
    one = oracle.mean_shift(s1.p.numpy(), t2.z.numpy(), bank2, 3)
    other = oracle.mean_shift(s2.p.numpy(), t1.z.numpy(), bank1, 3)
    assert total(outcome) == pytest.approx((one + other) / 2, rel=1e-12)
    assert_both_views_paired(outcome, (s1, s2), (t1, t2))


def test_msf_with_one_neighbour_is_byol_and_has_no_chance_level() -> None:
    """The paper's own remark: the nearest neighbour is the target itself. So a collapsed network is at 0, as there."""
    config = MSF(1, 20, hidden=16, out=8, predictor_hidden=16, symmetric=True)
    method = MSFMethod(Backbone(toy.Flat(48, 12), 12), config)
    method = toy.without_batch_norm(method).double()
    outcome, (s1, s2), (t1, t2) = said(method, slice(0, 8))
    byol = oracle.byol(s1.p.numpy(), s2.p.numpy(), t1.z.numpy(), t2.z.numpy())
    assert total(outcome) == pytest.approx(byol / 2, rel=1e-6)  # the queue holds float32's unit vectors
    assert outcome.chance is None


@pytest.mark.parametrize("rows", ROWS, ids=str)
def test_nnclr_ema_is_its_formula(rows: slice) -> None:
    """Neighbours of the teacher's projections, for the whole batch, in the support set before the batch enters it."""
    method = advanced("nnclr_ema")
    outcome, (s1, s2), (t1, t2) = said(method, rows)
    _, (whole1, whole2) = encodings(method, toy.batch())
    queue, (p1, p2) = method.queue.rows.numpy(), (e.p.numpy() for e in (s1, s2))
    expected = oracle.nnclr_ema(p1, p2, whole1.z.numpy(), whole2.z.numpy(), queue, rows.start, 0.2)
    assert total(outcome) == pytest.approx(expected, rel=1e-12)
    assert outcome.chance == pytest.approx(math.log(8), rel=1e-12)
    assert torch.equal(outcome.memory[0], t1.z) and len(outcome.memory) == 1  # first views alone, as NNCLR
    assert_both_views_paired(outcome, (s1, s2), (t1, t2))


def assert_both_views_paired(outcome: Outcome, student: Any, teacher: Any) -> None:
    for pair, s, t in zip(outcome.pairs, student, teacher, strict=True):
        torch.testing.assert_close(pair.student.p, s.p)
        torch.testing.assert_close(pair.teacher.z, t.z)
        assert pair.student.p.requires_grad and not pair.teacher.z.requires_grad and len(pair.bank.z) == 8


class Said(torch.nn.Module):
    """A student that answers every view with given rows."""

    def __init__(self, *answers: Tensor) -> None:
        super().__init__()
        self.answers = iter(answers)

    def forward(self, view: Tensor) -> Encoding:
        z = next(self.answers)
        return Encoding(z, z, z)


WIDE, LENGTH = 4096, 300
CHANCES = {
    "mocov2": (MoCoV2Method, MoCoV2(hidden=4, out=WIDE, queue=LENGTH), math.log(LENGTH + 1)),
    "mocov2plus": (MoCoV2Method, MoCoV2(hidden=4, out=WIDE, queue=LENGTH, symmetric=True), math.log(LENGTH + 1)),
    "ressl": (ReSSLMethod, ReSSL(hidden=4, out=WIDE, queue=LENGTH), math.log(LENGTH)),
}


@pytest.mark.parametrize("kind", CHANCES)
def test_chance_is_what_independent_vectors_reach(kind: str) -> None:
    n, (make, config, level) = 32, CHANCES[kind]
    q1, q2, k1, k2 = torch.randn(4, n, WIDE, generator=torch.Generator().manual_seed(0))
    method = make(Backbone(toy.Flat(48, 12), 12), config)
    method.student = Said(q1, q2)
    batch = Batch(tuple(torch.zeros(2, n, 3, 4, 4)), torch.arange(n))
    outcome = method(batch, Targets((Encoding(k1, k1), Encoding(k2, k2))), slice(0, n))
    assert outcome.chance == pytest.approx(level, rel=1e-12)
    assert total(outcome) == pytest.approx(outcome.chance, rel=0.01)


def test_nnclr_ema_of_independent_predictions_is_at_its_chance_level() -> None:
    n = 32
    p1, p2, nn1, nn2 = torch.randn(4, n, WIDE, generator=torch.Generator().manual_seed(0))
    config = NNCLREma(0.2, LENGTH, hidden=4, out=4, predictor_hidden=4)
    method = NNCLREmaMethod(Backbone(toy.Flat(48, 12), 12), config)
    method.student = Said(p1, p2)
    batch = Batch(tuple(torch.zeros(2, n, 3, 4, 4)), torch.arange(n))
    outcome = method(batch, Targets((Encoding(p1, nn1), Encoding(p2, nn2)), (nn1, nn2)), slice(0, n))
    assert outcome.chance == pytest.approx(math.log(n), rel=1e-12)
    assert total(outcome) == pytest.approx(outcome.chance, rel=0.01)


ONE_SIDED = ["mocov2", "ressl", "densecl", "msf"]


@pytest.mark.parametrize("kind", ONE_SIDED)
def test_pairs_are_on_the_students_view_and_only_where_asked_for(kind: str) -> None:
    method = toy.method(kind, batch_norm=False)
    outcome, (s1, _), (t1, _) = said(method, slice(2, 5))
    (pair, *_) = outcome.pairs
    assert pair.name == "global" and {p.name for p in outcome.pairs[1:]} <= {"dense"}
    torch.testing.assert_close(pair.student.z, s1.z)
    torch.testing.assert_close(pair.teacher.z, t1.z)
    assert pair.student.z.requires_grad and not pair.teacher.z.requires_grad
    assert len(pair.bank.z) == 8 and torch.equal(pair.bank.z[2:5], pair.teacher.z)
    plain = toy.method(kind, batch_norm=False, same_view=False)
    without, _, _ = said(plain, slice(2, 5))
    assert without.pairs == () and total(without) == total(outcome)


@pytest.mark.parametrize("kind", ONE_SIDED)
def test_the_extra_pass_of_the_teacher_leaves_no_trace(kind: str) -> None:
    """With the residual weight 0, `same_view` is the published method bit for bit, batch statistics included."""
    states = []
    for same_view in (False, True):
        method = toy.method(kind, same_view=same_view)
        before = copy.deepcopy(method.state_dict())
        targets = method.teach(toy.batch())
        assert len(targets.views) == 1 + same_view
        method(toy.batch(), targets, slice(0, 8))
        states.append(method.state_dict())
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    assert any(not torch.equal(value, before[name]) for name, value in states[0].items()) == has_batch_norm(method)


def has_batch_norm(method: Method) -> bool:
    return any(name.endswith("running_mean") for name, _ in method.named_buffers())


def test_unrecorded_normalises_with_the_batch_and_keeps_the_running_statistics() -> None:
    teacher = make_teacher(toy.method("byol").student)
    x = toy.batch().views[0]
    plain = copy.deepcopy(teacher)
    before = copy.deepcopy(teacher.state_dict())
    with unrecorded(teacher):
        said_ = teacher(x).z
    assert torch.equal(said_, plain(x).z)
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())
    teacher(x)  # from here on it records again
    assert all(torch.equal(value, plain.state_dict()[name]) for name, value in teacher.state_dict().items())
    with unrecorded(teacher.eval()):
        assert torch.equal(teacher(x).z, plain.eval()(x).z)


@pytest.mark.parametrize("change", [{"temperature": 0.0}, {"hidden": 0}, {"out": 0}, {"queue": 0}])
def test_impossible_mocov2_settings_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"method.{next(iter(change))}"):
        MoCoV2(**change)
    with pytest.raises(ValueError, match=r"leave method\.same_view off"):
        MoCoV2(symmetric=True, same_view=True)


@pytest.mark.parametrize(
    "change", [{"student_temperature": 0.0}, {"teacher_temperature": -1.0}, {"hidden": 0}, {"out": 0}, {"queue": 0}]
)
def test_impossible_ressl_settings_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"method.{next(iter(change))}"):
        ReSSL(**change)


@pytest.mark.parametrize("change", [{"topk": 0}, {"queue": 0}, {"hidden": 0}, {"out": 0}, {"predictor_hidden": 0}])
def test_impossible_msf_settings_are_refused(change: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=f"method.{next(iter(change))}"):
        MSF(**change)
    with pytest.raises(ValueError, match=r"lower method\.topk"):
        MSF(topk=5, queue=4)
    with pytest.raises(ValueError, match=r"leave method\.same_view off"):
        MSF(symmetric=True, same_view=True)


@pytest.mark.parametrize(
    "change", [{"temperature": 0.0}, {"queue": 0}, {"hidden": 0}, {"out": 0}, {"predictor_hidden": 0}]
)
def test_impossible_nnclr_ema_settings_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"method.{next(iter(change))}"):
        NNCLREma(**change)
