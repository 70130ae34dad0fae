"""lightly: its heads, loss, momentum update and transforms, in the loop of its examples/pytorch."""

import copy

import torch
from lightly.data import LightlyDataset
from lightly.loss import NTXentLoss
from lightly.models.modules import MoCoProjectionHead
from lightly.models.utils import deactivate_requires_grad, update_momentum
from lightly.transforms.byol_transform import BYOLTransform, BYOLView1Transform, BYOLView2Transform
from torch import Tensor, nn

from benchmarks.peers.case import Case
from benchmarks.peers.networks import HIDDEN, OUT, TEMPERATURE, autocast, cifar_resnet18, views
from benchmarks.peers.pictures import Arrays, feed
from benchmarks.peers.worker import Gate

PACKAGES = ("lightly",)
NOTES = {
    "step": "examples/pytorch/moco.py made symmetric, with the heads that MoCoProjectionHead documents for MoCo-v3, a "
    "second one as predictor, NTXentLoss without memory bank; bf16 by torch.autocast",
    "images": "LightlyDataset and BYOLTransform with its defaults (MoCo-v3's pair); at 32 pixels without blur, as its "
    "example for CIFAR",
}


class MoCoV3(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(*list(cifar_resnet18().children())[:-1])
        self.projection_head = MoCoProjectionHead(512, HIDDEN, OUT, num_layers=2, batch_norm=True)
        self.prediction_head = MoCoProjectionHead(OUT, HIDDEN, OUT, num_layers=2, batch_norm=True)
        self.backbone_momentum = copy.deepcopy(self.backbone)
        self.projection_head_momentum = copy.deepcopy(self.projection_head)
        deactivate_requires_grad(self.backbone_momentum)
        deactivate_requires_grad(self.projection_head_momentum)

    def forward(self, x: Tensor) -> Tensor:
        query: Tensor = self.prediction_head(self.projection_head(self.backbone(x).flatten(start_dim=1)))
        return query

    def forward_momentum(self, x: Tensor) -> Tensor:
        key: Tensor = self.projection_head_momentum(self.backbone_momentum(x).flatten(start_dim=1)).detach()
        return key


def step(case: Case, gate: Gate) -> None:
    model, criterion = MoCoV3().train().to(case.device), NTXentLoss(temperature=TEMPERATURE)
    learned = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(learned, lr=0.03, momentum=0.9, weight_decay=1e-4)
    first, second = views(case)
    while True:
        gate()
        update_momentum(model.backbone, model.backbone_momentum, m=0.99)
        update_momentum(model.projection_head, model.projection_head_momentum, m=0.99)
        with autocast(case):
            q1, q2 = model(first), model(second)
            k1, k2 = model.forward_momentum(first), model.forward_momentum(second)
            loss = criterion(q1, k2) + criterion(q2, k1)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()


def images(case: Case, gate: Gate) -> None:
    blur = {} if case.side >= 64 else {"gaussian_blur": 0.0}
    two = BYOLTransform(
        BYOLView1Transform(input_size=case.side, **blur), BYOLView2Transform(input_size=case.side, **blur)
    )
    feed(Arrays(case.data, two) if case.data.endswith(".npz") else LightlyDataset(case.data, two), case, gate)
