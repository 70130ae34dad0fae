"""MoCo v2: X. Chen, H. Fan, R. Girshick, K. He, "Improved Baselines with Momentum Contrastive Learning", 2020.

arXiv 2003.04297; algorithm: MoCo (arXiv 1911.05722), Algorithm 1. `symmetric` is MoCo-v2+ as solo-learn has it.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from resmom.called import called
from resmom.losses.contrastive import queue_nce
from resmom.method import Method
from resmom.nets.backbones import Backbone
from resmom.nets.encoder import Encoder
from resmom.nets.ghosts import in_groups, shuffled
from resmom.nets.heads import mlp
from resmom.nets.queue import Queue
from resmom.nets.teacher import make_teacher, unrecorded
from resmom.types import Batch, Encoding, Outcome, Pair, Targets, Term, Traits


@dataclass(frozen=True)
class MoCoV2:
    """Head (linear, ReLU, linear: no BatchNorm), temperature and length of the queue, as in the paper for ResNet-50."""

    traits: ClassVar = Traits(sites=("h", "z"))

    temperature: float = 0.2
    hidden: int = 2048
    out: int = 128
    queue: int = 65536
    symmetric: bool = False  # MoCo-v2+: each view is query and key in turn; a queue per view
    same_view: bool = False  # one more teacher forward, on the student's view; the residual term needs it
    shuffle_bn: int = 0  # BatchNorm over groups of so many images, keys shuffled among them; 0: over the whole batch

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"{called('method.temperature')} is {self.temperature}; it must be above 0")
        for name in ("hidden", "out", "queue"):
            if getattr(self, name) < 1:
                raise ValueError(f"{called(f'method.{name}')} is {getattr(self, name)}; it must be at least 1")
        if self.symmetric and self.same_view:
            raise ValueError(
                f"{called('method.same_view')} is for the asymmetric form; with {called('method.symmetric')} both "
                f"networks see both views anyway: leave {called('method.same_view')} off"
            )


class MoCoV2Method(Method):
    """f_q = backbone and projection MLP; f_k = their momentum copies; a queue of keys (symmetric: one per view)."""

    def __init__(self, backbone: Backbone, config: MoCoV2) -> None:
        super().__init__()
        projector = mlp(backbone.width, config.hidden, config.out, 2, bias=True, norm=False)
        self.student: nn.Module = in_groups(Encoder(backbone, projector), config.shuffle_bn)
        self.teacher: nn.Module = make_teacher(self.student)
        self.queue = Queue(config.queue, config.out)  # keys of the second view
        self.queue1 = Queue(config.queue, config.out) if config.symmetric else None  # keys of the first
        self.config = config
        self.chance = math.log(config.queue + 1)

    @torch.no_grad()
    def teach(self, batch: Batch) -> Targets:
        x_q, x_k = batch.views
        if self.config.symmetric:
            return Targets((self.keys(x_q), self.keys(x_k)))
        k = self.keys(x_k)  # k = f_k(x_k)
        if not self.config.same_view:
            return Targets((k,))
        with unrecorded(self.teacher):
            return Targets((self.keys(x_q), k))

    def keys(self, view: Tensor) -> Encoding:
        return shuffled(self.teacher, view, self.config.shuffle_bn)

    def forward(self, batch: Batch, targets: Targets, rows: slice) -> Outcome:
        if self.queue1 is not None:
            return self.both_ways(batch, targets, rows, self.queue1)
        q = self.student(batch.views[0][rows])  # q = f_q(x_q)
        k = targets.views[-1].rows(rows)
        loss = self.nce(q, k, self.queue)
        pairs = tuple(Pair("global", q, t.rows(rows), bank=t) for t in targets.views[:-1])  # x_q, if the teacher saw it
        return Outcome((Term("contrast", loss),), (q,), pairs, memory=(k.z,), chance=self.chance)

    def both_ways(self, batch: Batch, targets: Targets, rows: slice, other: Queue) -> Outcome:
        """MoCo-v2+: the mean of both directions."""
        q1, q2 = (self.student(x[rows]) for x in batch.views)
        k1, k2 = (t.rows(rows) for t in targets.views)
        terms = (
            Term("contrast_12", self.nce(q1, k2, self.queue), 0.5),
            Term("contrast_21", self.nce(q2, k1, other), 0.5),
        )
        pairs = tuple(Pair("global", q, t.rows(rows), bank=t) for q, t in zip((q1, q2), targets.views, strict=True))
        return Outcome(terms, (q1, q2), pairs, memory=(k2.z, k1.z), chance=self.chance)

    def nce(self, q: Encoding, k: Encoding, queue: Queue) -> Tensor:
        return queue_nce(q.z, k.z, queue.rows, self.config.temperature)

    def remember(self, memory: tuple[Tensor, ...]) -> None:
        self.queue.push(memory[0])  # enqueue(queue, k); dequeue(queue): the oldest are overwritten
        if self.queue1 is not None:
            self.queue1.push(memory[1])
