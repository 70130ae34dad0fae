"""The words that every room shares. All are plain frozen dataclasses of tensors.

They are registered as pytrees, so that data-parallel wrappers, compilers and graph capture see the tensors inside.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.utils import _pytree

from resmom.which import Site

GAP_SITES = ("h", "z", "p", "logits", "dense/h", "dense/z")
"""Where a gap is measured, in the order in which it is told: those of the views, then of methods that learn places."""

PairKind = Literal["global", "dense", "patch", "local"]
"""What a same-view pair compares: whole views, places of a view's feature map, masked patches, small local views."""


@dataclass(frozen=True)
class Traits:
    """What a method is, as far as others must know before it is built. A config class has it as `traits`.

    `sites`: where its same-view pairs can be compared, none without a teacher. `views`: the fewest views it takes;
    `more` says whether it takes more of them. `micro_batches`: whether a part of the batch can be learnt from alone,
    or the student's own outputs for the whole batch are part of the loss. `steady`: beginnings of the names of the
    student's parameters whose learning rate does not follow the schedule. `patches`: whether it is about the patches
    of a Vision Transformer, of which some are hidden.
    """

    sites: tuple[Site, ...]
    views: int = 2
    more: bool = False
    micro_batches: bool = True
    steady: tuple[str, ...] = ()
    patches: bool = False

    @property
    def teacher(self) -> bool:
        """Whether the method has a teacher."""
        return bool(self.sites)


@dataclass(frozen=True)
class Batch:
    """One batch on the device: `views[v]` is N x C x H_v x W_v, normalised; `index` names the N images.

    `epoch` is where in the run the batch stands, in passes over the images: with it, what a method does at a step is a
    function of its batch. `masks[v]`, of methods that hide patches from the student, is true at those of view v that
    are hidden; `hidden[v]` has their numbers, as `hidden_places` returns them, if who made the batch counted them.
    """

    views: tuple[Float[Tensor, "n c _ _"], ...]
    index: Int[Tensor, " n"]
    masks: tuple[Bool[Tensor, "n _ _"], ...] = ()
    epoch: float = 0.0
    hidden: tuple[Int[Tensor, " _"], ...] = ()

    def hidden_places(self, view: int) -> Int[Tensor, " m"]:
        """The numbers of the hidden patches of a view, counted through all images of the batch.

        Counted here, a device must be waited for; that is why they may come with the batch.
        """
        return self.hidden[view] if self.hidden else numbered(self.masks[view])

    def rows(self, rows: slice) -> "Batch":
        """Some images of the batch."""
        if rows.indices(len(self.index)) == (0, len(self.index), 1):
            return self
        views, masks = (tuple(part[rows] for part in parts) for parts in (self.views, self.masks))
        return Batch(views, self.index[rows], masks, self.epoch)


def numbered(mask: Bool[Tensor, "n rows columns"]) -> Int[Tensor, " m"]:
    """The numbers of the patches that a mask hides, those of all images in a row."""
    return mask.flatten().nonzero().flatten()


@dataclass(frozen=True)
class Encoding:
    """What one network says of one view: representation, projection and prediction.

    `logits` are the similarities of z to the prototypes of a method that has these. `places` is what the network says
    of every place of the view (cells of a map, patches), where a method asks for it: a row per image and place, those
    of one image together. `hidden` is what it says of the places that are hidden in the batch, a row for each; an
    encoding of some of the images has none of it.
    """

    h: Float[Tensor, "n dh"]
    z: Float[Tensor, "n dz"]
    p: Float[Tensor, "n dz"] | None = None
    logits: Float[Tensor, "n k"] | None = None
    places: "Encoding | None" = None
    hidden: "Encoding | None" = None

    @property
    def sites(self) -> tuple[Site, ...]:
        """Where this network can be read."""
        predicts: tuple[Site, ...] = () if self.p is None else ("p",)
        compares: tuple[Site, ...] = () if self.logits is None else ("logits",)
        return ("h", "z", *predicts, *compares)

    def rows(self, rows: slice) -> "Encoding":
        """The encoding of some rows of the batch."""
        start, stop, step = rows.indices(len(self.h))
        if (start, stop, step) == (0, len(self.h), 1):
            return self
        return self._taken(rows, slice(start * self.per_image, stop * self.per_image))

    def chosen(self, index: Int[Tensor, " m"]) -> "Encoding":
        """The encoding of the images with these numbers, in this order."""
        inside = torch.arange(self.per_image, device=index.device)
        return self._taken(index, (index[:, None] * self.per_image + inside).flatten())

    def _taken(self, images: slice | Tensor, places: slice | Tensor) -> "Encoding":
        """Some images, and their rows of `places`, where there are any."""
        return Encoding(
            self.h[images],
            self.z[images],
            None if self.p is None else self.p[images],
            None if self.logits is None else self.logits[images],
            None if self.places is None else self.places._taken(places, slice(0, 0)),
        )

    @property
    def per_image(self) -> int:
        """Rows that an image has in `places`, 0 where there are none."""
        return 0 if self.places is None else len(self.places.h) // len(self.h)

    def at(self, site: Site) -> Tensor:
        """The tensor at a site. A network without a predictor (the teacher) answers with z where p is asked.

        Raises ValueError for the logits of a network without prototypes.
        """
        if site == "logits":
            if self.logits is None:
                raise ValueError("the site 'logits' is one of methods with prototypes; use 'z' or 'h'")
            return self.logits
        if site == "h":
            return self.h
        return self.z if site == "z" or self.p is None else self.p


@dataclass(frozen=True)
class Targets:
    """Everything the teacher said of the *whole* batch, without gradient.

    `views[v]` holds this rank's rows in the batch's order; `keys[v]` the method's keys gathered over all ranks, where
    this rank's rows start at `offset`. `assigned` are distributions over prototypes that depend on the whole batch:
    `assigned[v]` those of view v, a row per image, and `assigned_hidden[v]` those of its hidden places.
    """

    views: tuple[Encoding, ...]
    keys: tuple[Float[Tensor, "m dz"], ...] = ()
    offset: int = 0
    assigned: tuple[Float[Tensor, "n k"], ...] = ()
    assigned_hidden: tuple[Float[Tensor, "_ kp"], ...] = ()


@dataclass(frozen=True)
class Pair:
    """Student and teacher on the *same* view. `bank` is the teacher on that view for the whole batch.

    Rows are images, or places of these: `per_image` is the number of rows of an image, one after the other.
    """

    name: PairKind
    student: Encoding
    teacher: Encoding
    bank: Encoding
    per_image: int = 1


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
    value of the total that a network without information reaches, if the loss has such a level; a tensor where a
    regulariser of this batch is part of it. `frozen` begins the
    names of those of the student's parameters that this step leaves exactly as they are.
    """

    terms: tuple[Term, ...]
    encodings: tuple[Encoding, ...]
    pairs: tuple[Pair, ...] = ()
    memory: tuple[Tensor, ...] = ()
    chance: float | Float[Tensor, ""] | None = None
    frozen: tuple[str, ...] = ()


for _word in (Batch, Encoding, Targets, Pair, Term, Outcome):
    _pytree.register_dataclass(_word)

__all__ = ["Batch", "Encoding", "Outcome", "Pair", "Site", "Targets", "Term", "Traits"]
