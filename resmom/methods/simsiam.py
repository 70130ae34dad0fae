"""SimSiam: X. Chen, K. He, "Exploring Simple Siamese Representation Learning", CVPR 2021.

arXiv 2011.10566, Algorithm 1. A baseline without a teacher.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from resmom.called import called
from resmom.losses.cosine import cosine_distance
from resmom.method import Method
from resmom.nets.backbones import Backbone
from resmom.nets.encoder import Encoder
from resmom.nets.heads import mlp
from resmom.types import Batch, Outcome, Targets, Term, Traits


@dataclass(frozen=True)
class SimSiam:
    """Heads: a projector of three layers, BatchNorm after each, a predictor of two with a bottleneck (section 3)."""

    # The predictor's learning rate is not decayed: section 4.2, Table 1 (c), and the authors' own commands.
    traits: ClassVar = Traits(sites=(), steady=("predictor.",))

    hidden: int = 2048
    out: int = 2048
    predictor_hidden: int = 512
    steady_predictor: bool = True  # false: its rate follows the schedule as all others do

    def __post_init__(self) -> None:
        for name in ("hidden", "out", "predictor_hidden"):
            if getattr(self, name) < 1:
                raise ValueError(f"{called(f'method.{name}')} is {getattr(self, name)}; it must be at least 1")


class SimSiamMethod(Method):
    """f = backbone and projection MLP; h = prediction MLP."""

    def __init__(self, backbone: Backbone, config: SimSiam) -> None:
        super().__init__()
        f = mlp(backbone.width, config.hidden, config.out, 3, last_norm="plain")
        h = mlp(config.out, config.predictor_hidden, config.out, 2, bias=True)
        self.student: nn.Module = Encoder(backbone, f, h)
        self.teacher = None

    def teach(self, batch: Batch) -> Targets:
        return Targets(())

    def forward(self, batch: Batch, targets: Targets, rows: slice) -> Outcome:
        e1, e2 = (self.student(x[rows]) for x in batch.views)  # z1, z2 = f(x1), f(x2); p1, p2 = h(z1), h(z2)
        # The paper's D is -cos; 1 - cos has the same gradient, and is 0 where nothing is left to learn.
        d12 = cosine_distance(e1.p, e2.z.detach())  # D(p1, z2), z = z.detach()
        d21 = cosine_distance(e2.p, e1.z.detach())
        terms = (Term("distance_12", d12, 0.5), Term("distance_21", d21, 0.5))  # L = D(p1, z2)/2 + D(p2, z1)/2
        return Outcome(terms, (e1, e2))

    def remember(self, memory: tuple[Tensor, ...]) -> None:
        """Nothing: SimSiam has no memory."""
