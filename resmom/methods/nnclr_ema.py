"""NNCLR with a teacher: a momentum form, ours, of D. Dwibedi et al., "With a Little Help from My Friends", ICCV 2021.

Not a published method. From NNCLR (arXiv 2104.14548, Algorithm 1): the positive of an image is the nearest neighbour,
in a support set, of its *other* view; heads, temperature, symmetry and the support set of first views. Ours: a teacher
says the projections that are looked up and remembered, so that there is a teacher for the residual term to come close
to; and a prediction is set against the neighbours of the whole batch, where NNCLR sets a neighbour against the
predictions of the whole batch. The student's rows then do not meet, and micro-batches are exact.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from resmom import dist
from resmom.called import called
from resmom.losses.contrastive import info_nce
from resmom.losses.neighbours import nearest
from resmom.method import Method
from resmom.nets.backbones import Backbone
from resmom.nets.encoder import Encoder
from resmom.nets.heads import mlp
from resmom.nets.queue import Queue
from resmom.nets.teacher import make_teacher
from resmom.types import Batch, Encoding, Outcome, Pair, Targets, Term, Traits


@dataclass(frozen=True)
class NNCLREma:
    """Heads (three layers, the last normalised too, and two), support set and temperature, as NNCLR's on CIFAR."""

    traits: ClassVar = Traits(sites=("h", "z", "p"))

    temperature: float = 0.2
    queue: int = 65536
    hidden: int = 2048
    out: int = 256
    predictor_hidden: int = 4096

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"{called('method.temperature')} is {self.temperature}; it must be above 0")
        for name in ("queue", "hidden", "out", "predictor_hidden"):
            if getattr(self, name) < 1:
                raise ValueError(f"{called(f'method.{name}')} is {getattr(self, name)}; it must be at least 1")


class NNCLREmaMethod(Method):
    """f = backbone and projection MLP, g = prediction MLP (student); f' = momentum f (teacher); Q = support set."""

    def __init__(self, backbone: Backbone, config: NNCLREma) -> None:
        super().__init__()
        f = mlp(backbone.width, config.hidden, config.out, 3, last_norm="affine", bias=True)
        g = mlp(config.out, config.predictor_hidden, config.out, 2, bias=True)
        self.student: nn.Module = Encoder(backbone, f, g)
        self.teacher: nn.Module = make_teacher(self.student)
        self.queue = Queue(config.queue, config.out)
        self.temperature = config.temperature

    @torch.no_grad()
    def teach(self, batch: Batch) -> Targets:
        z = tuple(self.teacher(x) for x in batch.views)  # z1', z2' = f'(x1), f'(x2)
        q = self.queue.rows
        nn12 = tuple(dist.gather(nearest(z_i.z, q, 1)[:, 0]) for z_i in z)  # NN(z1', Q), NN(z2', Q), of all ranks
        return Targets(z, nn12, offset=dist.rank() * len(batch.index))

    def forward(self, batch: Batch, targets: Targets, rows: slice) -> Outcome:
        e1, e2 = (self.student(x[rows]) for x in batch.views)  # p1, p2 = g(f(x1)), g(f(x2))
        nn1, nn2 = targets.keys
        first = targets.offset + rows.start
        l12, l21 = self.contrast(e2, nn1, first), self.contrast(e1, nn2, first)
        terms = (Term("contrast_12", l12, 0.5), Term("contrast_21", l21, 0.5))  # L(p2, NN1)/2 + L(p1, NN2)/2
        pairs = tuple(Pair("global", e, t.rows(rows), bank=t) for e, t in zip((e1, e2), targets.views, strict=True))
        memory = (targets.views[0].z[rows],)
        return Outcome(terms, (e1, e2), pairs, memory, chance=math.log(len(nn1)))

    def contrast(self, e: Encoding, neighbours: Tensor, first: int) -> Tensor:
        assert e.p is not None
        return info_nce(e.p, neighbours, first, self.temperature)

    def remember(self, memory: tuple[Tensor, ...]) -> None:
        self.queue.push(memory[0])  # update_queue(Q, z1')
