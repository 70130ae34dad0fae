"""The loss of a step of the linear probe: its gradient, and that it takes the memory of one image."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from resmom.data.annotations.masks import IGNORE, open_masks
from resmom.evaluate.patchlinear import Features
from resmom.nets.backbones import SmallResNet, build_backbone
from resmom.nets.patches import PatchProbe
from resmom.runs.finetuned.tuning import _backward
from tests.runs.scenes import tiny_linear, write_scenes

CPU = torch.device("cpu")


@pytest.fixture
def features(tmp_path: Path) -> Features:
    data = open_masks(write_scenes(tmp_path, "train", 6, 0))
    torch.manual_seed(0)
    model = PatchProbe(build_backbone(SmallResNet((8, 16))), len(data.classes), 2, (0.5,) * 3, (0.25,) * 3)
    with torch.no_grad():
        for head in model.heads:
            head.normal_()
    return Features(model, data, tiny_linear(), CPU)


@pytest.mark.parametrize(("step", "heads"), [(0, [0, 1]), (4, [2])])
def test_the_gradient_is_that_of_the_mean_over_all_pixels_of_the_batch(
    step: int, heads: list[int], features: Features
) -> None:
    model, batch = features.model, [4, 0, 3]
    (total,) = _backward(features.losses(batch, step)).values()
    found = [model.heads[head].grad for head in heads]
    model.zero_grad()
    votes, truths = [], []
    for features_, truth, size in map(features.item, batch):
        votes.append(model.votes(features_, size, size, heads).flatten(2))
        truths.append(truth.long().flatten())
    target = torch.cat(truths).expand(len(heads), -1)
    wanted = F.cross_entropy(torch.cat(votes, 2), target, ignore_index=IGNORE) * len(heads)
    wanted.backward()  # type: ignore[no-untyped-call]
    assert total.item() == pytest.approx(wanted.item(), rel=1e-5)
    for head, grad in zip(heads, found, strict=True):
        torch.testing.assert_close(grad, model.heads[head].grad, rtol=1e-5, atol=1e-6)


def test_a_batch_keeps_the_graph_of_one_image_at_a_time(features: Features) -> None:
    one, many = peak(features, [0]), peak(features, [0, 1, 2, 3, 4])
    assert one <= many < 1.5 * one


def peak(features: Features, batch: list[int]) -> int:
    """Bytes that graphs hold for their backward passes, at most at a time."""
    held = most = 0

    class Held:
        def __init__(self, value: Tensor) -> None:
            nonlocal held, most
            self.value = value
            held += value.nbytes
            most = max(most, held)

        def __del__(self) -> None:
            nonlocal held
            held -= self.value.nbytes

    with torch.autograd.graph.saved_tensors_hooks(Held, lambda kept: kept.value):
        _backward(features.losses(batch, 0))
    return most
