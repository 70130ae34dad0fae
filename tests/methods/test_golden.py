"""Methods by their numbers: golden first losses, the papers' formulas, and that a short run learns."""

import copy
import json
import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from resmom.diagnose.health import retrieval
from resmom.losses.residual import Residual
from resmom.method import Method
from resmom.methods.byol import Byol
from resmom.methods.mocov3 import MoCoV3, MoCoV3Method
from resmom.nets.backbones import Backbone
from resmom.train.optim import Sgd, build_optimizer
from resmom.train.plan import Plan
from resmom.train.state import State
from resmom.train.step import Rules, train_step
from resmom.types import Batch, Encoding, Targets
from resmom.views.apply import plain, views
from tests import oracle, toy
from tests.methods import golden

GOLDEN: dict[str, list[float]] = json.loads(golden.FILE.read_text())
KINDS = ["mocov3", "byol"]
ALL = toy.TAUGHT


@pytest.mark.parametrize("case", golden.CASES, ids=lambda case: case.name)
def test_first_losses_are_golden(case: golden.Case) -> None:
    """If this fails on purpose: `make golden`, review the difference, and say why in the changelog."""
    found, _ = golden.losses(case)
    assert found == pytest.approx(GOLDEN[case.name], rel=1e-5)


def test_the_golden_file_holds_these_cases_and_no_others() -> None:
    assert list(GOLDEN) == [case.name for case in golden.CASES]
    assert all(len(series) == golden.STEPS for series in GOLDEN.values())


def test_golden_weights_are_functions_of_names() -> None:
    torch.manual_seed(1)
    one = golden.start("byol")
    torch.manual_seed(2)
    other = golden.start("byol")
    for name, p in one.named_parameters():
        assert torch.equal(p, other.get_parameter(name)), name
    teacher = dict(one.teacher.named_parameters())
    assert all(torch.equal(p, one.student.get_parameter(name)) for name, p in teacher.items())


def spread(method: Method) -> float:
    """How far the representations of the golden images stand apart: standard deviation of h / |h|."""
    policy = golden.mild()
    images = plain(golden.images(), policy.views[0].size, policy.mean, policy.std)
    with torch.no_grad():
        h = method.eval().student(images).h
    return nn.functional.normalize(h, dim=1).std(0).square().sum().sqrt().item()


def found_again(method: Method) -> float:
    """Percent of views whose nearest representation of the other view is of the same image; 1 in 32 by chance."""
    index, found = np.arange(golden.IMAGES), []
    with torch.no_grad():
        for epoch in range(4):
            made = views(golden.images(), index, golden.mild(), golden.SEED + 1, epoch)
            found.append(retrieval(*(method.eval().student(view).h for view in made)))
    return float(np.mean(found))


QUEUES = {"mocov2": 40, "mocov2plus": 40, "ressl": 160, "densecl": 80, "msf": 80, "nnclr_ema": 80}
"""Methods with a queue and the steps in which a tiny network learns."""


@pytest.mark.slow
@pytest.mark.parametrize("residual", [0.0, 1.0])
@pytest.mark.parametrize("kind", [*KINDS, *QUEUES])
def test_a_short_run_learns(kind: str, residual: float) -> None:
    before, found = spread(golden.start(kind)), found_again(golden.start(kind))
    case, steps = golden.Case(kind, "sgd", residual), QUEUES.get(kind, 40)
    losses, method = golden.losses(case, steps=steps, policy=golden.mild(), lr=0.5)
    end = np.mean(losses[-8:])
    if kind in QUEUES:  # the random vectors of the start are told apart at once; it gets hard when keys replace them
        assert end < 0.8 * max(losses)
        assert kind == "msf" or end < 0.8 * math.log(golden.QUEUE + 1)  # it is no contrast, and has no such level
    else:
        start, chance = np.mean(losses[:4]), 4 * 0.2 * math.log(golden.BATCH)
        assert end < (0.75 * chance if kind == "mocov3" else 0.5 * start)
        assert end < 0.75 * start
    assert spread(method) > before > 0.05  # the representation opens up; a collapsed one would close to 0
    assert found_again(method) > found + 5


@torch.no_grad()
def encodings(method: Method, batch: Batch) -> tuple[list[Encoding], list[Encoding]]:
    """Student and teacher of both views, in the method's present mode, statistics put back."""
    kept = copy.deepcopy(method.state_dict())
    made = [[network(view) for view in batch.views] for network in (method.student, method.teacher)]
    method.load_state_dict(kept)
    return made[0], made[1]


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_is_the_papers_formula(kind: str) -> None:
    method, batch = toy.method(kind), toy.batch()
    (s1, s2), (t1, t2) = encodings(method, batch)
    outcome = method(batch, method.teach(batch), slice(0, 8))
    total = sum(term.weight * term.value.item() for term in outcome.terms)
    p1, p2, z1, z2 = (x.numpy() for x in (s1.p, s2.p, t1.z, t2.z))
    expected = oracle.mocov3(p1, p2, z1, z2, 0.2) if kind == "mocov3" else oracle.byol(p1, p2, z1, z2)
    assert total == pytest.approx(expected, rel=1e-12)
    assert outcome.memory == ()


@pytest.mark.parametrize("kind", KINDS)
def test_rows_of_a_micro_batch_meet_their_own_targets(kind: str) -> None:
    """The loss of rows 2 … 4, against all keys: the formula on those rows alone."""
    method, batch = toy.method(kind, batch_norm=False), toy.batch()
    (s1, s2), (t1, t2) = encodings(method, batch)
    rows = slice(2, 5)
    outcome = method(batch, method.teach(batch), rows)
    total = sum(term.value.item() for term in outcome.terms)
    p1, p2 = (x.p[rows].numpy() for x in (s1, s2))
    if kind == "mocov3":
        both = (oracle.info_nce(p, k.z.numpy(), 2, 0.2) for p, k in ((p1, t2), (p2, t1)))
        assert total == pytest.approx(2 * 0.2 * sum(both), rel=1e-12)
    else:
        assert total == pytest.approx(oracle.byol(p1, p2, t1.z[rows].numpy(), t2.z[rows].numpy()), rel=1e-12)
    for pair, s, t in zip(outcome.pairs, (s1, s2), (t1, t2), strict=True):
        torch.testing.assert_close(pair.student.p, s.p[rows])
        torch.testing.assert_close(pair.teacher.z, t.z[rows])
        torch.testing.assert_close(pair.bank.z, t.z)


def test_without_a_predictor_projections_meet_the_keys() -> None:
    """The paper's formula on z1, z2 in the place of p1, p2; nothing is left at p."""
    torch.manual_seed(0)
    config = MoCoV3(temperature=0.2, hidden=16, out=8, predictor_layers=0)
    method, batch = MoCoV3Method(Backbone(toy.Flat(48, 12), 12), config).double(), toy.batch()
    (s1, s2), (t1, t2) = encodings(method, batch)
    outcome = method(batch, method.teach(batch), slice(0, 8))
    expected = oracle.mocov3(*(x.z.numpy() for x in (s1, s2, t1, t2)), 0.2)
    assert sum(term.value.item() for term in outcome.terms) == pytest.approx(expected, rel=1e-12)
    assert [encoding.sites for encoding in outcome.encodings] == [("h", "z")] * 2
    names = {name.split(".")[0] for name, _ in method.student.named_parameters()}
    assert names == {"backbone", "projector"} == {name.split(".")[0] for name, _ in method.teacher.named_parameters()}


def written(method: Method) -> dict[str, Tensor]:
    """All weights and buffers but the batch statistics."""
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    return {name: value.clone() for name, value in method.state_dict().items() if not name.endswith(statistics)}


@pytest.mark.parametrize("kind", ALL)
def test_teach_and_forward_write_nothing_but_batch_statistics(kind: str) -> None:
    method, batch = toy.method(kind), toy.batch()
    before, views = written(method), [view.clone() for view in batch.views]
    assert before.keys() <= method.state_dict().keys()
    targets = method.teach(batch)
    for encoding in targets.views:
        assert not encoding.h.requires_grad and not encoding.z.requires_grad
    outcome = method(batch, targets, slice(0, 8))
    sum(term.value for term in outcome.terms).backward()
    after = written(method)
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert all(torch.equal(a, b) for a, b in zip(views, batch.views, strict=True))
    assert all(p.grad is None for p in method.teacher.parameters())
    assert all(p.grad is not None for p in method.student.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_pairs_are_the_same_view(kind: str) -> None:
    method, batch = toy.method(kind), toy.batch()
    student, teacher = encodings(method, batch)
    outcome = method(batch, method.teach(batch), slice(0, 8))
    assert [pair.name for pair in outcome.pairs] == ["global", "global"]
    for pair, s, t in zip(outcome.pairs, student, teacher, strict=True):
        assert torch.equal(pair.student.h, s.h) and torch.equal(pair.student.p, s.p)
        assert torch.equal(pair.teacher.h, t.h) and torch.equal(pair.teacher.z, t.z)
        assert pair.teacher.p is None and pair.student.p.requires_grad
    assert not torch.equal(outcome.pairs[0].teacher.z, outcome.pairs[1].teacher.z)


class Said(nn.Module):
    """A student that answers every view with given rows."""

    def __init__(self, answers: list[Tensor]) -> None:
        super().__init__()
        self.answers = iter(answers)

    def forward(self, view: Tensor) -> Encoding:
        p = next(self.answers)
        return Encoding(p, p, p)


@pytest.mark.parametrize("temperature", [0.2, 1.0])
def test_chance_is_what_independent_embeddings_reach(temperature: float) -> None:
    n, width = 32, 4096
    generator = torch.Generator().manual_seed(0)
    q1, q2, k1, k2 = torch.randn(4, n, width, generator=generator, dtype=torch.float64)
    method = MoCoV3Method(Backbone(toy.Flat(48, 12), 12), MoCoV3(temperature, hidden=4, out=4))
    method.student = Said([q1, q2])
    batch = Batch(tuple(torch.zeros(2, n, 3, 4, 4)), torch.arange(n))
    targets = Targets((Encoding(k1, k1), Encoding(k2, k2)), (k1, k2))
    outcome = method(batch, targets, slice(0, n))
    assert outcome.chance == pytest.approx(4 * temperature * math.log(n), rel=1e-12)
    assert sum(term.value.item() for term in outcome.terms) == pytest.approx(outcome.chance, rel=0.01)


def test_chance_counts_all_keys_and_byol_has_none() -> None:
    batch = toy.batch()
    method = toy.method("mocov3")
    assert method(batch, method.teach(batch), slice(0, 4)).chance == pytest.approx(4 * 0.2 * math.log(8))
    method = toy.method("byol")
    assert method(batch, method.teach(batch), slice(0, 8)).chance is None


@pytest.mark.parametrize("kind", ALL)
def test_no_gradient_reaches_the_teacher_or_its_targets(kind: str) -> None:
    """Training moves the teacher by the one rule alone: with momentum 1 it stays where it was."""
    method = toy.method(kind)
    state = State(method, build_optimizer(Sgd(), method.student))
    before = [p.clone() for p in method.teacher.parameters()]
    train_step(state, toy.batch(), Plan(lr=0.1, momentum=1.0, residual=1.0), Rules(Residual(1.0, toy.site(kind))))
    assert all(torch.equal(a, b) for a, b in zip(before, method.teacher.parameters(), strict=True))


@pytest.mark.parametrize("change", [{"temperature": 0.0}, {"temperature": math.nan}, {"hidden": 0}, {"out": 0}])
def test_impossible_mocov3_settings_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"method.{next(iter(change))}"):
        MoCoV3(**change)


@pytest.mark.parametrize("change", [{"hidden": 0}, {"out": -1}, {"predictor_hidden": 0}])
def test_impossible_byol_settings_are_refused(change: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=f"method.{next(iter(change))}"):
        Byol(**change)
