"""SimCLR: T. Chen, S. Kornblith, M. Norouzi, G. Hinton, "A Simple Framework for Contrastive Learning …", ICML 2020.

arXiv 2002.05709, Algorithm 1. A baseline without a teacher.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from resmom import dist
from resmom.called import called
from resmom.losses.contrastive import nt_xent
from resmom.method import Method
from resmom.nets.backbones import Backbone
from resmom.nets.encoder import Encoder
from resmom.nets.heads import LastNorm, mlp
from resmom.types import Batch, Outcome, Targets, Term, Traits


@dataclass(frozen=True)
class SimCLR:
    """Head and temperature. The head is g(h) = W2 ReLU(W1 h) (section 2.1), without BatchNorm unless asked for."""

    # The negatives are what the student itself says of the other images, with gradient.
    traits: ClassVar = Traits(sites=(), micro_batches=False)

    temperature: float = 0.2
    hidden: int = 2048
    out: int = 256
    batch_norm: bool = False  # BatchNorm with gains after both linear layers, each view by itself

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"{called('method.temperature')} is {self.temperature}; it must be above 0")
        for name in ("hidden", "out"):
            if getattr(self, name) < 1:
                raise ValueError(f"{called(f'method.{name}')} is {getattr(self, name)}; it must be at least 1")


class SimCLRMethod(Method):
    """f = backbone, g = projection head."""

    def __init__(self, backbone: Backbone, config: SimCLR) -> None:
        super().__init__()
        norm = config.batch_norm
        last: LastNorm = "affine" if norm else "none"
        g = mlp(backbone.width, config.hidden, config.out, 2, last, bias=not norm, norm=norm)
        self.student: nn.Module = Encoder(backbone, g)
        self.teacher = None
        self.temperature = config.temperature

    def teach(self, batch: Batch) -> Targets:
        return Targets(())

    def forward(self, batch: Batch, targets: Targets, rows: slice) -> Outcome:
        e1, e2 = (self.student(x[rows]) for x in batch.views)  # h = f(x~), z = g(h), for x~_2k-1 and x~_2k
        z1, z2 = (dist.gather_with_gradient(e.z) for e in (e1, e2))  # of the global batch
        first = dist.rank() * len(e1.z)
        l12 = nt_xent(e1.z, z2, z1, first, self.temperature)  # l(2k-1, 2k)
        l21 = nt_xent(e2.z, z1, z2, first, self.temperature)  # l(2k, 2k-1)
        terms = (Term("contrast_12", l12, 0.5), Term("contrast_21", l21, 0.5))  # L = 1/2N sum of both
        return Outcome(terms, (e1, e2), chance=math.log(2 * len(z1) - 1))

    def remember(self, memory: tuple[Tensor, ...]) -> None:
        """Nothing: the negatives are the batch's own."""
