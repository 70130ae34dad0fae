"""DenseCL: X. Wang et al., "Dense Contrastive Learning for Self-Supervised Visual Pre-Training", CVPR 2021.

arXiv 2011.09157, sections 3.2 to 3.4; MoCo-v2 with a second head, loss and queue for the places of the feature map.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from resmom.called import called
from resmom.losses.contrastive import queue_nce
from resmom.losses.dense import dense_nce, nearest_places
from resmom.losses.precision import exact
from resmom.method import Method
from resmom.nets.backbones import Backbone
from resmom.nets.encoder import Encoder
from resmom.nets.ghosts import in_groups, shuffled
from resmom.nets.heads import dense_mlp, mlp
from resmom.nets.queue import Queue
from resmom.nets.teacher import make_teacher, unrecorded
from resmom.types import Batch, Encoding, Outcome, Pair, Targets, Term, Traits


@dataclass(frozen=True)
class DenseCL:
    """Two heads (linear, ReLU, linear) of one shape, temperature, and the length of each of the two queues."""

    traits: ClassVar = Traits(sites=("h", "z"))

    temperature: float = 0.2
    hidden: int = 2048
    out: int = 128
    queue: int = 65536
    dense_weight: float = 0.5  # lambda; the global loss has 1 - lambda
    same_view: bool = False  # one more teacher forward, on the student's view; the residual term needs it
    shuffle_bn: int = 0  # BatchNorm over groups of so many images, keys shuffled among them; 0: over the whole batch

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"{called('method.temperature')} is {self.temperature}; it must be above 0")
        if not 0 <= self.dense_weight <= 1:
            raise ValueError(f"{called('method.dense_weight')} is {self.dense_weight}; it must be in [0, 1]")
        for name in ("hidden", "out", "queue"):
            if getattr(self, name) < 1:
                raise ValueError(f"{called(f'method.{name}')} is {getattr(self, name)}; it must be at least 1")


class DenseCLMethod(Method):
    """Backbone F with a global head (q, k+) and a dense one (r, t+), and their momentum copies; a queue for each."""

    def __init__(self, backbone: Backbone, config: DenseCL) -> None:
        super().__init__()
        projector = mlp(backbone.width, config.hidden, config.out, 2, bias=True, norm=False)
        dense = dense_mlp(backbone.width, config.hidden, config.out)
        self.student: nn.Module = in_groups(Encoder(backbone, projector, dense=dense), config.shuffle_bn)
        self.teacher: nn.Module = make_teacher(self.student)
        self.queue = Queue(config.queue, config.out)  # k-: keys of whole views
        self.queue_dense = Queue(config.queue, config.out)  # t-: a key per view, the mean of its places
        self.config = config
        self.chance = math.log(config.queue + 1)  # of either loss, and their weights add up to 1

    @torch.no_grad()
    def teach(self, batch: Batch) -> Targets:
        x_q, x_k = batch.views
        k = self.keys(x_k)
        if not self.config.same_view:
            return Targets((k,))
        with unrecorded(self.teacher):
            return Targets((self.keys(x_q), k))

    def keys(self, view: Tensor) -> Encoding:
        return shuffled(self.teacher, view, self.config.shuffle_bn)

    def forward(self, batch: Batch, targets: Targets, rows: slice) -> Outcome:
        c = self.config
        q = self.student(batch.views[0][rows])
        k = targets.views[-1].rows(rows)
        features_q, dense_q = maps(q)
        features_k, dense_k = maps(k)
        # c_i = argmax_j sim(f_i, f'_j), of the backbone's features F and F': before either head
        match = nearest_places(features_q, features_k)
        l_q = queue_nce(q.z, k.z, self.queue.rows, c.temperature)  # L_q
        l_r = dense_nce(dense_q, dense_k, match, self.queue_dense.rows, c.temperature)  # L_r, t+ = t_(c_i)
        terms = (Term("contrast", l_q, 1 - c.dense_weight), Term("dense", l_r, c.dense_weight))
        # The mean is of the projections as they are, before they are brought to length 1, as in the authors' code.
        memory = (k.z, exact(dense_k).mean(2))
        seen = targets.views[:-1]  # x_q, if the teacher saw it
        pairs = (*(whole(q, t, rows) for t in seen), *(by_place(q, t, rows) for t in seen))
        return Outcome(terms, (q,), pairs, memory, self.chance)

    def remember(self, memory: tuple[Tensor, ...]) -> None:
        self.queue.push(memory[0])
        self.queue_dense.push(memory[1])


def whole(q: Encoding, t: Encoding, rows: slice) -> Pair:
    """Both networks on the whole view."""
    return Pair("global", q, t.rows(rows), bank=t)


def by_place(q: Encoding, t: Encoding, rows: slice) -> Pair:
    """Both networks at every place of the view: the same place, so that nothing has to be matched."""
    assert q.places is not None and t.places is not None
    taught = t.rows(rows).places
    assert taught is not None
    return Pair("dense", q.places, taught, bank=t.places, per_image=q.per_image)


def maps(said: Encoding) -> tuple[Float[Tensor, "n dh k"], Float[Tensor, "n dz k"]]:
    """The backbone's map and its dense projection, with the k places of an image in the last dimension."""
    assert said.places is not None
    h, z = (rows.view(len(said.h), said.per_image, -1).transpose(1, 2) for rows in (said.places.h, said.places.z))
    return h, z
