"""The residual term: how far the student is from the teacher on the *same* view.

Pham et al., "Self-Supervised Visual Representation Learning via Residual Momentum", IEEE Access 2023 (arXiv
2211.09861): the gap between student and teacher limits what momentum methods learn; closing it, measured by cosine
similarity on the same view, is added to the method's own loss. The other pairing and the other distances are controls.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from resmom.called import called
from resmom.diagnose.gap import Views, same_views
from resmom.errors import UserError
from resmom.losses.cosine import cosine_distance
from resmom.losses.precision import exact
from resmom.losses.relation import relation
from resmom.types import Pair, PairKind
from resmom.which import Site

Distance = Literal["cosine", "mse", "kd_feature", "kd_relation"]

SHORT = 1e-8
"""The length below which a row has no direction: the least by which torch's cosine divides."""


@dataclass(frozen=True)
class Residual:
    """The residual term of a run. Weight 0 is the published method, bit for bit.

    The defaults of site, distance and pairing are provisional (docs/results/questions.md tells what was measured): the
    abstract fixes the same view and the cosine, and leaves site and weight open.
    """

    weight: float = 0.0
    """Factor of the term in the total loss; not comparable across methods, whose losses differ in scale."""
    site: Site = "p"
    """Where the student is read: p (needs a predictor), z or h; of DINO, iBOT and DINOv2, without a predictor, also
    logits, the similarities to their prototypes. The teacher is read at z for p."""
    pairing: Literal["same", "cross"] = "same"
    """`same` view is the method; `cross` is a control, the same attraction to the teacher on the other view."""
    distance: Distance = "cosine"
    student_temperature: float = 0.1
    """T_s of kd_feature and kd_relation."""
    teacher_temperature: float = 0.04
    """T_t of kd_feature and kd_relation. At 1 the target is nearly flat, and the control would be useless by itself."""
    schedule: Literal["constant", "rise", "fall"] = "constant"
    """How the weight goes over the run: constant, or half a cosine up from 0 or down to 0."""
    pairs: Literal["all", PairKind] = "all"
    """Which of a method's pairs are averaged over: all of them, each with the same share whatever its kind, or those of
    one kind. Only methods that compare more than whole views have other kinds than `global`."""

    def __post_init__(self) -> None:
        if not 0 <= self.weight < math.inf:
            raise ValueError(
                f"{called('residual.weight')} is {self.weight}; it must be 0 (off) or positive, and finite"
            )
        for name in ("student_temperature", "teacher_temperature"):
            if not 0 < (value := getattr(self, name)) < math.inf:
                raise ValueError(f"{called(f'residual.{name}')} is {value}; it must be a finite number above 0")


def kd_feature(
    student: Float[Tensor, "n d"], teacher: Float[Tensor, "n d"], t_s: float, t_t: float
) -> Float[Tensor, ""]:
    """Cross-entropy of the softmaxes over the raw vectors' dimensions, teacher at `t_t`, student at `t_s`."""
    target = F.softmax(exact(teacher) / t_t, dim=1)
    return -(target * F.log_softmax(exact(student) / t_s, dim=1)).sum(1).mean()


def kd_relation(
    student: Float[Tensor, "n d"],
    teacher: Float[Tensor, "n d"],
    bank: Float[Tensor, "m d"],
    t_s: float,
    t_t: float,
) -> Float[Tensor, ""]:
    """Cross-entropy of the softmaxes over cosine similarities to the batch's keys `bank` (its own included)."""
    return relation(student, teacher, F.normalize(exact(bank), dim=1), t_s, t_t)


def _paired(pairs: Sequence[Pair], config: Residual) -> list[tuple[Pair, Pair]]:
    """(whose student, whose teacher) for every summand."""
    counted = [pair for pair in pairs if config.pairs in ("all", pair.name)]
    if not counted:
        kinds = ", ".join(dict.fromkeys(pair.name for pair in pairs)) or "none"
        raise ValueError(
            f"there are no same-view pairs '{config.pairs}' here ({called('residual.pairs')}); there are: {kinds}"
        )
    if config.pairing == "same":
        return [(pair, pair) for pair in counted]
    counted = [pair for pair in counted if pair.per_image == 1]  # a place has no partner in the other view
    if len(counted) < 2:
        raise ValueError(
            f"{called('residual.pairing')} 'cross' needs student and teacher on two views; this method gives one pair"
        )
    return [(a, b) for i, a in enumerate(counted) for j, b in enumerate(counted) if i != j]


def residual_term(pairs: Sequence[Pair], config: Residual) -> Float[Tensor, ""]:
    """The residual term of the pairs, averaged over them; the teacher's side carries no gradient.

    A pair counts once, whatever its number of rows: of DenseCL's two, whole views are one half and places the other.
    Raises ValueError where the site, the pairing or the kind of pairs is not to be had from these pairs.
    """
    if config.site == "p" and any(pair.student.p is None for pair in pairs):
        raise ValueError(f"{called('residual.site')} is 'p', but this method has no predictor; use 'z' or 'h'")
    summands = []
    for a, b in _paired(pairs, config):
        student, teacher, bank = a.student.at(config.site), b.teacher.at(config.site), b.bank.at(config.site)
        summands.append(_apart(student, teacher.detach(), bank.detach(), config))
    return torch.stack(summands).mean()


def residual(
    student: Views,
    teacher: Views,
    distance: Distance = "cosine",
    student_temperature: float = 0.1,
    teacher_temperature: float = 0.04,
) -> Float[Tensor, ""]:
    """The residual term of plain tensors, for a training loop of one's own: add it, times a weight, to the loss.

    Each side is what a network says of the *same* view, N x D with a row per image, or a sequence of these, one per
    view, over which the term is averaged. Where the student has a predictor: its prediction against the teacher's
    projection. The gradient goes to the student alone. The sides may be of any floating type, and of different ones;
    computed in float32, in float64 if one side is float64, also under autocast. The result, for `cosine`, lies in
    [0, 2]; a row of zeros on either side counts as orthogonal, 1, and gives the student no gradient there. `mse`,
    `kd_feature` and `kd_relation` (of the rows of the batch) are the controls; the two temperatures are those of the
    two `kd_` distances.

    Raises UserError if the two sides do not fit together or have no rows, if only the teacher's side carries a
    gradient, for a distance that there is none of, and for temperatures that are not finite numbers above 0.
    """
    if distance not in get_args(Distance):
        raise UserError(f"there is no distance '{distance}'; there are {', '.join(get_args(Distance))}")
    for name, value in (("student_temperature", student_temperature), ("teacher_temperature", teacher_temperature)):
        if not 0 < value < math.inf:
            raise UserError(
                f"{name} is {value}; it must be a finite number above 0: .1 for the student and .04 for the teacher, "
                "the defaults, are where to begin"
            )
    config = Residual(1.0, "z", "same", distance, student_temperature, teacher_temperature)
    summands = []
    for s, t in same_views(student, teacher):
        if len(s) == 0:
            raise UserError(
                f"student and teacher have no rows, got {tuple(s.shape)}, and a mean over none is not a number; give "
                "at least one row, or leave the term out of a step that has none"
            )
        if t.requires_grad and not s.requires_grad and torch.is_grad_enabled():
            raise UserError(
                "the teacher's side carries a gradient and the student's none, so the term would train nothing; call "
                "residual(student, teacher) in this order"
            )
        summands.append(_apart(s, t.detach(), t.detach(), config))
    return torch.stack(summands).mean()


def _apart(
    student: Float[Tensor, "n d"], teacher: Float[Tensor, "n d"], bank: Float[Tensor, "m d"], config: Residual
) -> Float[Tensor, ""]:
    """One summand of the term."""
    t_s, t_t = config.student_temperature, config.teacher_temperature
    match config.distance:
        case "cosine":
            return cosine_distance(_directed(student), teacher)
        case "mse":
            # On the raw vectors: between unit vectors it would be twice the cosine distance over the dimension.
            one, other = exact(student), exact(teacher)
            common = torch.promote_types(one.dtype, other.dtype)  # torch 2.8 does not find it for the gradient
            return F.mse_loss(one.to(common), other.to(common))
        case "kd_feature":
            return kd_feature(student, teacher, t_s, t_t)
        case "kd_relation":
            return kd_relation(_directed(student), teacher, bank, t_s, t_t)


def _directed(student: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """The student's rows as they are; those without a direction, shorter than `SHORT`, carry no gradient.

    Such a row is divided by the least length that cosines allow instead of its own, so that the gradient there would be
    1 over that, 1e8 and more, of one dead row among others that are of the order of 1: it would decide the step.
    Nor is it the cosine's gradient, which does not exist at zero. The row has its constant value in the loss and no
    part in the step; its network learns through the other rows, and through the method's own loss, which stays as
    published. Where there is a direction, value and gradient are the same bit by bit.
    """
    if not student.requires_grad:
        return student
    x = exact(student)
    short = torch.linalg.vector_norm(x.detach(), dim=1, keepdim=True) < SHORT
    return torch.where(short, x.detach(), x)


@torch.no_grad()
def target_entropy(pairs: Sequence[Pair], config: Residual) -> Float[Tensor, ""] | None:
    """Mean entropy in nats of the KD target, None for the other distances.

    Logged beside the control: near ln(number of classes) the target is flat, and "useless" would say nothing.
    """
    if config.distance not in ("kd_feature", "kd_relation"):
        return None
    entropies = []
    for _, pair in _paired(pairs, config):
        logits = exact(pair.teacher.at(config.site))
        if config.distance == "kd_relation":
            logits = F.normalize(logits, dim=1) @ F.normalize(exact(pair.bank.at(config.site)), dim=1).T
        log_target = F.log_softmax(logits / config.teacher_temperature, dim=1)
        entropies.append(-(log_target.exp() * log_target).sum(1).mean())
    return torch.stack(entropies).mean()
