"""The step's contract: exact accumulation, order of moves, and steps that leave nothing behind."""

import copy
import math
import re
from pathlib import Path

import pytest
import torch
from torch import nn

from resmom.evaluate.online import OnlineClassifier
from resmom.losses.residual import Residual
from resmom.method import Method
from resmom.methodconfig import METHODS
from resmom.nets.teacher import make_teacher, move_teacher, weight_pairs
from resmom.train.optim import Lars, Sgd, build_optimizer, set_rate
from resmom.train.plan import Plan
from resmom.train.state import State
from resmom.train.step import Rules, slices, total_loss, train_step
from resmom.types import Batch
from tests import toy

PLAN = Plan(lr=0.1, momentum=0.9, residual=1.5)


def state(method: Method, config: Sgd | Lars | None = None) -> State:
    return State(method, build_optimizer(config or Sgd(), method.student))


def everything(method: Method) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in method.state_dict().items()}


@pytest.mark.slow
@pytest.mark.parametrize("kind", toy.PARTED)
@pytest.mark.parametrize("distance", ["cosine", "mse", "kd_feature", "kd_relation"])
def test_accumulation_is_exact(kind: str, distance: str) -> None:
    """Loss, gradient, student and teacher after 3 steps: 1, 2 and 8 (uneven) micro-batches against the whole batch."""
    results = []
    for micro in (0, 4, 3, 1):
        made = state(toy.method(kind, batch_norm=False))
        rules = Rules(Residual(1.5, toy.site(kind), distance=distance), micro_batch=micro)
        for step in range(3):
            metrics = train_step(made, toy.batch(step), PLAN, rules, measure=False)
        gradient = torch.cat([p.grad.flatten() for p in made.method.student.parameters()])
        weights = torch.cat([p.flatten() for p in made.method.state_dict().values()])
        results.append((metrics["loss"], metrics["grad_norm"], gradient, weights))
    for other in results[1:]:
        for ours, whole in zip(other, results[0], strict=True):
            assert (ours - whole).norm() <= 1e-10 * whole.norm()


@pytest.mark.slow
@pytest.mark.parametrize("kind", toy.GROUPS)
def test_accumulation_of_whole_groups_is_exact_with_batch_norm(kind: str) -> None:
    """The groups are the same in micro-batches of one, two or (unevenly) three of them as in the whole batch."""
    results = []
    for micro in (0, 4, 6, 2):
        made = state(toy.method(kind))
        for step in range(3):
            metrics = train_step(made, toy.batch(step), PLAN, Rules(Residual(1.5, toy.site(kind)), micro_batch=micro))
        gradient = torch.cat([p.grad.flatten() for p in made.method.student.parameters()])
        weights = torch.cat([p.flatten() for p in made.method.parameters()])
        results.append((metrics["loss"], metrics["grad_norm"], gradient, weights))
    for other in results[1:]:
        for ours, whole in zip(other, results[0], strict=True):
            assert (ours - whole).norm() <= 1e-10 * whole.norm()


def test_micro_batches_with_batch_norm_are_refused_to_be_the_same() -> None:
    """The stated exception: BatchNorm of the student sees micro-batches, so the result differs."""
    losses = []
    for micro in (0, 4):
        made = state(toy.method(batch_norm=True))
        losses.append(train_step(made, toy.batch(), PLAN, Rules(Residual(), micro_batch=micro))["loss"])
    assert losses[0] != losses[1]


def said_of_micro_batches() -> dict[str, str]:
    """What docs/path-of-a-batch.md says of each method on a backbone without BatchNorm."""
    page = (Path(__file__).parents[2] / "docs/path-of-a-batch.md").read_text(encoding="utf-8")
    rows = [line.split("|") for line in page.partition("### Micro-batches")[2].splitlines() if line.startswith("| `")]
    return {name: row[2].strip() for row in rows for name in re.findall(r"`(\w+)`", row[1])}


def apart(kind: str) -> float:
    """How far the gradient of two micro-batches is from that of the whole batch, as a share of it."""
    gradients = []
    for micro in (0, 4):
        made = state(toy.method(kind))
        train_step(made, toy.batch(), PLAN, Rules(Residual(), micro_batch=micro))
        gradients.append(torch.cat([p.grad.flatten() for p in made.method.student.parameters() if p.grad is not None]))
    return ((gradients[0] - gradients[1]).norm() / gradients[0].norm()).item()


def test_the_page_says_of_every_method_what_micro_batches_do() -> None:
    assert set(said_of_micro_batches()) == set(METHODS)


@pytest.mark.parametrize("name", METHODS)
def test_micro_batches_are_exact_where_the_page_says_so(name: str) -> None:
    """Bodies here have no BatchNorm, heads have that of the method."""
    said = said_of_micro_batches()[name]
    assert said.startswith("refused") == (not METHODS[name].traits.micro_batches)
    if said.startswith("exact"):
        assert apart(name) < 1e-10
    elif said.startswith("not exact"):
        assert apart(name) > 1e-2
    if "With `--method.shuffle-bn` exact" in said:
        assert apart(f"{name}_groups") < 1e-10


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*toy.TAUGHT, "dinov2_mean", *toy.GROUPS])
def test_weight_zero_is_the_published_method_bit_for_bit(kind: str) -> None:
    runs = []
    for residual in (Residual(0.0), None):
        made = state(toy.method(kind))
        for step in range(3):
            batch = toy.batch(step)
            if residual is not None:
                train_step(made, batch, Plan(0.1, 0.9, 0.0), Rules(residual))
                continue
            # The published method written out: loss, backward, optimiser, teacher.
            torch.manual_seed(step)  # of which shuffled keys are a function
            targets = made.method.teach(batch)
            outcome = made.method(batch, targets, slice(0, 8))
            made.optimizer.zero_grad()
            sum(term.weight * term.value for term in outcome.terms).backward()
            made.optimizer.param_groups[0]["lr"] = 0.1
            made.optimizer.step()
            with torch.no_grad():
                for t, s in zip(*weight_pairs(made.method.teacher, made.method.student), strict=True):
                    t.lerp_(s, 1.0 - 0.9)
            made.method.remember(outcome.memory)
        runs.append(everything(made.method))
    for name, value in runs[0].items():
        assert torch.equal(value, runs[1][name]), name


def test_the_term_acts() -> None:
    with_term, without = state(toy.method()), state(toy.method())
    a = train_step(with_term, toy.batch(), PLAN, Rules(Residual(1.5)))
    b = train_step(without, toy.batch(), PLAN, Rules(Residual()))
    assert a["loss"].item() == pytest.approx(b["loss"].item() + 1.5 * a["loss/residual"].item(), rel=1e-12)
    assert "loss/residual" not in b
    weights = [torch.cat([p.flatten() for p in s.method.student.parameters()]) for s in (with_term, without)]
    assert not torch.equal(*weights)


def test_the_teacher_moves_once_after_the_optimiser() -> None:
    made = state(toy.method())
    before = [t.clone() for t in weight_pairs(made.method.teacher, made.method.student)[0]]
    train_step(made, toy.batch(), PLAN, Rules(Residual(), micro_batch=2))
    after, student = weight_pairs(made.method.teacher, made.method.student)
    for old, new, s in zip(before, after, student, strict=True):
        torch.testing.assert_close(new, 0.9 * old + 0.1 * s, rtol=1e-12, atol=1e-14)
    assert any(not torch.equal(old, new) for old, new in zip(before, after, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*toy.TAUGHT, "dinov2_mean"])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_skipped_step_leaves_nothing_behind(bad: float, kind: str) -> None:
    made = state(toy.method(kind))
    rules = Rules(Residual(1.0, toy.site(kind)))
    train_step(made, toy.batch(0), PLAN, rules)
    before, optimizer = everything(made.method), copy.deepcopy(made.optimizer.state_dict())
    broken = toy.batch(1)
    broken.views[0][3, 1, 2, 2] = bad
    metrics = train_step(made, broken, PLAN, rules)
    assert metrics["skipped"] == 1 and made.skipped == 1 and made.step == 2
    for name, value in everything(made.method).items():
        assert torch.equal(value, before[name]), name  # weights, teacher, memory, statistics, counts
    for key, slot in made.optimizer.state_dict()["state"].items():
        assert torch.equal(slot["momentum_buffer"], optimizer["state"][key]["momentum_buffer"])
    assert train_step(made, toy.batch(2), PLAN, rules)["skipped"] == 0


def test_memory_moves_only_with_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    made = state(toy.method())
    calls = []
    monkeypatch.setattr(type(made.method), "remember", lambda self, memory: calls.append(memory))
    broken = toy.batch()
    broken.views[1][0] = math.nan
    train_step(made, broken, PLAN, Rules(Residual()))
    assert calls == []
    train_step(made, toy.batch(), PLAN, Rules(Residual(), micro_batch=2))
    assert len(calls) == 1


def test_fp16_overflow_is_a_skipped_step_that_lowers_the_scale() -> None:
    made = state(toy.method().float())
    made.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40, growth_interval=100)
    batch = Batch(tuple(v.float() for v in toy.batch().views), torch.arange(8))
    before = everything(made.method)
    metrics = train_step(made, batch, PLAN, Rules(Residual(1.0), precision="fp16"))
    assert metrics["skipped"] == 1
    assert made.scaler.get_scale() == 2.0**39
    for name, value in everything(made.method).items():
        assert torch.equal(value, before[name]), name
    made.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**8)
    assert train_step(made, batch, PLAN, Rules(Residual(1.0), precision="fp16"))["skipped"] == 0


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_is_near_full(precision: str) -> None:
    losses = []
    for p in ("fp32", precision):
        made = state(toy.method().float())
        batch = Batch(tuple(v.float() for v in toy.batch().views), torch.arange(8))
        metrics = train_step(made, batch, PLAN, Rules(Residual(1.0), precision=p))
        assert metrics["loss"].dtype == torch.float32
        losses.append(metrics["loss"].item())
    assert losses[1] == pytest.approx(losses[0], rel=3e-2)


def test_clipping_bounds_the_gradient() -> None:
    made = state(toy.method())
    metrics = train_step(made, toy.batch(), PLAN, Rules(Residual(), clip=1e-3))
    norm = torch.cat([p.grad.flatten() for p in made.method.student.parameters()]).norm()
    assert metrics["grad_norm"] > 1e-3 and norm.item() == pytest.approx(1e-3, rel=1e-4)


def test_teacher_starts_as_a_copy_heads_included_and_takes_no_gradient() -> None:
    made = toy.method(parted=False)
    ours, theirs = weight_pairs(made.teacher, made.student)
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    assert not any(p.requires_grad for p in made.teacher.parameters())
    assert made.teacher.predictor is None


def test_teacher_buffers_stay_its_own_and_counts_are_never_averaged() -> None:
    made = state(toy.method())
    train_step(made, toy.batch(), PLAN, Rules(Residual()))
    buffers = dict(made.method.teacher.named_buffers())
    student = dict(made.method.student.named_buffers())
    counts = [name for name in buffers if name.endswith("num_batches_tracked")]
    assert counts and all(buffers[name].dtype == torch.int64 and buffers[name] == 2 for name in counts)
    before = {name: value.clone() for name, value in buffers.items()}
    move_teacher(made.method.teacher, made.method.student, 0.0)
    assert all(torch.equal(value, before[name]) for name, value in made.method.teacher.named_buffers())
    assert student.keys() > buffers.keys()


def test_teacher_and_student_of_different_make_are_refused() -> None:
    made, other = toy.method(), toy.method()
    teacher = make_teacher(made.student)
    teacher.projector.add_module("9", nn.Linear(2, 2))
    with pytest.raises(ValueError, match="differ in parameters"):
        move_teacher(teacher, made.student, 0.9)
    other.teacher.projector[0] = nn.Linear(12, 17, bias=False)
    with pytest.raises(ValueError, match="in the teacher"):
        move_teacher(other.teacher, other.student, 0.9)


def test_logged_total_is_the_trained_total() -> None:
    made = toy.method()
    batch = toy.batch()
    outcome = made(batch, made.teach(batch), slice(0, 8))
    total, parts = total_loss(outcome, Residual(1.0), 0.7)
    assert total.item() == parts["loss"].item()
    assert total.item() == pytest.approx(
        sum(t.weight * t.value.item() for t in outcome.terms) + 0.7 * parts["loss/residual"].item()
    )
    assert outcome.chance is not None and parts["loss/chance"].item() == pytest.approx(outcome.chance)
    assert total.requires_grad and not any(value.requires_grad for value in parts.values())


def test_the_online_classifier_learns_beside_the_encoder_which_does_not_notice() -> None:
    alone, beside = state(toy.method()), state(toy.method())
    beside.online = OnlineClassifier(12, 3)
    beside.online_optimizer = build_optimizer(Sgd(), beside.online)
    set_rate(beside.online_optimizer, 0.1)
    start, labels = everything(beside.online), torch.tensor([0, 1, 2, -1, 0, 1, 2, 0])
    assert "loss/online" not in train_step(alone, toy.batch(), PLAN, Rules(Residual()), labels)
    found = train_step(beside, toy.batch(), PLAN, Rules(Residual(), micro_batch=4), labels)
    train_step(again := state(toy.method()), toy.batch(), PLAN, Rules(Residual(), micro_batch=4))
    assert found["loss/online"].item() > 0
    assert any(not torch.equal(value, start[name]) for name, value in beside.online.state_dict().items())
    for name, value in again.method.state_dict().items():
        assert torch.equal(beside.method.state_dict()[name], value), name


def test_of_one_image_there_are_no_gaps() -> None:
    for micro_batch, measured in ((1, False), (2, True)):
        rules = Rules(Residual(), micro_batch=micro_batch)
        found = train_step(state(toy.method(batch_norm=False)), toy.batch(n=4), PLAN, rules, measure=True)
        assert ("gap/h/chance" in found) is measured


def test_slices_cover_the_batch() -> None:
    assert list(slices(6, 2)) == [slice(0, 2), slice(2, 4), slice(4, 6)]
    assert list(slices(8, 3)) == [slice(0, 3), slice(3, 6), slice(6, 8)]
    assert list(slices(5, 0)) == [slice(0, 5)]


def test_no_row_is_left_by_itself() -> None:
    assert list(slices(5, 2)) == [slice(0, 2), slice(2, 5)] and list(slices(8, 7)) == [slice(0, 6), slice(6, 8)]
    assert list(slices(7, 3)) == [slice(0, 3), slice(3, 5), slice(5, 7)] and list(slices(1, 0)) == [slice(0, 1)]
    for n in range(1, 40):
        for size in range(3, 41):
            made = [s.stop - s.start for s in slices(n, size)]
            assert sum(made) == n and max(made) <= size and (min(made) > 1 or n == 1)
    # Of one row batch norm would know nothing, nor the chance gap, whose share would be missing from the mean.
    found = train_step(
        state(toy.method(batch_norm=True)), toy.batch(n=8), PLAN, Rules(Residual(), micro_batch=7), measure=True
    )
    whole = train_step(state(toy.method(batch_norm=True)), toy.batch(n=8), PLAN, Rules(Residual()), measure=True)
    assert 0.7 < found["gap/h/chance"] / whole["gap/h/chance"] < 1.3
