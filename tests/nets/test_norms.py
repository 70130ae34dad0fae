"""Where networks have BatchNorm, by the names of their tensors."""

import torch
from torch import nn

from resmom.nets.backbones import DinoViT, SmallResNet, build_backbone
from resmom.nets.encoder import Encoder
from resmom.nets.norms import Normed, normed


def test_backbone_and_heads_are_told_apart(small_transformers: None) -> None:
    plain, with_norm = nn.Linear(8, 4), nn.Sequential(nn.Linear(8, 4), nn.BatchNorm1d(4))
    for backbone, has in ((SmallResNet((4, 8)), True), (DinoViT("tiny", 16, 8), False)):
        with torch.random.fork_rng(devices=[]):
            body = build_backbone(backbone)
        for head, heads in ((plain, False), (with_norm, True)):
            found = normed(Encoder(body, head).state_dict())
            assert found == Normed(has, heads) and found.anywhere == (has or heads)
