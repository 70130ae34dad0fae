"""Methods without a teacher by their numbers: formulas, chance levels, steps, and that a short run learns."""

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from resmom.config import ConfigError, Run
from resmom.configcheck import check
from resmom.losses.neighbours import nearest
from resmom.losses.residual import Residual
from resmom.method import Method
from resmom.methodconfig import METHODS, steady_of
from resmom.methods.barlow import BarlowTwins
from resmom.methods.nnclr import NNCLR
from resmom.methods.simclr import SimCLR, SimCLRMethod
from resmom.methods.simsiam import SimSiam
from resmom.methods.vicreg import VICReg
from resmom.nets.backbones import Backbone
from resmom.train.optim import Adam, AdamW, Lars, OptimConfig, Sgd, Steady, build_optimizer, set_rate
from resmom.train.plan import Plan, Train
from resmom.train.state import State, load_state, state_dict
from resmom.train.step import Rules, train_step
from resmom.types import Batch, Encoding, Targets
from tests import oracle, toy
from tests.methods import golden
from tests.methods.test_golden import spread, written
from tests.train.test_gated import no_reading

__all__ = ["no_reading"]  # a fixture

KINDS = [name for name, config in METHODS.items() if not config.traits.teacher]
WHOLE = [name for name in KINDS if not METHODS[name].traits.micro_batches]
PLAN = Plan(lr=0.1, momentum=0.9, residual=0.0)


def state(kind: str, gated: bool = False, batch_norm: bool = True) -> State:
    made = toy.method(kind, batch_norm=batch_norm)
    return State(made, build_optimizer(Sgd(), made.student, gated=gated))


@torch.no_grad()
def said(method: Method) -> list[Encoding]:
    """The student on both views of the toy batch, in its present mode, statistics put back."""
    kept = copy.deepcopy(method.state_dict())
    made = [method.student(view) for view in toy.batch().views]
    method.load_state_dict(kept)
    return made


def papers(kind: str, method: Method) -> float:
    """The paper's formula in slow loops, on what the student says of the toy batch."""
    one, two = said(method)
    z1, z2 = one.z.numpy(), two.z.numpy()
    p1, p2 = (e.z.numpy() if e.p is None else e.p.numpy() for e in (one, two))
    match kind:
        case "simsiam":
            return oracle.simsiam(p1, p2, z1, z2) + 1.0  # 1 - cos here, -cos there
        case "simclr":
            return oracle.simclr(z1, z2, 0.2)
        case "barlow":
            return oracle.barlow(z1, z2, 0.0051, 0.1)
        case "vicreg":
            return oracle.vicreg(z1, z2, 25.0, 25.0, 1.0)
        case "nnclr":
            return oracle.nnclr(z1, z2, p1, p2, method.queue.numpy(), 0.2)
        case _:
            raise ValueError(kind)


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_is_the_papers_formula(kind: str) -> None:
    method, batch = toy.method(kind), toy.batch()
    expected = papers(kind, method)
    outcome = method(batch, method.teach(batch), slice(0, 8))
    assert sum(term.weight * term.value.item() for term in outcome.terms) == pytest.approx(expected, rel=1e-9)
    assert outcome.pairs == () and len(outcome.encodings) == 2


@pytest.mark.parametrize("kind", KINDS)
def test_there_is_no_teacher_and_nothing_is_written(kind: str) -> None:
    method, batch = toy.method(kind), toy.batch()
    assert method.teacher is None and method.teach(batch) == Targets(())
    before, views = written(method), [view.clone() for view in batch.views]
    outcome = method(batch, method.teach(batch), slice(0, 8))
    sum(term.weight * term.value for term in outcome.terms).backward()
    assert all(torch.equal(value, written(method)[name]) for name, value in before.items())
    assert all(torch.equal(a, b) for a, b in zip(views, batch.views, strict=True))
    assert all(p.grad is not None for p in method.student.parameters())
    assert not any(name.startswith("teacher") for name in method.state_dict())


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_gated_run_is_the_plain_run_and_a_skipped_step_leaves_nothing_behind(kind: str) -> None:
    plain, gated = state(kind), state(kind, gated=True)
    for step in range(4):
        batch = toy.batch(step)
        if step == 2:
            batch.views[0][1, 0, 0, 0] = math.nan
        before = copy.deepcopy(gated.method.state_dict())
        for made, flag in ((plain, False), (gated, True)):
            metrics = train_step(made, batch, PLAN, Rules(Residual(), gated=flag), measure=True)
            assert metrics["skipped"] == float(step == 2)
            assert not any(name.startswith("gap/") for name in metrics)
        same = [torch.equal(value, before[name]) for name, value in gated.method.state_dict().items()]
        assert all(same) if step == 2 else not all(same)
    for name, value in gated.method.state_dict().items():
        torch.testing.assert_close(value, plain.method.state_dict()[name], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_the_host_reads_nothing_inside_a_gated_step(kind: str, no_reading: None) -> None:
    made = state(kind, gated=True)
    for step in range(2):
        train_step(made, toy.batch(step), PLAN, Rules(Residual(), gated=True))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_restart_is_no_interruption(kind: str) -> None:
    """The state after two steps, put into a fresh run, and two more: bit for bit those of four in one go."""
    whole, first, second = state(kind), state(kind), state(kind)
    for step in range(4):
        train_step(whole, toy.batch(step), PLAN, Rules(Residual()))
    for step in range(2):
        train_step(first, toy.batch(step), PLAN, Rules(Residual()))
    saved = copy.deepcopy(state_dict(first))
    assert saved["teacher"] is None
    with torch.no_grad():
        for value in second.method.parameters():
            value.zero_()
    load_state(second, saved)
    for step in range(2, 4):
        train_step(second, toy.batch(step), PLAN, Rules(Residual()))
    want = whole.method.state_dict()
    assert all(torch.equal(value, want[name]) for name, value in second.method.state_dict().items())


def test_a_checkpoint_with_a_teacher_is_not_one_without() -> None:
    ours, theirs = state("simsiam"), State(toy.method("byol"), build_optimizer(Sgd(), toy.method("byol").student))
    with pytest.raises((ValueError, RuntimeError)):
        load_state(ours, state_dict(theirs))
    saved = {**state_dict(ours), "teacher": {}}
    with pytest.raises(ValueError, match="'teacher' is in only one"):
        load_state(ours, saved)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in WHOLE])
def test_accumulation_is_exact(kind: str) -> None:
    results = []
    for micro in (0, 4, 3):
        made = state(kind, batch_norm=False)
        for step in range(3):
            metrics = train_step(made, toy.batch(step), PLAN, Rules(Residual(), micro_batch=micro))
        results.append(torch.cat([metrics["loss"].view(1), *(p.flatten() for p in made.method.state_dict().values())]))
    for other in results[1:]:
        assert (other - results[0]).norm() <= 1e-10 * results[0].norm()


RATES = {"simsiam": 2.0, "simclr": 0.3, "barlow": 0.3, "vicreg": 0.1, "nnclr": 0.3}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_short_run_learns(kind: str) -> None:
    before = spread(golden.start(kind))
    losses, method = golden.losses(golden.Case(kind, "sgd", 0.0), steps=40, policy=golden.mild(), lr=RATES[kind])
    assert np.mean(losses[-8:]) < 0.75 * np.mean(losses[:4])
    assert spread(method) > before > 0.05  # a collapsed representation would close to 0


@pytest.mark.parametrize("config", [Sgd(weight_decay=0.1), Lars(), AdamW(), Adam(weight_decay=0.1)], ids=str)
def test_the_predictor_of_simsiam_keeps_its_rate(config: OptimConfig) -> None:
    """Every parameter is in one group, with the decay it has without; the schedule moves all but the predictor's."""
    student = toy.method("simsiam").student
    made = build_optimizer(config, student, gated=False, steady=Steady(SimSiam.traits.steady, 0.4))
    decay = {
        p: g["weight_decay"] for g in build_optimizer(config, student, gated=False).param_groups for p in g["params"]
    }
    for rate in (0.0, 0.05):
        set_rate(made, rate)
        found: dict[Tensor, tuple[float, float]] = {}
        for group in made.param_groups:
            found |= dict.fromkeys(group["params"], (group["lr"], group["weight_decay"]))
        for name, p in student.named_parameters():
            assert found[p] == (0.4 if name.startswith("predictor.") else rate, decay[p]), name
        assert len(found) == sum(len(group["params"]) for group in made.param_groups)


def test_the_predictor_of_simsiam_can_follow_the_schedule() -> None:
    assert steady_of(SimSiam()) == ("predictor.",) and steady_of(SimSiam(steady_predictor=False)) == ()
    assert steady_of(SimCLR()) == ()


def test_simclrs_head_with_batch_norm() -> None:
    """Normalised after both layers, with gains, each view by itself; the biases it would undo are left out."""
    torch.manual_seed(0)
    body = Backbone(toy.Flat(48, 12), 12)
    made = SimCLRMethod(body, SimCLR(temperature=0.5, hidden=16, out=8, batch_norm=True)).double().train()
    head = made.student.projector
    assert [type(part).__name__ for part in head] == ["Linear", "BatchNorm1d", "ReLU", "Linear", "BatchNorm1d"]
    assert head[0].bias is None and head[3].bias is None and head[4].weight is not None
    outcome = made(toy.batch(), Targets(()), slice(0, 8))
    one, two = (e.z.detach() for e in outcome.encodings)
    for z in (one, two):  # of each view: gains 1, biases 0 at the start
        torch.testing.assert_close(z.mean(0), torch.zeros(8).double(), atol=1e-12, rtol=0)
        torch.testing.assert_close(z.var(0, correction=0), torch.ones(8).double(), atol=1e-3, rtol=0)
    expected = oracle.simclr(one.numpy(), two.numpy(), 0.5)
    assert sum(term.weight * term.value.item() for term in outcome.terms) == pytest.approx(expected, rel=1e-9)


def test_nnclr_with_nt_xent_is_simclrs_formula_on_neighbours_and_predictions() -> None:
    method, batch = toy.method("nnclr_nt_xent"), toy.batch()
    one, two = said(method)
    nn1, nn2 = (nearest(e.z, method.queue, 1)[:, 0].numpy() for e in (one, two))
    outcome = method(batch, Targets(()), slice(0, 8))
    expected = oracle.simclr(nn1, two.p.numpy(), 0.2) / 2 + oracle.simclr(nn2, one.p.numpy(), 0.2) / 2
    assert sum(term.weight * term.value.item() for term in outcome.terms) == pytest.approx(expected, rel=1e-9)
    assert outcome.chance == pytest.approx(math.log(15))


@pytest.mark.parametrize("kind", WHOLE)
def test_losses_of_the_whole_batch_refuse_micro_batches(kind: str) -> None:
    run = Run(method=METHODS[kind](), train=Train(batch=64, micro_batch=32))
    with pytest.raises(ConfigError, match=r"is one of the whole batch.*set train.micro_batch to 0"):
        check(run)
    check(replace(run, train=Train(batch=64, micro_batch=64)))  # one part is the whole
    check(replace(run, train=Train(batch=64)))


def test_which_losses_are_of_the_whole_batch() -> None:
    """Where they are, a part of the batch has another loss than its share of the whole; else it would be refused."""
    assert WHOLE == ["simclr", "barlow", "vicreg", "nnclr"]
    for kind in KINDS:
        method, batch = toy.method(kind, batch_norm=False), toy.batch()
        whole, first, second = (
            sum(term.weight * term.value.item() for term in method(batch, Targets(()), rows).terms)
            for rows in (slice(0, 8), slice(0, 4), slice(4, 8))
        )
        assert ((first + second) / 2 != pytest.approx(whole, rel=1e-6)) == (kind in WHOLE), kind


def test_chance_is_what_projections_at_random_reach() -> None:
    n, width = 64, 4096
    generator = torch.Generator().manual_seed(0)
    z1, z2, p1, p2 = torch.randn(4, n, width, generator=generator, dtype=torch.float64)
    for kind, level in (("simclr", math.log(2 * n - 1)), ("nnclr", math.log(n))):
        method = toy.method(kind)
        method.student = Answers([Encoding(z1, z1, p1), Encoding(z2, z2, p2)])
        if kind == "nnclr":
            method.queue = torch.nn.functional.normalize(torch.randn(99, width, generator=generator).double(), dim=1)
        batch = Batch(tuple(torch.zeros(2, n, 3, 4, 4)), torch.arange(n))
        outcome = method(batch, Targets(()), slice(0, n))
        assert outcome.chance == pytest.approx(level, rel=1e-12)
        assert sum(t.weight * t.value.item() for t in outcome.terms) == pytest.approx(level, rel=0.01)
    for kind in ("simsiam", "barlow", "vicreg"):
        assert toy.method(kind)(toy.batch(), Targets(()), slice(0, 8)).chance is None


class Answers(torch.nn.Module):
    """A student that answers every view with a given encoding."""

    def __init__(self, answers: list[Encoding]) -> None:
        super().__init__()
        self.answers = iter(answers)

    def forward(self, view: Tensor) -> Encoding:
        return next(self.answers)


def test_the_support_set_is_first_in_first_out() -> None:
    """20 places, 8 images a step: after three steps the first view's projections, the oldest overwritten."""
    made = state("nnclr", batch_norm=False)
    start = made.method.queue.clone()
    rows = []
    for step in range(3):
        with torch.no_grad():
            rows += [v / np.linalg.norm(v) for v in made.method.student(toy.batch(step).views[0]).z.numpy()]
        train_step(made, toy.batch(step), PLAN, Rules(Residual()))
        want = start.numpy().copy()
        for number, row in enumerate(rows):
            want[number % 20] = row
        np.testing.assert_allclose(made.method.queue.numpy(), want, rtol=1e-12)
    assert made.method.pointer.item() == 24 % 20
    made = state("nnclr")
    broken = toy.batch()
    broken.views[1][0] = math.nan
    before = made.method.queue.clone()
    train_step(made, broken, PLAN, Rules(Residual()))
    assert torch.equal(made.method.queue, before) and made.method.pointer == 0


def test_neighbours_are_looked_up_before_the_batch_is_remembered() -> None:
    """And they carry no gradient: what the neighbour's view says changes nothing for itself."""
    method, batch = toy.method("nnclr"), toy.batch()
    z = said(method)[0].z
    queue = method.queue
    want = [max(range(len(queue)), key=lambda j, i=i: oracle.cos(z[i].numpy(), queue[j].numpy())) for i in range(8)]
    found = nearest(z.requires_grad_(), queue, 1)[:, 0]
    assert torch.equal(found, queue[want]) and not found.requires_grad
    assert method(batch, Targets(()), slice(0, 8)).memory[0].requires_grad is False


def test_a_support_set_shorter_than_the_batch_is_refused() -> None:
    run = Run(method=NNCLR(queue=63), train=Train(batch=64))
    with pytest.raises(ConfigError, match=r"method.queue is 63, train.batch 64"):
        check(run)


def test_no_gradient_flows_through_simsiams_targets() -> None:
    """With the predictor's side cut off, nothing is left to learn from: z is detached."""
    method, batch = toy.method("simsiam"), toy.batch()
    for p in method.student.predictor.parameters():
        p.data.zero_()
    outcome = method(batch, Targets(()), slice(0, 8))
    sum(term.value for term in outcome.terms).backward()
    assert all(not p.grad.any() for p in method.student.backbone.parameters())


REFUSED = {
    SimSiam: {"hidden": 0, "out": 0, "predictor_hidden": -1},
    SimCLR: {"temperature": 0.0, "hidden": 0, "out": 0},
    BarlowTwins: {"redundancy": -0.1, "scale": 0.0, "hidden": 0, "out": 0},
    VICReg: {"invariance": -1.0, "variance": -1.0, "covariance": -1.0, "hidden": 0, "out": 0},
    NNCLR: {"temperature": math.nan, "queue": 0, "hidden": 0, "out": 0, "predictor_hidden": 0},
}


EACH = [(config, {name: value}) for config, bad in REFUSED.items() for name, value in bad.items()]


@pytest.mark.parametrize(("config", "change"), EACH)
def test_impossible_settings_are_refused(config: type, change: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"method.{next(iter(change))}"):
        config(**change)
