"""A step that a flag on the device decides: the same numbers, and nobody asks the device anything."""

import copy
import math
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from resmom.evaluate.online import OnlineClassifier
from resmom.losses.residual import Residual
from resmom.train.optim import (
    Adam,
    AdamW,
    Lars,
    OptimConfig,
    Sgd,
    build_optimizer,
    gated_step,
    load_optimizer,
    set_rate,
)
from resmom.train.plan import Plan
from resmom.train.state import State, load_state, read_skips, state_dict
from resmom.train.step import Rules, train_step
from resmom.types import numbered
from tests import toy

PLAN = Plan(lr=0.1, momentum=0.9, residual=1.5)
OPTIMISERS: list[OptimConfig] = [Sgd(), Lars(), Lars(form="clipped"), AdamW(), Adam(weight_decay=1e-2)]


KINDS = ["mocov3", "dino"]  # without and with a memory
CASES = [(config, kind) for kind in KINDS for config in OPTIMISERS]
CASES += [(OPTIMISERS[0], kind) for kind in ("ibot", "dinov2", "dinov2_mean", *toy.QUEUES)]
"""Every optimiser with two methods, every method with one optimiser."""


def state(config: OptimConfig, gated: bool, online: bool = False, kind: str = "mocov3") -> State:
    made = toy.method(kind)
    result = State(made, build_optimizer(config, made.student, gated=gated))
    if online:
        torch.manual_seed(0)
        result.online = OnlineClassifier(12, 3)
        result.online_optimizer = build_optimizer(config, result.online, weight_decay=0.0, gated=gated)
        for group in result.online_optimizer.param_groups:
            group["lr"] = 0.1
    return result


def rules(gated: bool, kind: str = "mocov3") -> Rules:
    return Rules(Residual(1.5, toy.site(kind)), gated=gated)


def slots(made: State) -> list[Tensor]:
    return [value for slot in made.optimizer.state_dict()["state"].values() for value in slot.values()]


@pytest.fixture
def no_reading(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whatever would bring a number from a device to the host raises."""

    def refuse(self: Tensor, *_: object) -> None:
        raise AssertionError("a tensor was read by the host")

    with monkeypatch.context() as patch:
        for name in ("item", "tolist", "__bool__", "__int__", "__float__", "numpy", "cpu"):
            patch.setattr(Tensor, name, refuse)
        yield


@pytest.mark.slow
@pytest.mark.parametrize(("config", "kind"), CASES, ids=str)
def test_a_gated_run_is_the_plain_run(config: OptimConfig, kind: str) -> None:
    plain, gated = (state(config, gates, online=True, kind=kind) for gates in (False, True))
    labels = torch.tensor([0, 1, 2, -1, 0, 1, 2, 0])
    for step in range(5):
        batch = toy.batch(step)
        if step == 2:
            batch.views[0][0, 0, 0, 0] = math.nan
        a = train_step(plain, batch, PLAN, rules(False, kind), labels)
        b = train_step(gated, batch, PLAN, rules(True, kind), labels)
        assert a["skipped"] == b["skipped"] == float(step == 2)
        torch.testing.assert_close(a["loss"], b["loss"], rtol=1e-11, atol=0, equal_nan=True)
    assert plain.online is not None and gated.online is not None
    for ours, theirs in ((gated.method, plain.method), (gated.online, plain.online)):
        want = theirs.state_dict()
        for name, value in ours.state_dict().items():
            single = value.dtype == torch.float32  # the online classifier, whose roundings the optimisers order
            torch.testing.assert_close(value, want[name], rtol=1e-6 if single else 1e-10, atol=1e-7 if single else 1e-9)
    read_skips(gated)
    assert (gated.skipped, gated.in_a_row, gated.step) == (plain.skipped, plain.in_a_row, plain.step) == (1, 0, 5)


@pytest.mark.slow
@pytest.mark.parametrize(("config", "kind"), CASES, ids=str)
@pytest.mark.parametrize("first", [True, False], ids=["first step", "later step"])
def test_a_skipped_step_leaves_nothing_behind(config: OptimConfig, first: bool, kind: str) -> None:
    made = state(config, True, kind=kind)
    if not first:
        train_step(made, toy.batch(0), PLAN, rules(True, kind))
    before, kept = copy.deepcopy(made.method.state_dict()), [value.clone() for value in slots(made)]
    for bad in (math.nan, math.inf):
        broken = toy.batch(1)
        broken.views[1][2, 0, 1, 1] = bad
        assert train_step(made, broken, PLAN, rules(True, kind))["skipped"] == 1
    for name, value in made.method.state_dict().items():
        assert torch.equal(value, before[name]), name
    if first:  # the optimiser may have made its memory, but nothing may be in it
        assert all(not value.any() for value in slots(made))
    else:
        assert all(torch.equal(a, b) for a, b in zip(slots(made), kept, strict=True))
    read_skips(made)
    assert made.skipped == made.in_a_row == 2
    assert train_step(made, toy.batch(2), PLAN, rules(True, kind))["skipped"] == 0
    read_skips(made)
    assert (made.skipped, made.in_a_row) == (2, 0)


def test_memory_is_taken_back_where_the_step_does_not_count() -> None:
    class Remembering(type(toy.method())):  # type: ignore[misc]
        def forward(self, batch, targets, rows):  # type: ignore[no-untyped-def]
            outcome = super().forward(batch, targets, rows)
            return type(outcome)(
                outcome.terms, outcome.encodings, outcome.pairs, (batch.views[0][rows].mean((1, 2, 3)),), outcome.chance
            )

        def remember(self, memory: tuple[Tensor, ...]) -> None:
            self.queue.copy_(memory[0])

    made = state(Sgd(), True)
    made.method.__class__ = Remembering
    made.method.register_buffer("queue", torch.zeros(8, dtype=torch.float64))
    broken = toy.batch(1)
    broken.views[0][2, 0, 1, 1] = math.nan
    train_step(made, broken, PLAN, rules(True))
    assert not made.method.queue.any()
    train_step(made, toy.batch(0), PLAN, rules(True))
    torch.testing.assert_close(made.method.queue, toy.batch(0).views[0].mean((1, 2, 3)))


@pytest.mark.slow
@pytest.mark.parametrize(("config", "kind"), CASES, ids=str)
def test_the_host_reads_nothing_inside_a_step(config: OptimConfig, kind: str, request: pytest.FixtureRequest) -> None:
    made = state(config, True, online=True, kind=kind)
    request.getfixturevalue("no_reading")  # from here on: timm reads numbers when it builds a transformer
    micro = 0 if kind.startswith("dinov2") else 4
    labels, rule = torch.arange(8) % 3, Rules(Residual(1.5, toy.site(kind)), micro_batch=micro, clip=1.0, gated=True)
    for step in range(2):
        batch = toy.batch(step)
        batch = replace(batch, hidden=tuple(numbered(mask) for mask in batch.masks))
        train_step(made, batch, PLAN, rule, labels)


def test_the_check_above_can_fail(no_reading: None) -> None:
    with pytest.raises(AssertionError, match="read by the host"):
        train_step(state(Sgd(), False), toy.batch(), PLAN, rules(False))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize("config", OPTIMISERS, ids=str)
def test_no_synchronisation_on_a_gpu(config: OptimConfig) -> None:
    made = toy.method().float().cuda()
    held = State(made, build_optimizer(config, made.student))
    batch = toy.batch()
    batch = type(batch)(tuple(view.float().cuda() for view in batch.views), batch.index.cuda())
    train_step(held, batch, PLAN, rules(True), measure=True)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        train_step(held, batch, PLAN, rules(True), measure=True)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("config", OPTIMISERS, ids=str)
@pytest.mark.parametrize(("before", "after"), [(False, True), (True, False)])
def test_a_state_of_another_kind_of_machine_is_taken_over(config: OptimConfig, before: bool, after: bool) -> None:
    """A run begun on a CPU goes on on a GPU, whose steps obey a flag; and the other way round."""
    one, other = state(config, before, online=True), state(config, after, online=True)
    train_step(one, toy.batch(0), PLAN, rules(before), torch.zeros(8, dtype=torch.int64))
    read_skips(one)
    load_state(other, copy.deepcopy(state_dict(one)))
    for made in (one, other):
        train_step(made, toy.batch(1), PLAN, rules(before if made is one else after), torch.zeros(8, dtype=torch.int64))
        read_skips(made)
    for p, q in zip(one.method.student.parameters(), other.method.student.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-4, atol=1e-6)
    kinds = [group.get("fused") for group in other.optimizer.param_groups]
    fresh = state(config, after).optimizer
    assert kinds == [group.get("fused") for group in fresh.param_groups]


def test_what_was_frozen_on_a_cpu_may_begin_to_learn_on_a_gpu() -> None:
    """A step on a CPU keeps no momentum of parameters that had no gradient yet; a fused one needs some of all."""
    weights = [torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(3))]
    network = torch.nn.ParameterList(weights)
    here = build_optimizer(Sgd(), network, gated=False)
    weights[0].grad = torch.ones(2)
    set_rate(here, 0.1)
    here.step()
    there = build_optimizer(Sgd(), network, gated=True)
    load_optimizer(there, copy.deepcopy(here.state_dict()))
    set_rate(there, 0.1)
    weights[1].grad = torch.ones(3)
    before = weights[1].detach().clone()
    gated_step(there, torch.tensor(True))
    assert not torch.equal(weights[1], before)
    expected = torch.ones(3) + Sgd().weight_decay * before  # its gradient, decayed
    torch.testing.assert_close(there.state[weights[1]]["momentum_buffer"], expected)


def test_an_optimiser_of_other_groups_is_refused() -> None:
    one, other = state(AdamW(), False), state(Sgd(), False)
    with pytest.raises(ValueError, match="groups, this one"):
        load_optimizer(other.optimizer, one.optimizer.state_dict())
