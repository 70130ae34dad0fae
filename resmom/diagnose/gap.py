"""The gap between student and teacher: intra beside inter and chance, without which it says nothing.

A small intra gap alone proves nothing: a momentum of 0 gives it, and so does collapse.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from resmom.errors import UserError
from resmom.types import Encoding, Pair
from resmom.which import Site

Views = Tensor | Sequence[Tensor]
"""One view as a tensor of N rows, a row per image, or several views as a sequence of such tensors."""


@dataclass(frozen=True, repr=False)
class Gap:
    """Means of 1 - cos between student and teacher, each in [0, 2], as tensors on the device; `float(gap.intra)`.

    `intra`: the same view of the same image. `inter`: two views of the same image, None where there is one view only.
    `chance`: different images, each on the same view.
    """

    intra: Float[Tensor, ""]
    inter: Float[Tensor, ""] | None
    chance: Float[Tensor, ""]

    def __repr__(self) -> str:
        inter = "None" if self.inter is None else f"{self.inter.item():z.4f}"  # z: no minus before a zero
        return f"Gap(intra={self.intra.item():z.4f}, inter={inter}, chance={self.chance.item():z.4f})"


@dataclass(frozen=True)
class GapSums:
    """What some images add to the gap of many: with these sums no row has to be kept.

    `apart[v, w]` is the sum over the rows of 1 - cos(student on view v, teacher on view w); `student` and `teacher`
    are, per view, the sums of the rows brought to length 1; `within` is, per view, the sum of cos over all pairs of a
    student's and a teacher's row of the same image, each of which has `places` rows.
    """

    images: int
    apart: Float[Tensor, "v v"]
    student: Float[Tensor, "v d"]
    teacher: Float[Tensor, "v d"]
    within: Float[Tensor, " v"]
    places: int = 1

    def plus(self, other: "GapSums") -> "GapSums":
        """The sums over the images of both, which must be different ones of the same views."""
        return GapSums(
            self.images + other.images,
            self.apart + other.apart,
            self.student + other.student,
            self.teacher + other.teacher,
            self.within + other.within,
            self.places,
        )

    def gap(self) -> Gap:
        """The gap over all images summed. Raises UserError for fewer than two, which have no chance gap.

        The sum over all pairs of images is the product of the sums; the pairs of equal images are taken out, so that
        the mean over all i != j is exact, in O(n d). With several places per image, `intra` compares each with itself,
        `chance` any of one image with any of another, and there is no `inter`: the same place of another view shows
        something else.
        """
        n, views, k = self.images, len(self.apart), self.places
        if n < 2:
            raise UserError(f"the chance gap compares different images and needs at least 2; got {n}; give more rows")
        own = self.apart.diagonal()
        inter = None if views < 2 or k > 1 else (self.apart.sum() - own.sum()) / (n * views * (views - 1))
        # A matrix product here would run in half precision under autocast, on sums of up to n.
        everybody = (self.student * self.teacher).sum(1)
        chance = 1.0 - (everybody - self.within) / (n * (n - 1) * k**2)
        return Gap(own.mean() / (n * k), inter, chance.mean())


def same_views(student: Views, teacher: Views) -> list[tuple[Tensor, Tensor]]:
    """Both networks on each view: N x D tensors of one shape, a row per image in the same order.

    Raises UserError for what is no tensor, for complex numbers, for no views, another number of views on each side, for
    shapes that differ, or rows without a number.
    """
    s, t = (list(side) if isinstance(side, Sequence) else [side] for side in (student, teacher))
    if not s and not t:
        raise UserError(
            "student and teacher have no views, both lists are empty; give one N x D tensor for each side, a row per "
            "image, or a list of these, one per view"
        )
    if len(s) != len(t):
        raise UserError(
            f"student and teacher are compared on the same views; got {len(s)} view(s) of the student and {len(t)} of "
            "the teacher; give one tensor for each side, or as many for one side as for the other, in the same order"
        )
    other = next((type(side) for side in (*s, *t) if not isinstance(side, Tensor)), None)
    if other is not None:
        remedy = "make tensors of them, as torch.from_numpy(array) does"
        if issubclass(other, Encoding):
            remedy = "give one of its vectors on both sides, such as its .h (or the student's .p and the teacher's .z)"
        raise UserError(f"student and teacher must be tensors; got {other.__name__}; {remedy}")
    for a, b in zip(s, t, strict=True):
        # Without this check one row would broadcast against many and give a plausible number.
        if a.shape != b.shape or a.ndim != 2:
            raise UserError(
                f"student and teacher must be of one shape, N x D, a row per image in the same order; got "
                f"{tuple(a.shape)} and {tuple(b.shape)}; pool maps and tokens first, and compare a prediction p with "
                "the teacher's projection z, not with its representation h"
            )
        if a.shape[1] == 0:
            raise UserError(
                f"the rows of student and teacher hold no numbers, got {tuple(a.shape)}; give N x D with D of at least "
                "1, a row per image"
            )
        if kind := next((x.dtype for x in (a, b) if x.is_complex()), None):
            raise UserError(
                f"student and teacher must be real numbers; got {kind}, and a cosine of these would leave the "
                "imaginary part out; give torch.view_as_real(x).flatten(1), which has both parts side by side"
            )
    return list(zip(s, t, strict=True))


def gap_sums(student: Views, teacher: Views, places: int = 1) -> GapSums:
    """The sums of some images; every view has the same images in the same order. No gradient is carried.

    With `places` every image has that many rows, one after the other. A row of zeros counts as orthogonal to
    everything. Raises UserError as `same_views` does.
    """
    both = [(_unit(s), _unit(t)) for s, t in same_views(student, teacher)]
    if len({s.shape for s, _ in both}) != 1:
        raise UserError(
            f"all views must have the same images and the same width; got {[tuple(s.shape) for s, _ in both]}; "
            "leave out views that only some of the images have"
        )
    apart = torch.stack([torch.stack([(1.0 - (s * t).sum(1)).sum() for _, t in both]) for s, _ in both])
    by_image = [(_joined(s, places), _joined(t, places)) for s, t in both]
    within = torch.stack([(s * t).sum() for s, t in by_image])
    ours, theirs = (torch.stack([side.sum(0) for side in sides]) for sides in zip(*by_image, strict=True))
    return GapSums(len(by_image[0][0]), apart, ours, theirs, within, places)


def _joined(rows: Float[Tensor, "m d"], places: int) -> Float[Tensor, "n d"]:
    """The sum of each image's rows."""
    return rows.view(-1, places, rows.shape[1]).sum(1)


def gap(student: Views, teacher: Views) -> Gap:
    """The gap between what student and teacher say of the same views: a measurement, no loss (it carries no gradient).

    Each side is one N x D tensor, or as many as there are views, in the same order: `gap(s, t)` has intra and chance,
    `gap([s1, s2], [t1, t2])` also inter. The sides may be of any floating type, and of different ones; half precision
    is computed in float32. A row of zeros counts as orthogonal to everything. Raises UserError if the two sides do not
    fit together, or for fewer than two rows, which have no chance gap.
    """
    return gap_sums(student, teacher).gap()


def gaps(pairs: Sequence[Pair], site: Site) -> Gap:
    """The gaps at a site over same-view pairs of one kind, averaged over the views (at p the teacher is read at z).

    Of pairs that compare places, `intra` is the mean over all places, `chance` compares places of different images, and
    `inter` is None. Else `inter` takes the student on each view against the teacher on every other one. Raises
    ValueError for no pairs, if their names differ, or at p if a student does not predict.
    """
    names = {pair.name for pair in pairs}
    if len(names) != 1:
        raise ValueError(
            f"gaps are taken over one or more pairs of one kind; got {sorted(names) or 'none'}; pass those of one name"
        )
    if site == "p" and any(pair.student.p is None for pair in pairs):
        raise ValueError("this student has no predictor, so there is no gap at p; ask at z or h")
    partner: Site = "z" if site == "p" else site  # asked outright: a teacher that predicts would answer with its own p
    student, teacher = [pair.student.at(site) for pair in pairs], [pair.teacher.at(partner) for pair in pairs]
    return gap_sums(student, teacher, pairs[0].per_image).gap()


def _unit(x: Tensor) -> Tensor:
    """Rows of length 1, without gradient, in float32 at least; a row of zeros stays one."""
    x = x.detach()
    return F.normalize(x if x.dtype == torch.float64 else x.float(), dim=1)
