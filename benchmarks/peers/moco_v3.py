"""facebookresearch/moco-v3: its builder in a plain loop, its loader's transforms; from a checkout (--moco-v3 PATH)."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from moco.builder import MoCo_ResNet
from moco.loader import GaussianBlur, Solarize, TwoCropsTransform
from torch import Tensor
from torch.nn import functional as F
from torchvision import transforms as T
from torchvision.datasets import ImageFolder

from benchmarks.peers.case import Case
from benchmarks.peers.networks import HIDDEN, OUT, TEMPERATURE, autocast, cifar_resnet18, views
from benchmarks.peers.pictures import MEAN, STD, Arrays, feed
from benchmarks.peers.worker import Gate

PACKAGES: tuple[str, ...] = ()
NOTES = {
    "step": "MoCo_ResNet; its loss without the process group and the .cuda() that a CPU has not; torch.optim.SGD; "
    "on a GPU cudnn.benchmark, as main_moco.py has it",
    "images": "the two augmentations of main_moco.py (--crop-min .2 for ResNet); at 32 pixels without blur",
}


class Alone(MoCo_ResNet):  # type: ignore[misc]
    """The official model, whose loss asks for a process group and a GPU: here for one process, on any device."""

    def contrastive_loss(self, q: Tensor, k: Tensor) -> Tensor:
        logits = torch.einsum("nc,mc->nm", F.normalize(q, dim=1), F.normalize(k, dim=1)) / self.T
        temperature: float = self.T
        return F.cross_entropy(logits, torch.arange(len(q), device=q.device)) * (2 * temperature)


def step(case: Case, gate: Gate) -> None:
    model = Alone(partial(cifar_resnet18, zero_init_residual=True), OUT, HIDDEN, TEMPERATURE).train().to(case.device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.03, momentum=0.9, weight_decay=1e-4)
    first, second = views(case)
    torch.backends.cudnn.benchmark = case.on_gpu  # as main_moco.py has it
    while True:
        gate()
        with autocast(case):
            loss = model(first, second, 0.99)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def _view(side: int, blur: float, solarise: float) -> Callable[[Any], Tensor]:
    ops: list[Any] = [
        T.RandomResizedCrop(side, scale=(0.2, 1.0)),
        T.RandomApply([T.ColorJitter(0.4, 0.4, 0.2, 0.1)], p=0.8),
        T.RandomGrayscale(p=0.2),
    ]
    if side >= 64:
        ops.append(T.RandomApply([GaussianBlur([0.1, 2.0])], p=blur))
    if solarise:
        ops.append(T.RandomApply([Solarize()], p=solarise))
    return T.Compose([*ops, T.RandomHorizontalFlip(), T.ToTensor(), T.Normalize(MEAN, STD)])  # type: ignore[no-any-return]


def images(case: Case, gate: Gate) -> None:
    two = TwoCropsTransform(_view(case.side, 1.0, 0.0), _view(case.side, 0.1, 0.2))
    feed(Arrays(case.data, two) if case.data.endswith(".npz") else ImageFolder(case.data, two), case, gate)
