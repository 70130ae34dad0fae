"""The teacher: an exponential moving average of the student. The only place where teacher weights change."""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from resmom.nets.encoder import Encoder


@dataclass(frozen=True)
class Ema:
    """Momentum of the teacher: half a cosine from `momentum` at the first step to `final` at the last."""

    momentum: float = 0.99
    final: float = 1.0

    def __post_init__(self) -> None:
        if not (0.0 <= self.momentum <= 1.0 and 0.0 <= self.final <= 1.0):
            raise ValueError(f"ema.momentum and ema.final must be in [0, 1]; got {self.momentum} and {self.final}")


def make_teacher(student: Encoder) -> Encoder:
    """A copy of the student without its predictor, weights and buffers equal at step 0, that takes no gradient."""
    teacher = Encoder(copy.deepcopy(student.backbone), copy.deepcopy(student.projector))
    return teacher.requires_grad_(False)


def twins(teacher: nn.Module, student: nn.Module) -> bool:
    """Whether the two are encoders whose weights and buffers are all equal, so that either speaks for both.

    So it is before the first step. The student's predictor has no partner and is not looked at.
    """
    if not (isinstance(teacher, Encoder) and isinstance(student, Encoder)):
        return False
    ours, theirs = teacher.state_dict(), student.state_dict()
    names = {name for name in theirs if not name.startswith("predictor.")}
    return ours.keys() == names and all(torch.equal(ours[name], theirs[name]) for name in names)


def weight_pairs(teacher: nn.Module, student: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    """The parameters of teacher and student that belong together, by name.

    Everything but the student's predictor has a partner. Raises ValueError on any difference of names or shapes.
    """
    ours = dict(teacher.named_parameters())
    theirs = {name: p for name, p in student.named_parameters() if not name.startswith("predictor.")}
    if ours.keys() != theirs.keys():
        raise ValueError(f"teacher and student differ in parameters: {sorted(ours.keys() ^ theirs.keys())[:5]}")
    for name, parameter in ours.items():
        if parameter.shape != theirs[name].shape:
            raise ValueError(
                f"{name} is {tuple(parameter.shape)} in the teacher, {tuple(theirs[name].shape)} in the student"
            )
    return list(ours.values()), [theirs[name] for name in ours]


@torch.no_grad()
def move_teacher(teacher: nn.Module, student: nn.Module, momentum: float, counts: Tensor | None = None) -> None:
    """teacher <- momentum x teacher + (1 - momentum) x student, once per optimiser step, after it.

    Nothing moves where `counts`, a boolean tensor on the device, is false. Parameters only: buffers stay the teacher's
    own, whose batch statistics come from its own forward passes; and integer buffers are counts, which no one should
    average.
    """
    ours, theirs = weight_pairs(teacher, student)
    if counts is None:
        torch._foreach_lerp_(ours, theirs, 1.0 - momentum)
    else:
        way = torch._foreach_sub(theirs, ours)
        torch._foreach_add_(ours, torch._foreach_mul(way, counts.to(way[0].dtype) * (1.0 - momentum)))
