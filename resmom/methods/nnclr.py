"""NNCLR: D. Dwibedi et al., "With a Little Help from My Friends: Nearest-Neighbor Contrastive Learning …", ICCV 2021.

arXiv 2104.14548, Algorithm 1. A baseline without a teacher.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resmom import dist
from resmom.called import called
from resmom.losses.contrastive import info_nce, nt_xent
from resmom.losses.neighbours import nearest
from resmom.losses.precision import exact
from resmom.method import Method
from resmom.nets.backbones import Backbone
from resmom.nets.encoder import Encoder
from resmom.nets.heads import mlp
from resmom.types import Batch, Outcome, Targets, Term, Traits


@dataclass(frozen=True)
class NNCLR:
    """Heads (three layers, the last normalised too, and two), length of the support set, temperature (section 4.1).

    The paper has a support set of 98304, T = .1 and a projector 2048/256; the CIFAR literature 65536 and .2, which is
    longer than its data set: an image may then find itself as it was in the last epoch.
    """

    # A neighbour is told from the student's own predictions for the whole batch, with gradient.
    traits: ClassVar = Traits(sites=(), micro_batches=False)

    temperature: float = 0.2
    queue: int = 65536
    hidden: int = 2048
    out: int = 256
    predictor_hidden: int = 4096
    nt_xent: bool = False  # SimCLR's loss between neighbours and predictions, as lightly has it

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"{called('method.temperature')} is {self.temperature}; it must be above 0")
        for name in ("queue", "hidden", "out", "predictor_hidden"):
            if getattr(self, name) < 1:
                raise ValueError(f"{called(f'method.{name}')} is {getattr(self, name)}; it must be at least 1")


class NNCLRMethod(Method):
    """f = backbone and projection MLP, g = prediction MLP, Q = support set, oldest first to go."""

    queue: Tensor
    pointer: Tensor

    def __init__(self, backbone: Backbone, config: NNCLR) -> None:
        super().__init__()
        f = mlp(backbone.width, config.hidden, config.out, 3, last_norm="affine", bias=True)
        g = mlp(config.out, config.predictor_hidden, config.out, 2, bias=True)
        self.student: nn.Module = Encoder(backbone, f, g)
        self.teacher = None
        self.temperature, self.nt_xent = config.temperature, config.nt_xent
        self.register_buffer("queue", F.normalize(torch.randn(config.queue, config.out), dim=1))
        self.register_buffer("pointer", torch.zeros((), dtype=torch.long))

    def teach(self, batch: Batch) -> Targets:
        return Targets(())

    def forward(self, batch: Batch, targets: Targets, rows: slice) -> Outcome:
        e1, e2 = (self.student(x[rows]) for x in batch.views)  # z1, z2 = f(x1), f(x2); p1, p2 = g(z1), g(z2)
        nn1, nn2 = (nearest(e.z, self.queue, 1)[:, 0] for e in (e1, e2))  # NN(z1, Q), NN(z2, Q)
        l12, l21 = self.contrast(nn1, e2.p), self.contrast(nn2, e1.p)
        terms = (Term("contrast_12", l12, 0.5), Term("contrast_21", l21, 0.5))  # L(NN1, p2)/2 + L(NN2, p1)/2
        n = dist.world() * len(batch.index)
        return Outcome(terms, (e1, e2), memory=(e1.z.detach(),), chance=math.log(2 * n - 1 if self.nt_xent else n))

    def contrast(self, neighbours: Tensor, p: Tensor) -> Tensor:
        """L of this process' images, against the predictions of the global batch."""
        first, predicted = dist.rank() * len(p), dist.gather_with_gradient(p)
        if not self.nt_xent:
            return info_nce(neighbours, predicted, first, self.temperature)
        found = dist.gather(neighbours)  # both are anchors, and both are among the negatives
        forth = nt_xent(neighbours, predicted, found, first, self.temperature)
        back = nt_xent(p, found, predicted, first, self.temperature)
        return 0.5 * forth + 0.5 * back

    def remember(self, memory: tuple[Tensor, ...]) -> None:
        z1 = F.normalize(exact(dist.gather(memory[0])), dim=1)  # update_queue(Q, z1): of every rank
        at = (self.pointer + torch.arange(len(z1), device=z1.device)) % len(self.queue)
        self.queue.index_copy_(0, at, z1.to(self.queue.dtype))
        self.pointer.copy_((self.pointer + len(z1)) % len(self.queue))
