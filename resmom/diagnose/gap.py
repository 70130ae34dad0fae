"""The gap between student and teacher: intra beside inter and chance, without which it says nothing.

A small intra gap alone proves nothing: a momentum of 0 gives it, and so does collapse.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from resmom.types import Pair, Site


@dataclass(frozen=True)
class Gap:
    """Means of 1 - cos between student and teacher, each in [0, 2], as tensors on the device.

    `intra`: the same view of the same image. `inter`: two views of the same image, None where there is one view only.
    `chance`: different images, each on the same view.
    """

    intra: Float[Tensor, ""]
    inter: Float[Tensor, ""] | None
    chance: Float[Tensor, ""]


def _unit(x: Tensor) -> Tensor:
    """Rows of length 1, without gradient, in float32 at least; a row of zeros stays one."""
    x = x.detach()
    return F.normalize(x if x.dtype == torch.float64 else x.float(), dim=1)


def _units(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    # Without this check one row would broadcast against many and give a plausible number.
    if student.shape != teacher.shape:
        raise ValueError(
            f"student and teacher must be of one shape, a row per image in the same order; got {tuple(student.shape)} "
            f"and {tuple(teacher.shape)}; at site p compare the student's p with the teacher's z"
        )
    return _unit(student), _unit(teacher)


def intra_gap(student: Float[Tensor, "n d"], teacher: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    """Mean of 1 - cos(student_i, teacher_i): a measurement, no loss (it carries no gradient).

    A row of zeros counts as orthogonal to everything. Raises ValueError if the shapes differ.
    """
    s, t = _units(student, teacher)
    return 1.0 - (s * t).sum(1).mean()


def chance_gap(student: Float[Tensor, "n d"], teacher: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    """Mean of 1 - cos(student_i, teacher_j) over all i != j, exactly, in O(n d); carries no gradient.

    The sum over all pairs is the product of the sums; the n pairs of equal images are taken out. Raises ValueError for
    fewer than two images, or if the shapes differ.
    """
    n = len(student)
    if n < 2:
        raise ValueError(f"the chance gap compares different images and needs at least 2; got {n}; give a larger batch")
    s, t = _units(student, teacher)
    # A matrix product here would run in half precision under autocast, on sums of up to n.
    return 1.0 - ((s.sum(0) * t.sum(0)).sum() - (s * t).sum()) / (n * (n - 1))


def gaps(pairs: Sequence[Pair], site: Site) -> Gap:
    """The gaps at a site over same-view pairs of one kind, averaged over the views (at p the teacher is read at z).

    `inter` takes the student on each view against the teacher on every other one. Raises ValueError for no pairs, if
    their names differ, or at p if a student does not predict.
    """
    names = {pair.name for pair in pairs}
    if len(names) != 1:
        raise ValueError(
            f"gaps are taken over one or more pairs of one kind; got {sorted(names) or 'none'}; pass those of one name"
        )
    if site == "p" and any(pair.student.p is None for pair in pairs):
        raise ValueError("this student has no predictor, so there is no gap at p; ask at z or h")
    partner: Site = "z" if site == "p" else site  # asked outright: a teacher that predicts would answer with its own p
    both = [(pair.student.at(site), pair.teacher.at(partner)) for pair in pairs]
    intra = [intra_gap(s, t) for s, t in both]
    inter = [intra_gap(s, t) for i, (s, _) in enumerate(both) for j, (_, t) in enumerate(both) if i != j]
    chance = [chance_gap(s, t) for s, t in both]
    return Gap(torch.stack(intra).mean(), torch.stack(inter).mean() if inter else None, torch.stack(chance).mean())
