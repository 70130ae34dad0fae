"""ReSSL: M. Zheng et al., "ReSSL: Relational Self-Supervised Learning with Weak Augmentation", NeurIPS 2021.

arXiv 2107.09282, Algorithm 1. The first view is the student's, strongly augmented, the second the teacher's, weakly.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from resmom.called import called
from resmom.losses.relation import relation
from resmom.method import Method
from resmom.nets.backbones import Backbone
from resmom.nets.encoder import Encoder
from resmom.nets.ghosts import in_groups, shuffled
from resmom.nets.heads import mlp
from resmom.nets.queue import Queue
from resmom.nets.teacher import make_teacher, unrecorded
from resmom.types import Batch, Encoding, Outcome, Pair, Targets, Term, Traits


@dataclass(frozen=True)
class ReSSL:
    """Head (linear, ReLU, linear: no BatchNorm), temperatures, length of the queue; as published for ImageNet."""

    traits: ClassVar = Traits(sites=("h", "z"))

    student_temperature: float = 0.1
    teacher_temperature: float = 0.04  # sharper than the student's
    hidden: int = 4096
    out: int = 512
    queue: int = 131072
    same_view: bool = False  # one more teacher forward, on the student's view; the residual term needs it
    shuffle_bn: int = 0  # BatchNorm over groups of so many images, keys shuffled among them; 0: over the whole batch

    def __post_init__(self) -> None:
        for name in ("student_temperature", "teacher_temperature"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{called(f'method.{name}')} is {getattr(self, name)}; it must be above 0")
        for name in ("hidden", "out", "queue"):
            if getattr(self, name) < 1:
                raise ValueError(f"{called(f'method.{name}')} is {getattr(self, name)}; it must be at least 1")


class ReSSLMethod(Method):
    """F_s = backbone and projection MLP (student); F_t = their momentum copies (teacher); Q = memory buffer."""

    def __init__(self, backbone: Backbone, config: ReSSL) -> None:
        super().__init__()
        projector = mlp(backbone.width, config.hidden, config.out, 2, bias=True, norm=False)
        self.student: nn.Module = in_groups(Encoder(backbone, projector), config.shuffle_bn)
        self.teacher: nn.Module = make_teacher(self.student)
        self.queue = Queue(config.queue, config.out)
        self.config = config

    @torch.no_grad()
    def teach(self, batch: Batch) -> Targets:
        strong, weak = batch.views
        z2 = self.keys(weak)  # z2 = F_t(weak augmentation of x)
        if not self.config.same_view:
            return Targets((z2,))
        with unrecorded(self.teacher):
            return Targets((self.keys(strong), z2))

    def keys(self, view: Tensor) -> Encoding:
        return shuffled(self.teacher, view, self.config.shuffle_bn)

    def forward(self, batch: Batch, targets: Targets, rows: slice) -> Outcome:
        z1 = self.student(batch.views[0][rows])  # z1 = F_s(strong augmentation of x)
        z2 = targets.views[-1].rows(rows)
        t_s, t_t = self.config.student_temperature, self.config.teacher_temperature
        loss = relation(z1.z, z2.z, self.queue.rows, t_s, t_t)  # H(p2, p1), p = softmax(sim(z, Q) / τ)
        pairs = tuple(Pair("global", z1, t.rows(rows), bank=t) for t in targets.views[:-1])
        return Outcome((Term("relation", loss),), (z1,), pairs, memory=(z2.z,), chance=math.log(self.config.queue))

    def remember(self, memory: tuple[Tensor, ...]) -> None:
        self.queue.push(memory[0])  # Q takes z2 in, the oldest go
