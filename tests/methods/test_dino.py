"""DINO by its numbers: the paper's formula, the centre, the temperatures, the frozen prototypes, and multi-crop."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from resmom.diagnose.health import retrieval
from resmom.losses.residual import Residual
from resmom.method import Method
from resmom.methods.dino import Dino, DinoMethod
from resmom.nets.backbones import Backbone
from resmom.nets.heads import Prototypes
from resmom.schedule import by_epoch
from resmom.train.optim import Adam, AdamW, Lars, OptimConfig, Sgd, build_optimizer
from resmom.train.plan import Plan
from resmom.train.state import State
from resmom.train.step import Rules, train_step
from resmom.types import Batch
from resmom.views.apply import views
from tests import oracle, toy
from tests.methods import golden
from tests.methods.test_golden import spread

CONFIG = Dino(hidden=16, out=8, prototypes=10, frozen_epochs=0.0, temperature_epochs=0)
PLAN = Plan(lr=0.1, momentum=0.9, residual=1.0)


def method(config: Dino = CONFIG, views: int = 2) -> DinoMethod:
    """DINO on a body that takes views of any size, its centre not 0."""
    torch.manual_seed(0)
    made = DinoMethod(Backbone(toy.Pooled(), 12), config).double()
    made.centre.copy_(torch.randn(config.prototypes).double())
    with torch.no_grad():  # a teacher that is not the student
        for p in made.teacher.parameters():
            p.add_(0.1 * torch.randn(p.shape).double())
    return made


def batch(local: int = 0, n: int = 8, seed: int = 0, epoch: float = 0.0) -> Batch:
    """Two global views of 4 x 4 and so many local ones of 2 x 2."""
    generator = torch.Generator().manual_seed(seed)
    sides = [4, 4, *[2] * local]
    views = tuple(torch.randn(n, 3, side, side, generator=generator, dtype=torch.float64) for side in sides)
    return Batch(views, torch.arange(n), epoch=epoch)


def total(made: DinoMethod, given: Batch) -> float:
    outcome = made(given, made.teach(given), slice(0, len(given.index)))
    return sum(term.weight * term.value.item() for term in outcome.terms)


@pytest.mark.parametrize("local", [0, 1, 3])
@torch.no_grad()
def test_the_loss_is_the_papers_formula(local: int) -> None:
    made, given = method(), batch(local)
    students = [made.student(view).logits.numpy() for view in given.views]
    teachers = [made.teacher(view).logits.numpy() for view in given.views[:2]]
    expected = oracle.dino(students, teachers, made.centre.numpy(), 0.1, 0.07)
    assert total(made, given) == pytest.approx(expected, rel=1e-12)


@torch.no_grad()
def test_logits_are_cosines_with_the_prototypes() -> None:
    torch.manual_seed(0)
    prototypes, z = Prototypes(4, 3).double(), torch.randn(5, 4).double()
    expected = [[oracle.cos(a, b) for b in prototypes.directions.weight.numpy()] for a in z.numpy()]
    assert prototypes(z).flatten().tolist() == pytest.approx(np.ravel(expected).tolist(), rel=1e-12)
    with_gains = Prototypes(4, 3, gains=True).double()
    with_gains.directions.load_state_dict(prototypes.directions.state_dict())
    torch.testing.assert_close(with_gains(z), prototypes(z))  # they start at 1
    with_gains.gains.copy_(torch.tensor([[1.0], [2.0], [-3.0]]))
    torch.testing.assert_close(with_gains(z), prototypes(z) * torch.tensor([1.0, 2.0, -3.0]).double())


def test_the_centre_follows_the_teachers_mean() -> None:
    made, given = method(), batch()
    before = made.centre.clone()
    targets = made.teach(given)
    mean = torch.cat([targets.views[0].logits, targets.views[1].logits]).mean(0)
    state = State(made, build_optimizer(Sgd(), made.student))
    train_step(state, given, PLAN, Rules(Residual(), micro_batch=3))
    torch.testing.assert_close(made.centre, 0.9 * before + 0.1 * mean)


def test_the_teachers_temperature_rises_by_whole_epochs() -> None:
    found = [by_epoch(epoch, 4, 0.04, 0.07) for epoch in (0.0, 0.99, 1.0, 2.5, 3.0, 4.0, 9.0)]
    assert found == pytest.approx([0.04, 0.04, 0.05, 0.06, 0.07, 0.07, 0.07])
    assert by_epoch(0.0, 0, 0.04, 0.07) == 0.07 and by_epoch(0.0, 1, 0.04, 0.07) == 0.04
    rising = replace(CONFIG, temperature_epochs=4)
    made, given = method(rising), batch(epoch=1.5)
    with torch.no_grad():
        students, teachers = ([net(v).logits.numpy() for v in given.views] for net in (made.student, made.teacher))
    expected = oracle.dino(students, teachers, made.centre.numpy(), 0.1, 0.05)
    assert total(made, given) == pytest.approx(expected, rel=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("config", [Sgd(), Lars(), Lars(form="clipped"), AdamW(), Adam(weight_decay=0.1)], ids=str)
@pytest.mark.parametrize("gated", [False, True])
def test_frozen_prototypes_do_not_move_at_all(config: OptimConfig, gated: bool) -> None:
    """Neither by gradient nor by decay or momentum; and all else moves as with a learning rate of their own of 0."""
    made = method(replace(CONFIG, frozen_epochs=2.0, gains=True))
    state = State(made, build_optimizer(config, made.student, gated=gated))
    start = {name: p.clone() for name, p in made.named_parameters()}
    for step in range(6):
        metrics = train_step(
            state, batch(seed=step, epoch=step / 2), PLAN, Rules(Residual(), micro_batch=4, gated=gated)
        )
        assert metrics["skipped"] == 0
        moved = {name for name, p in made.named_parameters() if not torch.equal(p, start[name])}
        still = {name for name in start if ".prototypes." in name and name.startswith("student.")}
        assert moved >= {name for name in start if name.startswith("student.")} - still
        assert not moved & still if step < 4 else moved >= still, step


def test_the_head_with_batch_norm_and_other_first_weights() -> None:
    """Linear, BatchNorm, GELU twice, then linear; the teacher has the same, with statistics of its own."""
    made = method(replace(CONFIG, hidden=64, batch_norm=True, deviation=0.2))
    kinds = [type(part).__name__ for part in made.student.projector]
    assert kinds == ["Linear", "BatchNorm1d", "GELU", "Linear", "BatchNorm1d", "GELU", "Linear"]
    assert [type(part).__name__ for part in made.teacher.projector] == kinds
    found = torch.cat([part.weight.flatten() for part in made.student.projector if isinstance(part, torch.nn.Linear)])
    assert found.std().item() == pytest.approx(0.2, rel=0.05) and found.mean().abs() < 0.02
    given = batch(local=2)
    assert total(made, given) > 0
    assert made.teacher.projector[1].num_batches_tracked == 2  # the two global views
    assert made.student.projector[1].num_batches_tracked == 3  # those, and all local ones as one batch
    with pytest.raises(ValueError, match=r"method\.deviation is 0\.0"):
        Dino(deviation=0.0)


def test_freezing_is_a_function_of_the_batch_alone() -> None:
    made = method(replace(CONFIG, frozen_epochs=1.0))
    for epoch, frozen in ((0.0, True), (0.99, True), (1.0, False)):
        given = batch(epoch=epoch)
        assert (made(given, made.teach(given), slice(0, 8)).frozen != ()) == frozen


@pytest.mark.slow
@pytest.mark.parametrize("micro", [1, 3, 4])
def test_accumulation_with_local_views_is_exact(micro: int) -> None:
    results = []
    for size in (0, micro):
        made = method(replace(CONFIG, local_pairs=True))
        state = State(made, build_optimizer(Sgd(), made.student))
        for step in range(3):
            rules = Rules(Residual(1.5, "logits"), micro_batch=size)
            metrics = train_step(state, batch(2, seed=step), PLAN, rules, measure=True)
        results.append(torch.cat([metrics["loss"][None], *(p.flatten() for p in made.state_dict().values())]))
    assert (results[0] - results[1]).norm() <= 1e-10 * results[0].norm()


@pytest.mark.parametrize("local_pairs", [False, True])
def test_pairs_are_the_same_view(local_pairs: bool) -> None:
    made, given = method(replace(CONFIG, local_pairs=local_pairs)), batch(2)
    targets = made.teach(given)
    outcome = made(given, targets, slice(0, 8))
    assert [pair.name for pair in outcome.pairs] == ["global"] * 2 + ["local"] * (2 if local_pairs else 0)
    with torch.no_grad():
        for pair, view in zip(outcome.pairs, given.views, strict=False):
            torch.testing.assert_close(pair.student.z, made.student(view).z)
            torch.testing.assert_close(pair.teacher.logits, made.teacher(view).logits)
    assert len(outcome.encodings) == 2
    state = State(made, build_optimizer(Sgd(), made.student))
    metrics = train_step(state, given, PLAN, Rules(Residual()), measure=True)
    assert {"gap/h/intra", "gap/z/inter", "gap/logits/chance"} < metrics.keys()
    assert ("gap/local/z/intra" in metrics) == local_pairs


def test_chance_is_the_logarithm_of_the_prototypes() -> None:
    made, given = method(), batch(2)
    with torch.no_grad():
        made.student.prototypes.directions.weight.copy_(torch.ones(10, 8))  # all alike: every logit is the same
    outcome = made(given, made.teach(given), slice(0, 8))
    assert outcome.chance == pytest.approx(math.log(10))
    assert total(made, given) == pytest.approx(math.log(10), rel=1e-12)


def recognised(made: Method) -> float:
    """In percent, how often the nearest representation of another view is that of the same image."""
    index = np.arange(golden.IMAGES)
    both = views(golden.images(), index, golden.mild(), 99, 0)
    with torch.no_grad():
        h = [made.eval().student(view).h for view in both]
    return retrieval(h[0], h[1])


@pytest.mark.slow
@pytest.mark.parametrize("residual", [0.0, 1.0])
def test_a_short_run_learns(residual: float) -> None:
    """The representation opens up, and tells images apart across views; the loss alone says little of either.

    It starts low, where networks that are equal agree on everything, and rises as the centre moves in.
    """
    start = golden.start("dino")
    before, found = spread(start), recognised(start)
    case = golden.Case("dino", "sgd", residual)
    losses, made = golden.losses(case, steps=80, policy=golden.mild(), lr=0.5)
    assert isinstance(made, DinoMethod)
    assert np.mean(losses[-8:]) < math.log(64) + 0.1
    assert spread(made) > 2 * before > 0.1
    assert recognised(made) > found + 15


def test_the_start_of_the_head_is_small_and_without_bias() -> None:
    torch.manual_seed(0)
    made = DinoMethod(Backbone(toy.Pooled(), 12), Dino(hidden=256, out=64, prototypes=128))
    linear: list[Tensor] = [p for name, p in made.student.projector.named_parameters() if name.endswith("weight")]
    assert [tuple(p.shape) for p in linear] == [(256, 12), (256, 256), (64, 256)]
    assert all(p.std().item() == pytest.approx(0.02, rel=0.05) for p in linear)
    assert all(not p.any() for name, p in made.student.projector.named_parameters() if name.endswith("bias"))
    x = torch.randn(3, 12)
    by_hand = linear[2] @ F.gelu(linear[1] @ F.gelu(linear[0] @ x.T))
    torch.testing.assert_close(made.student.projector(x), by_hand.T)


@pytest.mark.parametrize(
    "change",
    [
        {"hidden": 0},
        {"prototypes": 0},
        {"teacher_temperature": 0.0},
        {"student_temperature": math.nan},
        {"centre_momentum": 1.5},
        {"temperature_epochs": -1},
        {"frozen_epochs": -0.5},
    ],
)
def test_impossible_settings_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"method.*{next(iter(change))}"):
        Dino(**change)
