"""stable-pretraining: its MoCov3 and TeacherStudentCallback under its Module, its transforms and data set."""

from typing import Any

import lightning
import stable_pretraining as spt
from stable_pretraining.callbacks import TeacherStudentCallback
from stable_pretraining.data import transforms as T
from stable_pretraining.methods import MoCov3
from torch import nn
from torchvision.datasets import ImageFolder

from benchmarks.peers.case import Case
from benchmarks.peers.networks import HIDDEN, OUT, TEMPERATURE, fit, views
from benchmarks.peers.pictures import Arrays, feed
from benchmarks.peers.worker import Gate

PACKAGES = ("stable-pretraining", "lightning")
NOTES = {
    "step": "methods.MoCov3 under spt.Module with TeacherStudentCallback, SGD, Lightning's Trainer",
    "images": "FromTorchDataset and the transforms of its benchmarks/imagenet100 for BYOL; at 32 pixels without blur "
    "and solarise, as its benchmarks/cifar10",
}


def _forward(self: Any, batch: dict[str, Any], stage: str) -> dict[str, Any]:
    first, second = (view["image"] for view in batch["views"])
    return {"loss": self.model(first, second).loss}


def step(case: Case, gate: Gate) -> None:
    backbone = spt.backbone.from_torchvision("resnet18", low_resolution=True, weights=None)
    backbone.fc = nn.Identity()
    model = MoCov3(backbone, projector_dims=(HIDDEN, OUT), predictor_hidden_dim=HIDDEN, temperature=TEMPERATURE)
    sgd = {"type": "SGD", "lr": 0.03, "momentum": 0.9, "weight_decay": 1e-4}
    schedule = {"type": "CosineAnnealingLR", "T_max": 10**6}
    module = spt.Module(
        model=model, forward=_forward, optim={"optimizer": sgd, "scheduler": schedule, "interval": "step"}
    )
    batch = {"views": [{"image": view} for view in views(case)]}
    fit(lightning.pytorch, module, batch, case, gate, (TeacherStudentCallback(),))


def _view(side: int, blur: float, solarise: float) -> Any:
    small = side < 64
    ops: list[Any] = [
        T.RGB(),
        T.RandomResizedCrop((side, side), scale=(0.08, 1.0)),
        T.ColorJitter(brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1, p=0.8),
        T.RandomGrayscale(p=0.2),
    ]
    if not small:
        ops.append(T.PILGaussianBlur(p=blur))
        if solarise:
            ops.append(T.RandomSolarize(threshold=0.5, p=solarise))
    statistics = spt.data.static.CIFAR10 if small else spt.data.static.ImageNet
    return T.Compose(*ops, T.RandomHorizontalFlip(p=0.5), T.ToImage(**statistics))


def images(case: Case, gate: Gate) -> None:
    two = T.MultiViewTransform([_view(case.side, 1.0, 0.0), _view(case.side, 0.1, 0.2)])
    files = Arrays(case.data, _same) if case.data.endswith(".npz") else ImageFolder(case.data)
    feed(spt.data.FromTorchDataset(files, names=["image", "label"], transform=two), case, gate)


def _same(image: Any) -> Any:
    return image
