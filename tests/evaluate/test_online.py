"""The online classifier learns, and the encoder does not notice."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from resmom.evaluate.online import OnlineClassifier, online_score


@pytest.fixture
def classifier() -> OnlineClassifier:
    torch.manual_seed(0)
    return OnlineClassifier(6, 7)


def test_the_encoder_gets_no_gradient(classifier: OnlineClassifier) -> None:
    encoder = nn.Linear(4, 6)
    views = [encoder(torch.randn(5, 4)), encoder(torch.randn(5, 4))]
    classifier(views, torch.arange(5)).backward()
    assert all(p.grad is None for p in encoder.parameters())
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in classifier.parameters())


def test_the_loss_is_the_mean_over_labelled_images_and_views(classifier: OnlineClassifier) -> None:
    views = [torch.randn(5, 6), torch.randn(5, 6)]
    labels = torch.tensor([3, -1, 0, 6, -1])
    slow = []
    for h in views:
        for row, label in zip(classifier.linear(h).tolist(), labels.tolist(), strict=True):
            if label >= 0:
                slow.append(math.log(sum(math.exp(v) for v in row)) - row[label])
    assert classifier(views, labels).item() == pytest.approx(sum(slow) / len(slow), rel=1e-5)


def test_at_zero_weights_the_loss_is_chance(classifier: OnlineClassifier) -> None:
    for p in classifier.parameters():
        nn.init.zeros_(p)
    assert classifier([torch.randn(5, 6)], torch.arange(5)).item() == pytest.approx(math.log(7))


def test_a_batch_without_labels_gives_nothing(classifier: OnlineClassifier) -> None:
    loss = classifier([torch.randn(5, 6)], torch.full((5,), -1))
    loss.backward()
    assert loss.item() == 0.0
    assert all(p.grad is not None and not p.grad.any() for p in classifier.parameters())


def test_it_is_float32_under_autocast_and_on_half_precision_features(classifier: OnlineClassifier) -> None:
    h, labels = torch.randn(5, 6).bfloat16(), torch.arange(5)
    plain = F.cross_entropy(classifier.linear(h.float()), labels)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert classifier.predict(h).dtype == torch.float32
        loss = classifier([h], labels)
        found = online_score(classifier, h.float(), labels)
    torch.testing.assert_close(loss, plain)
    assert found == online_score(classifier, h.float(), labels)


def test_it_learns_clusters_and_the_score_says_so(classifier: OnlineClassifier) -> None:
    labels = torch.arange(70) % 7
    h = 3 * F.one_hot(labels % 6, 6).float() * torch.where(labels == 6, -1.0, 1.0)[:, None] + 0.1 * torch.randn(70, 6)
    optimiser = torch.optim.SGD(classifier.parameters(), lr=0.5)
    for _ in range(100):
        optimiser.zero_grad()
        classifier([h], labels).backward()
        optimiser.step()
    labels[:10] = -1
    found = online_score(classifier, h, labels)
    assert (found.top1, found.top5) == (100.0, 100.0)
    assert found.protocol == "online-linear-v1 (trained beside pretraining, tested on 60)"


def test_what_it_cannot_do_is_refused(classifier: OnlineClassifier) -> None:
    with pytest.raises(ValueError, match="at least one view"):
        classifier([], torch.arange(5))
    with pytest.raises(ValueError, match="0 … 6"):
        online_score(classifier, torch.randn(2, 6), torch.tensor([0, 7]))
    with pytest.raises(ValueError, match="there are none"):
        online_score(classifier, torch.randn(2, 6), torch.tensor([-1, -1]))
