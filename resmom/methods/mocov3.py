"""MoCo v3: X. Chen, S. Xie, K. He, "An Empirical Study of Training Self-Supervised Vision Transformers", ICCV 2021.

arXiv 2104.02057, Algorithm 1.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from resmom import dist
from resmom.called import called
from resmom.losses.contrastive import info_nce
from resmom.method import Method
from resmom.nets.backbones import Backbone
from resmom.nets.encoder import Encoder
from resmom.nets.heads import LastNorm, mlp
from resmom.nets.teacher import make_teacher
from resmom.types import Batch, Outcome, Pair, Targets, Term, Traits


@dataclass(frozen=True)
class MoCoV3:
    """Heads and temperature. The paper has T = 1.0 for ResNet-50 and 0.2 for ViT; the CIFAR literature has 0.2."""

    traits: ClassVar = Traits(sites=("h", "z", "p"))

    temperature: float = 1.0
    hidden: int = 4096
    out: int = 256
    projector_layers: int = 2  # ViT: 3
    predictor_layers: int = 2  # 0: no predictor, as an ablation of the paper has it
    predictor_norm: LastNorm = "none"  # ViT: "plain", a last BatchNorm without gain and bias

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"{called('method.temperature')} is {self.temperature}; it must be above 0")
        for name in ("hidden", "out", "projector_layers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{called(f'method.{name}')} is {getattr(self, name)}; it must be at least 1")
        if self.predictor_layers < 0:
            raise ValueError(
                f"{called('method.predictor_layers')} is {self.predictor_layers}; it must be 0 (no predictor) or more"
            )


class MoCoV3Method(Method):
    """f_q = backbone, projection MLP and prediction MLP; f_k = momentum backbone and projection MLP."""

    def __init__(self, backbone: Backbone, config: MoCoV3) -> None:
        super().__init__()
        projector = mlp(backbone.width, config.hidden, config.out, config.projector_layers, last_norm="plain")
        self.student: nn.Module = Encoder(backbone, projector, _predictor(config))
        self.teacher: nn.Module = make_teacher(self.student)
        self.temperature = config.temperature

    @torch.no_grad()
    def teach(self, batch: Batch) -> Targets:
        k = tuple(self.teacher(x) for x in batch.views)  # k1, k2 = f_k(x1), f_k(x2)
        keys = tuple(dist.gather(k_i.z) for k_i in k)  # negatives: the keys of the whole global batch
        return Targets(k, keys, offset=dist.rank() * len(batch.index))

    def forward(self, batch: Batch, targets: Targets, rows: slice) -> Outcome:
        q1, q2 = (self.student(x[rows]) for x in batch.views)  # q1, q2 = f_q(x1), f_q(x2)
        k1, k2 = targets.keys
        ctr12 = self.ctr(q1.at("p"), k2, targets.offset + rows.start)
        ctr21 = self.ctr(q2.at("p"), k1, targets.offset + rows.start)  # loss = ctr(q1, k2) + ctr(q2, k1)
        pairs = tuple(Pair("global", q, k.rows(rows), bank=k) for q, k in zip((q1, q2), targets.views, strict=True))
        chance = 4 * self.temperature * math.log(len(k1))
        return Outcome((Term("contrast_12", ctr12), Term("contrast_21", ctr21)), (q1, q2), pairs, chance=chance)

    def ctr(self, q: Tensor, k: Tensor, first: int) -> Tensor:
        return info_nce(q, k, first, self.temperature) * 2 * self.temperature

    def remember(self, memory: tuple[Tensor, ...]) -> None:
        """Nothing: the negatives are the batch's own."""


def _predictor(config: MoCoV3) -> nn.Module | None:
    if not config.predictor_layers:
        return None
    return mlp(config.out, config.hidden, config.out, config.predictor_layers, last_norm=config.predictor_norm)
