"""The teacher: an exponential moving average of the student. The only place where teacher weights change."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from resmom.called import called
from resmom.nets.copies import copied
from resmom.nets.encoder import Encoder, PatchEncoder

Schedule = Literal["cosine", "linear", "constant"]


@dataclass(frozen=True)
class Ema:
    """How the teacher follows: its momentum, from the first step to the last, and what of it is an average."""

    momentum: float = 0.99
    """Momentum at the first step."""
    final: float = 1.0
    """Momentum that the schedule ends in: step k of K has its value at k/K, so the last step is one short of it. The
    constant schedule does not use it."""
    schedule: Schedule = "cosine"
    """The way between them: half a cosine (BYOL, arXiv 2006.07733), a straight line, or none."""
    batch_norm: Literal["own", "copied", "averaged"] = "own"
    """The teacher's batch statistics: of its own forward passes; the student's, copied at every move; or an average of
    the student's, with which the teacher then normalises in training too (EMAN, arXiv 2101.08482)."""
    part: Literal["all", "projector"] = "all"
    """What is an average. `projector`: the teacher's backbone is the student's as it is now, only what follows it is
    averaged (Pham et al. 2022, arXiv 2208.05744)."""

    def __post_init__(self) -> None:
        if not (0.0 <= self.momentum <= 1.0 and 0.0 <= self.final <= 1.0):
            raise ValueError(
                f"{called('ema.momentum')} and {called('ema.final')} must be in [0, 1]; got {self.momentum} and "
                f"{self.final}"
            )


PLAIN = Ema()

STUDENTS_OWN = ("predictor.", "mask_token")
"""Beginnings of the names of what the student alone has: the teacher neither predicts nor sees masks."""

AnyEncoder = TypeVar("AnyEncoder", bound=Encoder)


def make_teacher(student: AnyEncoder) -> AnyEncoder:
    """A copy of the student without what is its own, weights and buffers equal at step 0, that takes no gradient.

    It is never short of a block: paths are dropped in the student alone, as DINO has it.
    """
    teacher = copied(student)
    teacher.predictor = None
    if drop := sys.modules.get("timm.layers.drop"):  # where nobody has imported it, no network has such a module
        for module in teacher.modules():
            if isinstance(module, drop.DropPath):
                module.drop_prob = 0.0
    if isinstance(teacher, PatchEncoder):
        teacher.mask_token = None
    return teacher.requires_grad_(False)


def twins(teacher: nn.Module, student: nn.Module) -> bool:
    """Whether the two are encoders whose weights and buffers are all equal, so that either speaks for both.

    So it is before the first step. What the student alone has is not looked at.
    """
    if not (isinstance(teacher, Encoder) and isinstance(student, Encoder)):
        return False
    ours, theirs = teacher.state_dict(), student.state_dict()
    names = {name for name in theirs if not name.startswith(STUDENTS_OWN)}
    return ours.keys() == names and all(torch.equal(ours[name], theirs[name]) for name in names)


def weight_pairs(teacher: nn.Module, student: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    """The parameters of teacher and student that belong together, by name.

    Everything but `STUDENTS_OWN` has a partner. Raises ValueError on any difference of names or shapes.
    """
    pairs = _partners(teacher.named_parameters(), student.named_parameters(), "parameters").values()
    return [ours for ours, _ in pairs], [theirs for _, theirs in pairs]


def set_mode(teacher: nn.Module, rule: Ema) -> None:
    """Before a training step: a teacher with averaged statistics normalises with them, which is evaluation mode."""
    if rule.batch_norm == "averaged" and teacher.training:
        teacher.eval()


@torch.no_grad()
def move_teacher(
    teacher: nn.Module, student: nn.Module, momentum: float, counts: Tensor | None = None, rule: Ema = PLAIN
) -> None:
    """teacher <- momentum x teacher + (1 - momentum) x student, once per optimiser step, after it.

    Nothing moves where `counts`, a boolean tensor on the device, is false. `rule` (its momenta apart) says what else
    moves: by default parameters only, while buffers stay the teacher's own, whose batch statistics come from its own
    forward passes. Integer buffers are counts, which no one should average: where statistics move, they are copied.
    """
    weights = _partners(teacher.named_parameters(), student.named_parameters(), "parameters")
    buffers: Pairs = {}
    if rule.batch_norm != "own":
        buffers = _partners(teacher.named_buffers(), student.named_buffers(), "buffers")
    current = {name for name in [*weights, *buffers] if rule.part == "projector" and name.startswith("backbone.")}
    _average([pair for name, pair in weights.items() if name not in current], momentum, counts)
    for name, (ours, theirs) in (weights | buffers).items():
        if name in current or (name in buffers and (rule.batch_norm == "copied" or not ours.is_floating_point())):
            _put(ours, theirs, counts)
        elif name in buffers:
            _put(ours, torch.lerp(ours, theirs, 1.0 - momentum), counts)


Pairs = dict[str, tuple[Tensor, Tensor]]


def _partners(teacher: Iterable[tuple[str, Tensor]], student: Iterable[tuple[str, Tensor]], kind: str) -> Pairs:
    """What belongs together, by name: (the teacher's, the student's)."""
    ours = dict(teacher)
    theirs = {name: tensor for name, tensor in student if not name.startswith(STUDENTS_OWN)}
    if ours.keys() != theirs.keys():
        raise ValueError(f"teacher and student differ in {kind}: {sorted(ours.keys() ^ theirs.keys())[:5]}")
    for name, tensor in ours.items():
        if tensor.shape != theirs[name].shape:
            raise ValueError(
                f"{name} is {tuple(tensor.shape)} in the teacher, {tuple(theirs[name].shape)} in the student"
            )
    return {name: (tensor, theirs[name]) for name, tensor in ours.items()}


def _average(pairs: list[tuple[Tensor, Tensor]], momentum: float, counts: Tensor | None) -> None:
    ours, theirs = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    if not pairs:
        return
    if counts is None:
        torch._foreach_lerp_(ours, theirs, 1.0 - momentum)
    else:
        way = torch._foreach_sub(theirs, ours)
        torch._foreach_add_(ours, torch._foreach_mul(way, counts.to(way[0].dtype) * (1.0 - momentum)))


def _put(ours: Tensor, value: Tensor, counts: Tensor | None) -> None:
    """The value itself, which may be anything (not finite, say) where the step does not count."""
    ours.copy_(value if counts is None else torch.where(counts, value, ours))


@contextmanager
def unrecorded(teacher: nn.Module) -> Iterator[None]:
    """While it is open, forward passes leave the teacher's running statistics as they are.

    For passes that a method's own loss does not need: in training mode the teacher then normalises with the batch, as
    the student beside it does (in groups of its own, where keys are shuffled among these), and yet what it is in
    evaluation mode stays what the published method makes of it.
    """
    norms = [(part, part.track_running_stats) for part in teacher.modules() if isinstance(part, _BatchNorm)]
    for part, _ in norms:
        part.track_running_stats = False
    try:
        yield
    finally:
        for part, tracked in norms:
            part.track_running_stats = tracked
