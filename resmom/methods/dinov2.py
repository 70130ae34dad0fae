"""DINOv2: M. Oquab et al., "DINOv2: Learning Robust Visual Features without Supervision", TMLR 2024.

arXiv 2304.07193, section 4 and appendix B: DINO's loss of the class token across views, iBOT's of the patches hidden
from the student, heads of their own for the two, targets by Sinkhorn-Knopp, and KoLeo, which spreads the images.
"""

import math
from dataclasses import dataclass, field
from typing import ClassVar, Literal, assert_never

import torch
from torch import Tensor, nn

from resmom import dist
from resmom.called import called
from resmom.losses.koleo import koleo
from resmom.losses.precision import exact
from resmom.losses.prototypes import cross_entropies, over_chosen, sharpened, sinkhorn
from resmom.method import Method
from resmom.nets.backbones import Backbone
from resmom.nets.encoder import PatchEncoder, encode
from resmom.nets.heads import Prototypes, gelu_mlp
from resmom.nets.teacher import make_teacher
from resmom.schedule import by_epoch
from resmom.types import Batch, Encoding, Outcome, Pair, Targets, Term, Traits
from resmom.views.masks import Masks

GLOBAL = 2
"""The first two views are the global ones, of which patches are hidden; any others are local."""


@dataclass(frozen=True)
class Dinov2:
    """Heads, targets, KoLeo and masks. The first two views are global; further ones are local, of one size."""

    traits: ClassVar = Traits(
        sites=("h", "z", "logits"), views=GLOBAL, more=True, micro_batches=False, patches=True
    )  # not in parts: KoLeo and Sinkhorn-Knopp are of the whole batch

    hidden: int = 2048
    out: int = 256  # the bottleneck, z
    prototypes: int = 65536  # K
    patch_prototypes: int = 65536  # K' of the patches' own head; 0: one head for both
    gains: bool = True  # learn the prototypes' lengths
    centring: Literal["sinkhorn", "mean"] = "sinkhorn"  # how the targets are kept from collapsing; mean: DINO's centres
    centre_momentum: float = 0.9  # of the centres, with "mean"
    student_temperature: float = 0.1
    teacher_temperature: float = 0.07
    warmup_temperature: float = 0.04  # the teacher's in the first epoch
    temperature_epochs: int = 30  # until it is teacher_temperature, epoch by epoch; 0: from the start
    class_weight: float = 1.0
    patch_weight: float = 1.0
    koleo: float = 0.1  # of each global view's KoLeo; 0: without
    # As DINO's, frozen ones have no gradients; the authors' have a rate of 0, at which Adam's moments go on.
    frozen_epochs: float = 1.0  # the prototypes stand still so long
    patch_pairs: bool = False  # same-view pairs of the patches too; the MLP of their head then sees all of them
    local_pairs: bool = False  # and of the local views: a teacher forward on each
    masks: Masks = field(default_factory=lambda: Masks(smallest=4))

    def __post_init__(self) -> None:
        for name in ("hidden", "out", "prototypes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{called(f'method.{name}')} is {getattr(self, name)}; it must be at least 1")
        for name in ("student", "teacher", "warmup"):
            if not getattr(self, f"{name}_temperature") > 0:
                raise ValueError(
                    f"{called(f'method.{name}_temperature')} is {getattr(self, f'{name}_temperature')}; set it above 0"
                )
        if not 0 <= self.centre_momentum <= 1:
            raise ValueError(f"{called('method.centre_momentum')} is {self.centre_momentum}; it must be in [0, 1]")
        for name in (
            "patch_prototypes",
            "temperature_epochs",
            "class_weight",
            "patch_weight",
            "koleo",
            "frozen_epochs",
        ):
            if not getattr(self, name) >= 0:
                raise ValueError(
                    f"{called(f'method.{name}')} is {getattr(self, name)}; it must be 0 (none) or positive"
                )


class Dinov2Method(Method):
    """Student and teacher: each a transformer and heads to bottlenecks z and prototypes. Centres where asked for."""

    centre: Tensor
    patch_centre: Tensor

    def __init__(self, backbone: Backbone, config: Dinov2) -> None:
        super().__init__()
        c, own = config, config.patch_prototypes > 0
        self.student: nn.Module = PatchEncoder(
            backbone,
            gelu_mlp(backbone.width, c.hidden, c.out),
            Prototypes(c.out, c.prototypes, c.gains),
            Prototypes(c.out, c.patch_prototypes, c.gains) if own else None,
            gelu_mlp(backbone.width, c.hidden, c.out) if own else None,
        )
        self.teacher: nn.Module = make_teacher(self.student)
        self.config = config
        if c.centring == "mean":
            self.register_buffer("centre", torch.zeros(c.prototypes))
            self.register_buffer("patch_centre", torch.zeros(c.patch_prototypes or c.prototypes))

    @torch.no_grad()
    def teach(self, batch: Batch) -> Targets:
        c = self.config
        seen = [(batch.views[v], batch.hidden_places(v)) for v in range(GLOBAL)]
        t = tuple(self.teacher(x, patches=c.patch_pairs, chosen=hidden) for x, hidden in seen)
        local = encode(self.teacher, batch.views[GLOBAL:], 0) if c.local_pairs else ()
        temperature = by_epoch(batch.epoch, c.temperature_epochs, c.warmup_temperature, c.teacher_temperature)
        classes, patches = [x.at("logits") for x in t], [_hidden(x).at("logits") for x in t]
        match c.centring:
            case "sinkhorn":  # over both views, all ranks
                assigned, of_patches = (_evenly(logits, temperature) for logits in (classes, patches))
            case "mean":
                assigned = tuple(sharpened(logits, self.centre, temperature) for logits in classes)
                of_patches = tuple(sharpened(logits, self.patch_centre, temperature) for logits in patches)
            case _:
                assert_never(c.centring)
        return Targets((*t, *local), assigned=assigned, assigned_hidden=of_patches)

    def forward(self, batch: Batch, targets: Targets, rows: slice) -> Outcome:
        if rows.indices(len(batch.index)) != (0, len(batch.index), 1):
            raise ValueError(
                "KoLeo and the targets of DINOv2 are of the whole batch: it cannot be learnt from in parts"
            )
        c, t = self.config, targets.views
        hidden = [batch.hidden_places(v) for v in range(GLOBAL)]
        s = [self.student(batch.views[v], batch.masks[v], c.patch_pairs, hidden[v]) for v in range(GLOBAL)]
        s += encode(self.student, batch.views[GLOBAL:], 0)
        losses: dict[str, list[Tensor]] = {"global": [], "local": [], "hidden": []}
        for i in range(GLOBAL):
            for j in range(len(s)):
                if j != i:  # L_DINO: the teacher's class token on view i, the student's on view j
                    losses["global" if j < GLOBAL else "local"].append(
                        cross_entropies(targets.assigned[i], s[j].at("logits"), c.student_temperature).mean()
                    )
            guesses = _hidden(s[i]).at("logits")  # L_iBOT: on the same view, where it is masked
            of_patches = cross_entropies(targets.assigned_hidden[i], guesses, c.student_temperature)
            losses["hidden"].append(over_chosen(of_patches, hidden[i], batch.masks[i]))
        number = len(losses["global"]) + len(losses["local"])
        weights = {kind: c.class_weight * len(losses[kind]) / number for kind in ("global", "local")}
        weights["hidden"] = c.patch_weight
        terms = [Term(f"cross_entropy_{kind}", torch.stack(x).mean(), weights[kind]) for kind, x in losses.items() if x]
        chance: float | Tensor = self.chance
        if c.koleo > 0:  # of each view by itself (the two of an image shall not be driven apart) and of each process
            spread = torch.stack([koleo(s[v].h) for v in range(GLOBAL)]).sum()
            terms.append(Term("koleo", spread, c.koleo))
            chance = chance + c.koleo * spread.detach()
        pairs = [Pair("global", s[v], t[v], bank=t[v]) for v in range(GLOBAL)]
        if c.patch_pairs:
            sides = [(_places(s[v]), _places(t[v])) for v in range(GLOBAL)]
            pairs += [Pair("patch", ours, theirs, theirs, per_image=s[0].per_image) for ours, theirs in sides]
        pairs += [Pair("local", s[v], t[v], bank=t[v]) for v in range(GLOBAL, len(t))]
        frozen = ("prototypes.", "patch_prototypes.") if batch.epoch < c.frozen_epochs else ()
        return Outcome(tuple(terms), tuple(s[:GLOBAL]), tuple(pairs), self._seen(t[:GLOBAL]), chance, frozen)

    def _seen(self, t: tuple[Encoding, ...]) -> tuple[Tensor, ...]:
        """What moves the centres: sums of the teacher's logits, of images and of hidden patches, and their numbers."""
        if self.config.centring != "mean":
            return ()
        both = torch.cat([x.at("logits") for x in t]), torch.cat([_hidden(x).at("logits") for x in t])
        sums = [exact(logits).sum(0, keepdim=True) for logits in both]
        return *sums, *[sums[0].new_full((1, 1), float(len(logits))) for logits in both]

    @property
    def chance(self) -> float:
        """The cross-entropies of equal logits: views of which nothing is hidden have no loss of patches."""
        c = self.config
        patches = c.masks.share * math.log(c.patch_prototypes or c.prototypes)
        return c.class_weight * math.log(c.prototypes) + c.patch_weight * patches

    def remember(self, memory: tuple[Tensor, ...]) -> None:
        if self.config.centring != "mean":
            return
        means = list(memory)
        dist.average(means)  # of sums and of numbers: ranks hide different numbers of patches
        for centre, total, number in zip((self.centre, self.patch_centre), means[:2], means[2:], strict=True):
            mean = (total / number.clamp(min=1e-12)).squeeze(0)
            counts = (number > 0).squeeze()  # nothing hidden anywhere: the centre stays
            moved = centre.lerp(mean.to(centre.dtype), 1 - self.config.centre_momentum)  # C = m C + (1 - m) mean
            centre.copy_(torch.where(counts, moved, centre))


def _evenly(logits: list[Tensor], temperature: float) -> tuple[Tensor, ...]:
    """Sinkhorn-Knopp on the logits of both views together, and of all ranks."""
    spread = sinkhorn(torch.cat(logits), temperature, summed=dist.summed, largest=dist.largest)
    return tuple(torch.split(spread, [len(rows) for rows in logits]))


def _hidden(said: Encoding) -> Encoding:
    assert said.hidden is not None
    return said.hidden


def _places(said: Encoding) -> Encoding:
    assert said.places is not None
    return said.places
