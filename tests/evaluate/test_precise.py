"""BatchNorm's statistics before a measurement: known means and variances, of a layer and of a detector."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d

from resmom.data.annotations.boxes import open_boxes
from resmom.evaluate.detection import Detect, Samples
from resmom.evaluate.precise import averaging, precise_statistics
from resmom.nets.backbones import SmallResNet, build_backbone
from resmom.nets.detector import Detector, build_detector
from tests.runs.rectangles import tiny, write_rectangles

CPU = torch.device("cpu")
WORDS = "BatchNorm's statistics estimated anew on 3 training batches"


def test_every_batch_counts_alike_and_its_variance_is_unbiased() -> None:
    norm = nn.BatchNorm1d(1)
    norm(torch.tensor([[100.0], [300.0]]))
    with averaging([norm]):
        norm(torch.tensor([[0.0], [2.0]]))  # mean 1, unbiased variance 2
        norm(torch.tensor([[3.0], [6.0], [9.0]]))  # 6 and 9
    assert norm.running_mean is not None and norm.running_var is not None and norm.num_batches_tracked is not None
    assert norm.running_mean.item() == pytest.approx(3.5) and norm.running_var.item() == pytest.approx(5.5)
    assert norm.momentum == 0.1 and norm.num_batches_tracked.item() == 1


@pytest.fixture
def samples(tmp_path: Path) -> Samples:
    return Samples(open_boxes([str(write_rectangles(tmp_path / "images", 8, 0))]), config())


def config(norm: str = "trained", batches: int = 3) -> Detect:
    detector = replace(tiny().detector, form="c4", norm=norm)
    return tiny(detector=detector, precise_bn=batches)


def detector(settings: Detector) -> nn.Module:
    torch.manual_seed(0)
    backbone = build_backbone(SmallResNet((8, 16)))
    return build_detector(settings, backbone, 2, (0.5,) * 3, (0.25,) * 3)


def test_a_detector_has_the_statistics_of_its_training_batches(samples: Samples) -> None:
    """Of the first layer's, computed batch by batch from the images themselves."""
    model = detector(config().detector)
    norms = {name: m for name, m in model.named_modules() if isinstance(m, nn.BatchNorm2d)}
    first: nn.BatchNorm2d = next(iter(norms.values()))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for wrong in (first.running_mean, first.running_var):
        assert wrong is not None
        wrong.fill_(1e6)
    state = torch.get_rng_state()
    assert precise_statistics(model, samples, config(), CPU, workers=0) == WORDS
    assert torch.equal(torch.get_rng_state(), state)

    convolution = model.get_submodule("backbone.stem.0")
    means, variances = [], []
    for step in range(3):
        images = [pixels.float() / 255 for pixels, _ in samples.batch(step)]
        batch: Tensor = model.transform(images)[0].tensors  # type: ignore[operator]
        rows = convolution(batch).detach().movedim(1, 3).flatten(0, 2).double()
        means.append(rows.mean(0))
        variances.append(rows.var(0, correction=1))
    assert first.running_mean is not None and first.running_var is not None
    torch.testing.assert_close(first.running_mean.double(), torch.stack(means).mean(0), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(first.running_var.double(), torch.stack(variances).mean(0), rtol=1e-4, atol=1e-6)

    after = model.state_dict()
    moved = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert moved == {f"{name}.running_{kind}" for name in norms for kind in ("mean", "var")}
    assert "roi_heads.box_head.norm" in norms  # the one after the last stage, on regions, too


def test_nothing_is_estimated_where_nothing_is_asked_for_or_learns(samples: Samples) -> None:
    model = detector(config("frozen").detector)
    assert any(isinstance(module, FrozenBatchNorm2d) for module in model.modules())
    assert precise_statistics(model, samples, config("frozen"), CPU, workers=0) == ""
    assert precise_statistics(detector(config().detector), samples, config(batches=0), CPU, workers=0) == ""
