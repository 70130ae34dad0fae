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
    `chance`: different images.
    """

    intra: Float[Tensor, ""]
    inter: Float[Tensor, ""] | None
    chance: Float[Tensor, ""]


def _unit(x: Tensor) -> Tensor:
    return F.normalize(x if x.dtype == torch.float64 else x.float(), dim=1)


def intra_gap(student: Float[Tensor, "n d"], teacher: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    """Mean of 1 - cos(student_i, teacher_i)."""
    return 1.0 - (_unit(student) * _unit(teacher)).sum(1).mean()


def chance_gap(student: Float[Tensor, "n d"], teacher: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    """Mean of 1 - cos(student_i, teacher_j) over all i != j, in O(n d).

    The sum over all pairs is the product of the sums; the n pairs of equal images are taken out. Raises ValueError for
    fewer than two images.
    """
    n = len(student)
    if n < 2:
        raise ValueError(f"the chance gap compares different images; got {n}, it needs at least 2")
    s, t = _unit(student), _unit(teacher)
    return 1.0 - (s.sum(0) @ t.sum(0) - (s * t).sum()) / (n * (n - 1))


def gaps(pairs: Sequence[Pair], site: Site) -> Gap:
    """The gaps at a site over same-view pairs of one kind, averaged over the views (at p the teacher is read at z).

    Raises ValueError for no pairs, or if their names differ.
    """
    names = {pair.name for pair in pairs}
    if len(names) != 1:
        raise ValueError(f"gaps are taken over pairs of one kind; got {sorted(names) or 'none'}")
    both = [(pair.student.at(site), pair.teacher.at(site)) for pair in pairs]
    intra = [intra_gap(s, t) for s, t in both]
    inter = [intra_gap(s, t) for i, (s, _) in enumerate(both) for j, (_, t) in enumerate(both) if i != j]
    chance = [chance_gap(s, t) for s, t in both]
    return Gap(torch.stack(intra).mean(), torch.stack(inter).mean() if inter else None, torch.stack(chance).mean())
