"""The words that every room shares. All are plain frozen dataclasses of tensors.

They are registered as pytrees, so that data-parallel wrappers, compilers and graph capture see the tensors inside.
"""

from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float, Int
from torch import Tensor
from torch.utils import _pytree

Site = Literal["h", "z", "p"]
"""Where a network is read: representation (what is kept), projection, prediction (student only; its partner is z)."""

Network = Literal["student", "teacher"]


@dataclass(frozen=True)
class Traits:
    """What a method is, as far as others must know before it is built. A config class has it as `traits`.

    `sites`: where its same-view pairs can be compared, none without a teacher. `views`: the fewest views it takes;
    `more` says whether it takes more of them. `micro_batches`: whether a part of the batch can be learnt from alone,
    or the student's own outputs for the whole batch are part of the loss. `steady`: beginnings of the names of the
    student's parameters whose learning rate does not follow the schedule.
    """

    sites: tuple[Site, ...]
    views: int = 2
    more: bool = False
    micro_batches: bool = True
    steady: tuple[str, ...] = ()

    @property
    def teacher(self) -> bool:
        """Whether the method has a teacher."""
        return bool(self.sites)


@dataclass(frozen=True)
class Batch:
    """One batch on the device: `views[v]` is N x C x H x W, normalised; `index` names the N images."""

    views: tuple[Float[Tensor, "n c h w"], ...]
    index: Int[Tensor, " n"]
    masks: tuple[Tensor, ...] = ()


@dataclass(frozen=True)
class Encoding:
    """What one network says of one view: representation, projection, prediction, and the feature map where kept."""

    h: Float[Tensor, "n dh"]
    z: Float[Tensor, "n dz"]
    p: Float[Tensor, "n dz"] | None = None
    dense: Float[Tensor, "n c k"] | None = None

    def rows(self, rows: slice) -> "Encoding":
        """The encoding of some rows of the batch."""
        p = None if self.p is None else self.p[rows]
        dense = None if self.dense is None else self.dense[rows]
        return Encoding(self.h[rows], self.z[rows], p, dense)

    def at(self, site: Site) -> Tensor:
        """The tensor at a site. A network without a predictor (the teacher) answers with z where p is asked."""
        if site == "h":
            return self.h
        return self.z if site == "z" or self.p is None else self.p


@dataclass(frozen=True)
class Targets:
    """Everything the teacher said of the *whole* batch, without gradient.

    `views[v]` holds this rank's rows in the batch's order; `keys[v]` the method's keys gathered over all ranks, where
    this rank's rows start at `offset`.
    """

    views: tuple[Encoding, ...]
    keys: tuple[Float[Tensor, "m dz"], ...] = ()
    offset: int = 0


@dataclass(frozen=True)
class Pair:
    """Student and teacher on the *same* view. `bank` is the teacher on that view for the whole batch."""

    name: Literal["global", "dense", "patch", "local"]
    student: Encoding
    teacher: Encoding
    bank: Encoding


@dataclass(frozen=True)
class Term:
    """One named part of a method's loss with its weight as the paper has it."""

    name: str
    value: Float[Tensor, ""]
    weight: float = 1.0


@dataclass(frozen=True)
class Outcome:
    """What a method says of some rows: loss terms, same-view pairs, rows to remember after the step.

    `encodings` are the student's of the views it saw; the online classifier learns from their h. `chance` is the
    value of the total that a network without information reaches, if the loss has such a level.
    """

    terms: tuple[Term, ...]
    encodings: tuple[Encoding, ...]
    pairs: tuple[Pair, ...] = ()
    memory: tuple[Tensor, ...] = ()
    chance: float | None = None


for _word in (Batch, Encoding, Targets, Pair, Term, Outcome):
    _pytree.register_dataclass(_word)

__all__ = ["Batch", "Encoding", "Network", "Outcome", "Pair", "Site", "Targets", "Term", "Traits"]
