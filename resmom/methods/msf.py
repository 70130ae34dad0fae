"""MSF: S. Abbasi Koohpayegani, A. Tejankar, H. Pirsiavash, "Mean Shift for Self-Supervised Learning", ICCV 2021.

arXiv 2105.07269, section 3. The first view is the online encoder's, the second the target encoder's. `symmetric`, each
view in turn and a bank per view, is ours: both networks then see both views, as in BYOL, and the residual term costs
nothing more; the published form needs one more teacher forward for it.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from resmom import dist
from resmom.called import called
from resmom.losses.neighbours import mean_shift
from resmom.method import Method
from resmom.nets.backbones import Backbone
from resmom.nets.encoder import Encoder
from resmom.nets.ghosts import in_groups, shuffled
from resmom.nets.heads import mlp
from resmom.nets.queue import Queue
from resmom.nets.teacher import make_teacher, unrecorded
from resmom.types import Batch, Encoding, Outcome, Pair, Targets, Term, Traits


@dataclass(frozen=True)
class MSF:
    """Heads (linear, BatchNorm, ReLU, linear, with biases), neighbours and bank, as published for ResNet-50."""

    traits: ClassVar = Traits(sites=("h", "z", "p"))

    topk: int = 5  # neighbours, the target itself among them; 1 is BYOL
    queue: int = 128000
    hidden: int = 4096
    out: int = 512
    predictor_hidden: int = 4096
    symmetric: bool = False
    same_view: bool = False  # one more teacher forward, on the student's view; the residual term needs it
    shuffle_bn: int = 0  # BatchNorm over groups of so many images, keys shuffled among them; 0: over the whole batch

    def __post_init__(self) -> None:
        for name in ("topk", "queue", "hidden", "out", "predictor_hidden"):
            if getattr(self, name) < 1:
                raise ValueError(f"{called(f'method.{name}')} is {getattr(self, name)}; it must be at least 1")
        if self.topk > self.queue:
            raise ValueError(
                f"{called('method.topk')} is {self.topk}, but {called('method.queue')} only {self.queue}; lower "
                f"{called('method.topk')}"
            )
        if self.symmetric and self.same_view:
            raise ValueError(
                f"{called('method.same_view')} is for the asymmetric form; with {called('method.symmetric')} both "
                f"networks see both views anyway: leave {called('method.same_view')} off"
            )


class MSFMethod(Method):
    """Online encoder f and predictor h (student), target encoder g (teacher), memory bank M of target embeddings."""

    def __init__(self, backbone: Backbone, config: MSF) -> None:
        super().__init__()
        projector = mlp(backbone.width, config.hidden, config.out, 2, bias=True)
        predictor = mlp(config.out, config.predictor_hidden, config.out, 2, bias=True)
        self.student: nn.Module = in_groups(Encoder(backbone, projector, predictor), config.shuffle_bn)
        self.teacher: nn.Module = make_teacher(self.student)
        self.queue = Queue(config.queue, config.out)  # targets of the second view
        self.queue1 = Queue(config.queue, config.out) if config.symmetric else None  # targets of the first
        self.config = config

    @torch.no_grad()
    def teach(self, batch: Batch) -> Targets:
        t1, t2 = batch.views
        v = self.targets(t2)  # v = g(T2(x))
        bank = self.queue.after(dist.gather(v.z))  # M with the current targets in it, before the search
        if self.queue1 is not None:
            v1 = self.targets(t1)
            return Targets((v1, v), (self.queue1.after(dist.gather(v1.z)), bank))
        if not self.config.same_view:
            return Targets((v,), (bank,))
        with unrecorded(self.teacher):
            return Targets((self.targets(t1), v), (bank,))

    def targets(self, view: Tensor) -> Encoding:
        return shuffled(self.teacher, view, self.config.shuffle_bn)

    def forward(self, batch: Batch, targets: Targets, rows: slice) -> Outcome:
        if self.config.symmetric:
            return self.both_ways(batch, targets, rows)
        u = self.student(batch.views[0][rows])  # u = h(f(T1(x)))
        v = targets.views[-1].rows(rows)
        loss = self.shift(u, v, targets.keys[0])
        pairs = tuple(Pair("global", u, t.rows(rows), bank=t) for t in targets.views[:-1])  # T1(x), if g saw it
        return Outcome((Term("mean_shift", loss),), (u,), pairs, memory=(v.z,))

    def both_ways(self, batch: Batch, targets: Targets, rows: slice) -> Outcome:
        """The mean of both directions."""
        u1, u2 = (self.student(x[rows]) for x in batch.views)
        v1, v2 = (t.rows(rows) for t in targets.views)
        bank1, bank2 = targets.keys
        terms = (
            Term("mean_shift_12", self.shift(u1, v2, bank2), 0.5),
            Term("mean_shift_21", self.shift(u2, v1, bank1), 0.5),
        )
        pairs = tuple(Pair("global", u, t.rows(rows), bank=t) for u, t in zip((u1, u2), targets.views, strict=True))
        return Outcome(terms, (u1, u2), pairs, memory=(v2.z, v1.z))

    def shift(self, u: Encoding, v: Encoding, bank: Tensor) -> Tensor:
        assert u.p is not None
        return mean_shift(u.p, v.z, bank, self.config.topk)  # mean of dist(u, z_j) over the k nearest z_j of v in M

    def remember(self, memory: tuple[Tensor, ...]) -> None:
        self.queue.push(memory[0])  # M takes v in, the oldest go
        if self.queue1 is not None:
            self.queue1.push(memory[1])
