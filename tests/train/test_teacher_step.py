"""The teacher's variants inside a step: after several steps, a skipped one among them, and with micro-batches."""

import math

import pytest
import torch
from torch import Tensor

from resmom.losses.residual import Residual
from resmom.nets.teacher import Ema
from resmom.train.optim import Sgd, build_optimizer
from resmom.train.plan import Plan, Train, momentum, plan
from resmom.train.state import State
from resmom.train.step import Rules, train_step
from tests import toy

RULES = [Ema(batch_norm=b, part=p) for b in ("own", "copied", "averaged") for p in ("all", "projector")]
PLAN = Plan(lr=0.1, momentum=0.9, residual=1.0)


def state(gated: bool) -> State:
    made = toy.method()
    return State(made, build_optimizer(Sgd(), made.student, gated=gated))


def numbers(network: torch.nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("gated", [False, True])
def test_the_teacher_after_some_steps(rule: Ema, gated: bool) -> None:
    """The teacher of every step from the student's state after it, a number at a time; nothing of a skipped step."""
    made = state(gated)
    buffers = {name for name, _ in made.method.teacher.named_buffers()}
    for step in range(4):
        before = numbers(made.method.teacher)
        batch = toy.batch(step)
        if step == 2:
            batch.views[0][1, 0, 0, 0] = math.nan
        metrics = train_step(made, batch, PLAN, Rules(Residual(1.0), gated=gated, ema=rule))
        assert metrics["skipped"] == float(step == 2)
        student = numbers(made.method.student)
        for name, value in made.method.teacher.state_dict().items():
            if step == 2:
                assert torch.equal(value, before[name]), name
            elif name in buffers and rule.batch_norm == "own":
                assert not torch.equal(value, before[name]), name  # its own forward passes
            elif (name in buffers and (rule.batch_norm == "copied" or name.endswith("tracked"))) or (
                rule.part == "projector" and name.startswith("backbone.")
            ):
                assert torch.equal(value, student[name]), name
            else:
                torch.testing.assert_close(value, 0.9 * before[name] + 0.1 * student[name], rtol=1e-12, atol=1e-14)
    assert made.method.teacher.training == (rule.batch_norm != "averaged")


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES, ids=str)
def test_gated_is_plain(rule: Ema) -> None:
    plain, gated = state(False), state(True)
    for step in range(4):
        batch = toy.batch(step)
        if step == 1:
            batch.views[1][0] = math.inf
        for made, flag in ((plain, False), (gated, True)):
            train_step(made, batch, PLAN, Rules(Residual(1.0), gated=flag, ema=rule))
    want = plain.method.state_dict()
    for name, value in gated.method.state_dict().items():
        torch.testing.assert_close(value, want[name], rtol=1e-11, atol=1e-13)


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES, ids=str)
def test_micro_batches_move_it_once(rule: Ema) -> None:
    """Without batch statistics, any micro-batch leaves the same teacher."""
    results = []
    for micro in (0, 3):
        made = toy.method(batch_norm=False)
        held = State(made, build_optimizer(Sgd(), made.student))
        for step in range(3):
            train_step(held, toy.batch(step), PLAN, Rules(Residual(1.0), micro_batch=micro, ema=rule))
        results.append(torch.cat([p.flatten() for p in made.teacher.parameters()]))
    torch.testing.assert_close(results[1], results[0], rtol=1e-10, atol=1e-13)


def test_the_momentum_of_every_schedule() -> None:
    for step in range(11):
        share = step / 10
        half = 1.0 - 0.04 * 0.5 * (1 + math.cos(math.pi * share))
        assert momentum(Ema(0.96, 1.0), step, 10) == pytest.approx(half, rel=1e-12)
        assert momentum(Ema(0.96, 1.0, "linear"), step, 10) == pytest.approx(0.96 * (1 - share) + share, rel=1e-12)
        assert momentum(Ema(0.96, 1.0, "constant"), step, 10) == 0.96
    now = plan(Train(epochs=2, warmup_epochs=0), 0.1, Ema(0.5, 0.9, "linear"), Residual(), 5, 5)
    assert now.momentum == pytest.approx(0.7)
