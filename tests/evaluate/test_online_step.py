"""The online classifier beside a real step: whatever it learns, the encoder's weights are the same bits."""

import pytest
import torch

from resmom.evaluate.online import OnlineClassifier
from resmom.losses.residual import Residual
from resmom.train.optim import Sgd, build_optimizer, set_rate
from resmom.train.plan import Plan
from resmom.train.state import State
from resmom.train.step import Rules, train_step
from resmom.types import Batch
from tests import toy

PLAN = Plan(lr=0.1, momentum=0.9, residual=1.0)
WIDTH, CLASSES = 12, 4


def single(seed: int) -> Batch:
    made = toy.batch(seed)
    return Batch(tuple(view.float() for view in made.views), made.index)


def trained(
    labels: torch.Tensor | None, kind: str = "mocov3", micro: int = 0, lr: float = 0.3, spoilt: bool = False
) -> tuple[State, OnlineClassifier, list[dict[str, torch.Tensor]]]:
    """Three steps; `labels` None is a run without a classifier."""
    method = toy.method(kind).float()
    torch.manual_seed(1)
    online = OnlineClassifier(WIDTH, CLASSES)
    state = State(method, build_optimizer(Sgd(), method.student))
    if labels is not None:
        if spoilt:
            torch.nn.init.constant_(online.linear.bias, torch.nan)
        state.online, state.online_optimizer = online, build_optimizer(Sgd(), online, 0.0)
        set_rate(state.online_optimizer, lr)
    rules = Rules(Residual(1.0), micro_batch=micro)
    return state, online, [train_step(state, single(step), PLAN, rules, labels) for step in range(3)]


def same_bits(a: State, b: State) -> bool:
    ours, theirs = a.method.state_dict(), b.method.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("kind", ["mocov3", "byol"])
@pytest.mark.parametrize("micro", [0, 4])
def test_labels_change_no_bit_of_student_teacher_and_buffers(kind: str, micro: int) -> None:
    labels = torch.arange(8) % CLASSES
    without, _, _ = trained(None, kind, micro)
    beside, online, metrics = trained(labels, kind, micro)
    assert same_bits(without, beside)
    torch.manual_seed(1)
    assert not torch.equal(online.linear.weight, OnlineClassifier(WIDTH, CLASSES).linear.weight)  # it did learn
    assert all("loss/online" in step for step in metrics)
    start = toy.method(kind).float().state_dict()
    assert not torch.equal(
        start["student.backbone.body.layers.1.weight"],
        beside.method.state_dict()["student.backbone.body.layers.1.weight"],
    )


def test_other_labels_change_no_bit_either() -> None:
    one, _, _ = trained(torch.arange(8) % CLASSES)
    other, _, _ = trained(torch.zeros(8, dtype=torch.long))
    assert same_bits(one, other)


def test_a_classifier_that_blows_up_does_not_stop_the_encoder() -> None:
    without, _, _ = trained(None)
    beside, _, metrics = trained(torch.arange(8) % CLASSES, spoilt=True)
    assert same_bits(without, beside)
    assert [float(step["skipped"]) for step in metrics] == [0.0, 0.0, 0.0]


def test_a_batch_without_labels_leaves_the_classifier_alone() -> None:
    _, online, metrics = trained(torch.full((8,), -1))
    torch.manual_seed(1)
    assert torch.equal(online.linear.weight, OnlineClassifier(WIDTH, CLASSES).linear.weight)
    assert [float(step["loss/online"]) for step in metrics] == [0.0, 0.0, 0.0]


def test_an_unlabelled_image_teaches_the_classifier_nothing() -> None:
    torch.manual_seed(2)
    online = OnlineClassifier(WIDTH, CLASSES)
    h, labels = torch.randn(8, WIDTH), torch.tensor([0, -1, 2, 3, -1, 1, 0, -1])
    gradients = []
    for rows in (torch.arange(8), (labels >= 0).nonzero()[:, 0]):
        online.zero_grad()
        online([h[rows]], labels[rows]).backward()
        gradients.append(online.linear.weight.grad)
    torch.testing.assert_close(gradients[0], gradients[1])
