"""DINO: M. Caron et al., "Emerging Properties in Self-Supervised Vision Transformers", ICCV 2021.

arXiv 2104.14294, Algorithm 1, with multi-crop (section 3.1): the teacher sees the two global views only.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from resmom import dist
from resmom.called import called
from resmom.losses.precision import exact
from resmom.losses.prototypes import cross_entropies, sharpened
from resmom.method import Method
from resmom.nets.backbones import Backbone
from resmom.nets.encoder import Encoder, encode
from resmom.nets.heads import Prototypes, gelu_mlp
from resmom.nets.teacher import make_teacher
from resmom.schedule import by_epoch
from resmom.types import Batch, Outcome, Pair, Targets, Term, Traits

GLOBAL = 2
"""The first two views are the global ones; any others are local."""


@dataclass(frozen=True)
class Dino:
    """Head, temperatures and centre. The first two views are global; any further ones are local and of one size."""

    traits: ClassVar = Traits(sites=("h", "z", "logits"), views=GLOBAL, more=True)

    hidden: int = 2048
    out: int = 256  # the bottleneck, z
    prototypes: int = 65536  # K
    gains: bool = False  # learn the prototypes' lengths (the authors' norm_last_layer false, for ViT-S)
    batch_norm: bool = False  # in the MLP (the authors' use_bn_in_head)
    deviation: float = 0.02  # of the MLP's first weights
    student_temperature: float = 0.1
    teacher_temperature: float = 0.07
    warmup_temperature: float = 0.04  # the teacher's in the first epoch
    temperature_epochs: int = 30  # until it is teacher_temperature; 0: from the start
    centre_momentum: float = 0.9
    frozen_epochs: float = 1.0  # the prototypes stand still so long
    local_pairs: bool = False  # same-view pairs of the local views too: a teacher forward on each

    def __post_init__(self) -> None:
        for name in ("hidden", "out", "prototypes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{called(f'method.{name}')} is {getattr(self, name)}; it must be at least 1")
        for name in ("student_temperature", "teacher_temperature", "warmup_temperature"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{called(f'method.{name}')} is {getattr(self, name)}; it must be above 0")
        if not self.deviation > 0:
            raise ValueError(f"{called('method.deviation')} is {self.deviation}; it must be above 0")
        if not 0 <= self.centre_momentum <= 1:
            raise ValueError(f"{called('method.centre_momentum')} is {self.centre_momentum}; it must be in [0, 1]")
        if self.temperature_epochs < 0 or self.frozen_epochs < 0:
            raise ValueError(
                f"{called('method.temperature_epochs')} and {called('method.frozen_epochs')} must be 0 (none) or "
                "positive"
            )


class DinoMethod(Method):
    """Student gs and teacher gt: backbone, MLP to the bottleneck z, prototypes; C is the centre."""

    centre: Tensor

    def __init__(self, backbone: Backbone, config: Dino) -> None:
        super().__init__()
        c = config
        projector = gelu_mlp(backbone.width, c.hidden, c.out, norm=c.batch_norm, deviation=c.deviation)
        prototypes = Prototypes(config.out, config.prototypes, config.gains)
        self.student: nn.Module = Encoder(backbone, projector, prototypes=prototypes)
        self.teacher: nn.Module = make_teacher(self.student)
        self.config = config
        self.register_buffer("centre", torch.zeros(config.prototypes))

    @torch.no_grad()
    def teach(self, batch: Batch) -> Targets:
        seen = batch.views if self.config.local_pairs else batch.views[:GLOBAL]
        return Targets(encode(self.teacher, seen, GLOBAL))  # t1, t2 = gt(x1), gt(x2)

    def forward(self, batch: Batch, targets: Targets, rows: slice) -> Outcome:
        c = self.config
        s = encode(self.student, [x[rows] for x in batch.views], GLOBAL)  # s1, s2, … = gs(x1), gs(x2), …
        t = [teacher.rows(rows) for teacher in targets.views]
        tpt = by_epoch(batch.epoch, c.temperature_epochs, c.warmup_temperature, c.teacher_temperature)
        h: dict[str, list[Tensor]] = {}
        for i in range(GLOBAL):
            target = sharpened(t[i].at("logits"), self.centre, tpt)
            for j in range(len(s)):
                if j != i:  # H(ti, sj), never on the same view
                    kind = "global" if j < GLOBAL else "local"
                    h.setdefault(kind, []).append(cross_entropies(target, s[j].at("logits"), c.student_temperature))
        number = sum(len(losses) for losses in h.values())
        terms = tuple(Term(f"cross_entropy_{kind}", torch.stack(x).mean(), len(x) / number) for kind, x in h.items())
        pairs = tuple(
            Pair("global" if v < GLOBAL else "local", s[v], t[v], bank=targets.views[v]) for v in range(len(t))
        )
        memory = torch.stack([exact(t[i].at("logits")) for i in range(GLOBAL)]).mean(0)
        frozen = ("prototypes.",) if batch.epoch < c.frozen_epochs else ()
        return Outcome(terms, s[:GLOBAL], pairs, (memory,), math.log(c.prototypes), frozen)

    def remember(self, memory: tuple[Tensor, ...]) -> None:
        mean = memory[0].mean(0)
        dist.average([mean])
        self.centre.lerp_(mean.to(self.centre.dtype), 1 - self.config.centre_momentum)  # C = m C + (1 - m) mean(t1, t2)
