"""Barlow Twins: J. Zbontar et al., "Barlow Twins: Self-Supervised Learning via Redundancy Reduction", ICML 2021.

arXiv 2103.03230, Algorithm 1. A baseline without a teacher.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from resmom import dist
from resmom.called import called
from resmom.losses.decorrelation import cross_correlation, off_diagonal
from resmom.method import Method
from resmom.nets.backbones import Backbone
from resmom.nets.encoder import Encoder
from resmom.nets.heads import mlp
from resmom.types import Batch, Outcome, Targets, Term, Traits


@dataclass(frozen=True)
class BarlowTwins:
    """Head, trade-off and scale. The paper has heads of 8192; 2048, and the scale .1, are the CIFAR literature's."""

    # The correlations are over the whole batch.
    traits: ClassVar = Traits(sites=(), micro_batches=False)

    redundancy: float = 0.0051
    """The paper's lambda: weight of the off-diagonal terms."""
    scale: float = 0.1
    """Of the whole loss; the authors' code has 0.024 beside LARS with a rate of .2 per 256 images."""
    hidden: int = 2048
    out: int = 2048

    def __post_init__(self) -> None:
        if self.redundancy < 0 or not self.scale > 0:
            raise ValueError(
                f"{called('method.redundancy')} is {self.redundancy} and {called('method.scale')} {self.scale}; they "
                "must be at least 0 and above 0"
            )
        for name in ("hidden", "out"):
            if getattr(self, name) < 1:
                raise ValueError(f"{called(f'method.{name}')} is {getattr(self, name)}; it must be at least 1")


class BarlowTwinsMethod(Method):
    """f = backbone and projector of three layers; no bias, since what is correlated is centred."""

    def __init__(self, backbone: Backbone, config: BarlowTwins) -> None:
        super().__init__()
        self.student: nn.Module = Encoder(backbone, mlp(backbone.width, config.hidden, config.out, 3))
        self.teacher = None
        self.scale, self.lambd = config.scale, config.redundancy

    def teach(self, batch: Batch) -> Targets:
        return Targets(())

    def forward(self, batch: Batch, targets: Targets, rows: slice) -> Outcome:
        a, b = (self.student(y[rows]) for y in batch.views)  # z_a, z_b = f(y_a), f(y_b)
        z_a, z_b = (dist.gather_with_gradient(e.z) for e in (a, b))
        c = cross_correlation(z_a, z_b)  # c = mm(z_a_norm.T, z_b_norm) / N
        on = (c.diagonal() - 1.0).square().sum()  # Eq. 1, the invariance term
        off = off_diagonal(c).square().sum()  # Eq. 1, the redundancy reduction term
        terms = (Term("invariance", on, self.scale), Term("redundancy", off, self.scale * self.lambd))
        return Outcome(terms, (a, b))

    def remember(self, memory: tuple[Tensor, ...]) -> None:
        """Nothing: Barlow Twins has no memory."""
