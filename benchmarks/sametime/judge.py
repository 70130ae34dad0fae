"""How good a backbone is: the same kNN and linear probe for all, at several sizes of the images."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import resmom
from benchmarks.sametime.arm import SIDES, SMALL, Theirs
from resmom.data.source import Source
from resmom.evaluate.features import features
from resmom.evaluate.knn import knn
from resmom.evaluate.linear import linear_probe
from resmom.evaluate.settings import Knn, Linear
from resmom.nets.backbones import ResNet, SmallResNet, build_backbone
from resmom.nets.init import load_backbone
from resmom.runs.clean import Split, clean_batches
from resmom.types import Encoding
from resmom.views.policy import IMAGENET, Interpolation, Numbers, Policy, View


@dataclass(frozen=True)
class Trained:
    """A network, N x 3 x S x S to Encoding, with how the images that it was trained on were normalised and resized."""

    network: nn.Module
    mean: Numbers
    std: Numbers
    interpolation: Interpolation = "bilinear"


class _Bare(nn.Module):
    """A backbone without heads."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, view: Tensor) -> Encoding:
        _, h = self.backbone(view)
        return Encoding(h, h)


def ours(folder: Path) -> Trained:
    """The student of a run."""
    result = resmom.result(folder)
    policy = result.run.policy
    return Trained(result.network("student"), policy.mean, policy.std, policy.views[0].interpolation)


def theirs(folder: Path, arm: Theirs) -> Trained:
    """What lightly-train exported; it normalises by ImageNet's mean and deviation."""
    backbone = build_backbone(SmallResNet(SMALL) if arm.network == "small" else ResNet(18))
    load_backbone(backbone, folder / "exported_models" / "exported_last.pt")
    return Trained(_Bare(backbone), *IMAGENET)


def judge(trained: Trained, split: Split, sides: Sequence[int] = SIDES) -> dict[str, dict[str, float]]:
    """Side in pixels -> top-1 of the test images in percent, by kNN (k = 20, T = .07) and by the linear probe."""
    return {str(side): _at(side, trained, split) for side in sides}


def _at(side: int, trained: Trained, split: Split) -> dict[str, float]:
    view = View(side, interpolation=trained.interpolation)
    policy = Policy((view, view), trained.mean, trained.std)

    def seen(source: Source) -> tuple[Tensor, Tensor]:
        batches = clean_batches(source, policy, torch.device("cpu"))
        return features(trained.network, batches), torch.from_numpy(np.asarray(source.labels))

    bank, labels = seen(split.train)
    queries, asked = seen(split.test)
    return {
        "knn": round(knn(bank, labels, queries, asked, Knn()).top1, 2),
        "linear": round(linear_probe(bank, labels, queries, asked, Linear()).score.top1, 2),
    }
