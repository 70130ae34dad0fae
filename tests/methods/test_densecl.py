"""DenseCL: the paper's formula on some rows, its memory, its pairs, and the backbones it takes."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resmom.build import Own, build_method
from resmom.diagnose.gap import gaps
from resmom.losses.residual import Residual
from resmom.methods.densecl import DenseCL, DenseCLMethod, maps
from resmom.nets.backbones import Backbone, MoCoViT, SmallResNet, Timm
from resmom.train.optim import Sgd, build_optimizer
from resmom.train.plan import Plan
from resmom.train.state import State
from resmom.train.step import Rules, train_step
from resmom.types import Batch, Encoding, Outcome, Targets
from tests import oracle, toy


def total(outcome: Outcome) -> float:
    return sum(term.weight * term.value.item() for term in outcome.terms)


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("rows", [slice(0, 8), slice(2, 5)], ids=str)
def test_it_is_its_formula(rows: slice, weight: float) -> None:
    method, batch = toy.method("densecl"), toy.batch()
    method.config = replace(method.config, dense_weight=weight)
    q, k = (
        network(view).rows(rows) for network, view in zip((method.student, method.teacher), batch.views, strict=True)
    )
    (f_q, r), (f_k, t) = maps(q), maps(k)
    arrays = [x.detach().numpy() for x in (q.z, k.z, f_q, f_k, r, t)]
    queues = (method.queue.rows.numpy(), method.queue_dense.rows.numpy())
    outcome = method(batch, method.teach(batch), rows)
    expected = oracle.densecl(*arrays, queues, np.array([1 - weight, weight]))
    assert total(outcome) == pytest.approx(expected, rel=1e-12)
    assert [term.name for term in outcome.terms] == ["contrast", "dense"]
    assert len(outcome.encodings) == 1


def test_the_second_queue_takes_the_mean_of_the_places_before_they_are_made_unit_vectors() -> None:
    method, batch = toy.method("densecl"), toy.batch()
    assert not torch.equal(method.queue.rows, method.queue_dense.rows)
    kept = method.queue_dense.rows.clone()
    k = method.teacher(batch.views[1])
    outcome = method(batch, method.teach(batch), slice(0, 8))
    assert torch.equal(method.queue_dense.rows, kept)
    method.remember(outcome.memory)
    torch.testing.assert_close(method.queue.rows[:8], F.normalize(k.z, dim=1))
    _, t = maps(k)
    torch.testing.assert_close(method.queue_dense.rows[:8], F.normalize(t.mean(2), dim=1))
    other = F.normalize(F.normalize(t, dim=1).mean(2), dim=1)
    assert not torch.allclose(method.queue_dense.rows[:8], other)
    assert method.queue.pointer == method.queue_dense.pointer == 8


def test_the_matching_is_told_by_the_backbone_and_not_by_the_dense_head() -> None:
    """With another dense head the positives stay at the same places; with another map they go elsewhere."""
    method, batch = toy.method("densecl"), toy.batch()
    q, k = method.student(batch.views[0]), method.teacher(batch.views[1])
    targets = Targets((k,))

    class Said(nn.Module):
        def __init__(self, encoding: Encoding) -> None:
            super().__init__()
            self.encoding = encoding

        def forward(self, view: Tensor) -> Encoding:
            return self.encoding

    method.student = Said(replace(q, places=Encoding(k.places.h, q.places.z)))  # every place is nearest to itself
    expected = oracle.moco(
        *(x.detach().numpy() for x in (q.places.z, k.places.z)),
        method.queue_dense.rows.numpy(),
        0.2,
    )
    outcome = method(batch, targets, slice(0, 8))
    assert outcome.terms[1].value.item() == pytest.approx(expected, rel=1e-10)
    method.student = Said(q)
    assert method(batch, targets, slice(0, 8)).terms[1].value.item() != pytest.approx(expected, rel=1e-6)


def test_the_two_heads_and_the_map() -> None:
    method = toy.method("densecl")
    e = method.student(toy.batch().views[0])
    features, dense = maps(e)
    assert features.shape == (8, 12, 9) and dense.shape == (8, 8, 9) and e.per_image == 9
    torch.testing.assert_close(features.mean(2), e.h)
    first, _, last = method.student.dense
    at = features[3, :, 5]  # a place is projected by itself
    hidden = F.relu(first.weight[:, :, 0, 0] @ at + first.bias)
    torch.testing.assert_close(dense[3, :, 5], last.weight[:, :, 0, 0] @ hidden + last.bias)
    assert torch.equal(e.places.z[3 * 9 + 5], dense[3, :, 5]) and torch.equal(e.places.h[3 * 9 + 5], at)
    assert Encoding(e.h, e.z).per_image == 0


def test_dense_pairs_are_the_same_places_and_their_chance_is_of_other_images() -> None:
    method, batch = toy.method("densecl"), toy.batch()
    for p in method.teacher.parameters():  # somewhere else than the student
        p.mul_(0.5).add_(0.1)
    s, t = method.student(batch.views[0]).rows(slice(2, 5)), method.teacher(batch.views[0])
    outcome = method(batch, method.teach(batch), slice(2, 5))
    whole, places = outcome.pairs
    assert (whole.name, whole.per_image, places.name, places.per_image) == ("global", 1, "dense", 9)
    torch.testing.assert_close(places.student.z, s.places.z)
    torch.testing.assert_close(places.teacher.z, t.rows(slice(2, 5)).places.z)
    assert len(places.bank.z) == 8 * 9 and torch.equal(places.bank.z[18:45], places.teacher.z)
    assert places.student.z.requires_grad and not places.teacher.z.requires_grad
    for site in ("h", "z"):
        found = gaps([places], site)
        a, b = (pair.at(site).detach().numpy() for pair in (places.student, places.teacher))
        apart = [[1 - oracle.cos(x, y) for y in b] for x in a]
        assert found.intra.item() == pytest.approx(np.mean(np.diag(apart)), rel=1e-9)
        others = [apart[i][j] for i in range(27) for j in range(27) if i // 9 != j // 9]
        assert found.chance.item() == pytest.approx(np.mean(others), rel=1e-9)
        assert found.inter is None


def test_the_metrics_have_both_kinds_of_gap() -> None:
    method = toy.method("densecl")
    state = State(method, build_optimizer(Sgd(), method.student))
    plan = Plan(0.1, 0.9, 1.0)
    train_step(state, toy.batch(), plan, Rules(Residual(1.0, "z")))
    metrics = train_step(state, toy.batch(1), plan, Rules(Residual(1.0, "z")), measure=True)
    expected = {f"gap/{kind}{site}/{what}" for kind in ("", "dense/") for site in "hz" for what in ("intra", "chance")}
    assert {name for name in metrics if name.startswith("gap/")} == expected
    both = (metrics["gap/z/intra"].item() + metrics["gap/dense/z/intra"].item()) / 2
    assert metrics["loss/residual"].item() == pytest.approx(both, rel=1e-9)
    assert 0 < metrics["gap/dense/z/intra"] < metrics["gap/dense/z/chance"]
    assert metrics["loss/method"].item() == pytest.approx((metrics["loss/contrast"] + metrics["loss/dense"]).item() / 2)


def test_chance_is_what_independent_vectors_reach() -> None:
    n, wide, places, length = 16, 4096, 1, 300
    config = DenseCL(hidden=4, out=wide, queue=length, dense_weight=0.3)
    method = DenseCLMethod(Backbone(toy.Pooled(), 12), config)
    draw = torch.Generator().manual_seed(0)
    q, k = (
        Encoding(z, z, places=Encoding(at, at))
        for z, at in zip(
            torch.randn(2, n, wide, generator=draw), torch.randn(2, n * places, wide, generator=draw), strict=True
        )
    )

    class Said(nn.Module):
        def forward(self, view: Tensor) -> Encoding:
            return q

    method.student = Said()
    outcome = method(Batch(tuple(torch.zeros(2, n, 3, 4, 4)), torch.arange(n)), Targets((k,)), slice(0, n))
    assert outcome.chance == pytest.approx(math.log(length + 1), rel=1e-12)
    assert total(outcome) == pytest.approx(outcome.chance, rel=0.01)


def test_backbones_without_a_map_are_refused_with_a_sentence() -> None:
    config, view = DenseCL(hidden=8, out=4, queue=16), (3, 32, 32)
    with pytest.raises(ValueError, match=r"places of a feature map N x 192 x H x W, but ViTBody gives \(2, 17, 192\)"):
        build_method(config, MoCoViT("tiny", image=32, patch=8), 0, Own(), view)
    flat = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 8))
    with pytest.raises(ValueError, match=r"but Sequential gives \(2, 8\) for two views; take a convolutional backbone"):
        build_method(config, SmallResNet(), 0, Own(backbone=flat), view)
    for own, backbone in ((Own(), Timm("resnet10t")), (Own(backbone=nn.Conv2d(3, 8, 3)), SmallResNet())):
        method = build_method(config, backbone, 0, own, view)
        assert method.training and method.student(torch.zeros(2, *view)).per_image > 0


@pytest.mark.parametrize(
    "change", [{"temperature": 0.0}, {"dense_weight": 1.5}, {"hidden": 0}, {"out": 0}, {"queue": 0}]
)
def test_impossible_settings_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"method.{next(iter(change))}"):
        DenseCL(**change)
