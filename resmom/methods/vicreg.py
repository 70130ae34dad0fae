"""VICReg: A. Bardes, J. Ponce, Y. LeCun, "VICReg: Variance-Invariance-Covariance Regularization …", ICLR 2022.

arXiv 2105.04906, Algorithm 1. A baseline without a teacher.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from resmom import dist
from resmom.called import called
from resmom.losses.decorrelation import covariance, off_diagonal, spread_hinge
from resmom.losses.precision import exact
from resmom.method import Method
from resmom.nets.backbones import Backbone
from resmom.nets.encoder import Encoder
from resmom.nets.heads import mlp
from resmom.types import Batch, Outcome, Targets, Term, Traits


@dataclass(frozen=True)
class VICReg:
    """Expander and coefficients lambda, mu, nu (section 4.2). The paper has heads of 8192; 2048 is for CIFAR."""

    # Variance and covariance are over the whole batch.
    traits: ClassVar = Traits(sites=(), micro_batches=False)

    invariance: float = 25.0
    variance: float = 25.0
    covariance: float = 1.0
    hidden: int = 2048
    out: int = 2048

    def __post_init__(self) -> None:
        for name in ("invariance", "variance", "covariance"):
            if getattr(self, name) < 0:
                raise ValueError(f"{called(f'method.{name}')} is {getattr(self, name)}; it must be at least 0")
        for name in ("hidden", "out"):
            if getattr(self, name) < 1:
                raise ValueError(f"{called(f'method.{name}')} is {getattr(self, name)}; it must be at least 1")


class VICRegMethod(Method):
    """f = backbone and expander of three layers; no bias, which neither term would see."""

    def __init__(self, backbone: Backbone, config: VICReg) -> None:
        super().__init__()
        self.student: nn.Module = Encoder(backbone, mlp(backbone.width, config.hidden, config.out, 3))
        self.teacher = None
        self.weights = (config.invariance, config.variance, config.covariance)

    def teach(self, batch: Batch) -> Targets:
        return Targets(())

    def forward(self, batch: Batch, targets: Targets, rows: slice) -> Outcome:
        a, b = (self.student(x[rows]) for x in batch.views)  # z_a, z_b = f(x_a), f(x_b)
        z_a, z_b = (exact(dist.gather_with_gradient(e.z)) for e in (a, b))
        sim = F.mse_loss(z_a, z_b)  # Algorithm 1: averaged over images and dimensions (Eq. 5 sums the latter)
        std = spread_hinge(z_a) + spread_hinge(z_b)  # Algorithm 1 and Eq. 6; the authors' code takes half of it
        cov = off_diagonal(covariance(z_a)).square().sum() / z_a.shape[1]
        cov = cov + off_diagonal(covariance(z_b)).square().sum() / z_b.shape[1]
        lambd, mu, nu = self.weights
        terms = (Term("invariance", sim, lambd), Term("variance", std, mu), Term("covariance", cov, nu))
        return Outcome(terms, (a, b))

    def remember(self, memory: tuple[Tensor, ...]) -> None:
        """Nothing: VICReg has no memory."""
