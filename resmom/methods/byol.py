"""BYOL: J.-B. Grill et al., "Bootstrap Your Own Latent: A New Approach to Self-Supervised Learning", NeurIPS 2020.

arXiv 2006.07733, Algorithm 1.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from resmom.called import called
from resmom.losses.cosine import cosine_distance
from resmom.method import Method
from resmom.nets.backbones import Backbone
from resmom.nets.encoder import Encoder
from resmom.nets.heads import mlp
from resmom.nets.teacher import make_teacher
from resmom.types import Batch, Outcome, Pair, Targets, Term, Traits


@dataclass(frozen=True)
class Byol:
    """Heads: linear, BatchNorm, ReLU, linear, with biases (section 3.3); the same form for projector and predictor."""

    traits: ClassVar = Traits(sites=("h", "z", "p"))

    hidden: int = 4096
    out: int = 256
    predictor_hidden: int = 4096

    def __post_init__(self) -> None:
        for name in ("hidden", "out", "predictor_hidden"):
            if getattr(self, name) < 1:
                raise ValueError(f"{called(f'method.{name}')} is {getattr(self, name)}; it must be at least 1")


class ByolMethod(Method):
    """Online network f_θ, g_θ, q_θ (student) and target network f_ξ, g_ξ (teacher)."""

    def __init__(self, backbone: Backbone, config: Byol) -> None:
        super().__init__()
        projector = mlp(backbone.width, config.hidden, config.out, 2, bias=True)
        predictor = mlp(config.out, config.predictor_hidden, config.out, 2, bias=True)
        self.student: nn.Module = Encoder(backbone, projector, predictor)
        self.teacher: nn.Module = make_teacher(self.student)

    @torch.no_grad()
    def teach(self, batch: Batch) -> Targets:
        return Targets(tuple(self.teacher(v) for v in batch.views))  # z'_ξ = g_ξ(f_ξ(v')), for both views

    def forward(self, batch: Batch, targets: Targets, rows: slice) -> Outcome:
        q1, q2 = (self.student(v[rows]) for v in batch.views)  # q_θ(g_θ(f_θ(v)))
        z1, z2 = (t.rows(rows) for t in targets.views)
        loss12 = 2 * cosine_distance(q1.p, z2.z)  # Eq. 2: the squared distance of the normalised vectors
        loss21 = 2 * cosine_distance(q2.p, z1.z)  # Eq. 3: the loss is symmetrised
        pairs = tuple(Pair("global", q, t.rows(rows), bank=t) for q, t in zip((q1, q2), targets.views, strict=True))
        return Outcome((Term("distance_12", loss12), Term("distance_21", loss21)), (q1, q2), pairs)

    def remember(self, memory: tuple[Tensor, ...]) -> None:
        """Nothing: BYOL has no memory."""
