"""iBOT: J. Zhou et al., "iBOT: Image BERT Pre-Training with Online Tokenizer", ICLR 2022.

arXiv 2111.07832, Algorithm 1 (appendix), with multi-crop: DINO's loss of the class token across views, and on each
global view the same loss of the patches that are hidden from the student; the teacher sees the whole view.
"""

import math
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from resmom import dist
from resmom.called import called
from resmom.losses.precision import exact
from resmom.losses.prototypes import cross_entropies, over_hidden, sharpened
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
class Ibot:
    """Head, temperatures, centres and masks. The first two views are global; further ones are local, of one size."""

    traits: ClassVar = Traits(sites=("h", "z", "logits"), views=GLOBAL, more=True, patches=True)

    hidden: int = 2048
    out: int = 256  # the bottleneck, z
    prototypes: int = 8192  # K
    patch_prototypes: int = 0  # of the patches' own, behind the same MLP; 0: the head is shared whole
    gains: bool = False  # learn the prototypes' lengths (the authors' norm_last_layer false, for ViT-S)
    student_temperature: float = 0.1
    teacher_temperature: float = 0.07
    warmup_temperature: float = 0.04  # the teacher's in the first epoch
    patch_temperature: float = 0.07  # the same two for the patches
    patch_warmup_temperature: float = 0.04
    temperature_epochs: int = 30  # until both are reached; 0: from the start
    centre_momentum: float = 0.9
    patch_centre_momentum: float = 0.9
    class_weight: float = 1.0  # lambda_1
    patch_weight: float = 1.0  # lambda_2
    frozen_epochs: float = 1.0  # the prototypes stand still so long
    patch_pairs: bool = True  # same-view pairs of the patches too
    local_pairs: bool = False  # and of the local views: a teacher forward on each
    masks: Masks = field(default_factory=Masks)

    def __post_init__(self) -> None:
        for name in ("hidden", "out", "prototypes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{called(f'method.{name}')} is {getattr(self, name)}; it must be at least 1")
        for name in ("student", "teacher", "warmup", "patch", "patch_warmup"):
            if not getattr(self, f"{name}_temperature") > 0:
                raise ValueError(
                    f"{called(f'method.{name}_temperature')} is {getattr(self, f'{name}_temperature')}; set it above 0"
                )
        for name in ("centre_momentum", "patch_centre_momentum"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{called(f'method.{name}')} is {getattr(self, name)}; it must be in [0, 1]")
        for name in ("patch_prototypes", "temperature_epochs", "class_weight", "patch_weight", "frozen_epochs"):
            if not getattr(self, name) >= 0:
                raise ValueError(
                    f"{called(f'method.{name}')} is {getattr(self, name)}; it must be 0 (none) or positive"
                )


class IbotMethod(Method):
    """Student and teacher, each a transformer f and a head h to the bottleneck z and prototypes; centres C and C'."""

    centre: Tensor
    patch_centre: Tensor

    def __init__(self, backbone: Backbone, config: Ibot) -> None:
        super().__init__()
        own = config.patch_prototypes
        head = gelu_mlp(backbone.width, config.hidden, config.out)
        prototypes = Prototypes(config.out, config.prototypes, config.gains)
        for_patches = Prototypes(config.out, own, config.gains) if own else None
        self.student: nn.Module = PatchEncoder(backbone, head, prototypes, for_patches)
        self.teacher: nn.Module = make_teacher(self.student)
        self.config = config
        self.register_buffer("centre", torch.zeros(config.prototypes))
        self.register_buffer("patch_centre", torch.zeros(own or config.prototypes))

    @torch.no_grad()
    def teach(self, batch: Batch) -> Targets:
        whole = tuple(self.teacher(u, patches=True) for u in batch.views[:GLOBAL])  # the whole views u, v
        local = encode(self.teacher, batch.views[GLOBAL:], 0) if self.config.local_pairs else ()
        return Targets((*whole, *local))

    def forward(self, batch: Batch, targets: Targets, rows: slice) -> Outcome:
        c, part = self.config, batch.rows(rows)
        masked = zip(part.views[:GLOBAL], part.masks[:GLOBAL], strict=True)
        s = [self.student(u, m) for u, m in masked] + [*encode(self.student, part.views[GLOBAL:], 0)]  # u^, v^, local
        t = [taught.rows(rows) for taught in targets.views]
        h: dict[str, list[Tensor]] = {"global": [], "local": [], "hidden": []}
        for i in range(GLOBAL):
            target, of_patches = self._targets(t[i], batch.epoch)
            for j in range(len(s)):
                if j != i:  # L_[CLS]: H(t_i, s_j) across views
                    kind = "global" if j < GLOBAL else "local"
                    h[kind].append(cross_entropies(target, s[j].at("logits"), c.student_temperature))
            losses = cross_entropies(of_patches, _places(s[i]).at("logits"), c.student_temperature)
            h["hidden"].append(over_hidden(losses, part.masks[i]))  # L_MIM: on the same view, where it is masked
        number = len(h["global"]) + len(h["local"])
        weights = {kind: c.class_weight * len(h[kind]) / number for kind in ("global", "local")}
        weights["hidden"] = c.patch_weight
        terms = tuple(Term(f"cross_entropy_{kind}", torch.stack(x).mean(), weights[kind]) for kind, x in h.items() if x)
        pairs = [Pair("global", s[v], t[v], bank=targets.views[v]) for v in range(GLOBAL)]
        if c.patch_pairs:
            sides = [(_places(s[v]), _places(t[v]), _places(targets.views[v])) for v in range(GLOBAL)]
            pairs += [Pair("patch", *three, per_image=s[0].per_image) for three in sides]
        pairs += [Pair("local", s[v], t[v], bank=targets.views[v]) for v in range(GLOBAL, len(t))]
        frozen = ("prototypes.", "patch_prototypes.") if batch.epoch < c.frozen_epochs else ()
        return Outcome(terms, tuple(s[:GLOBAL]), tuple(pairs), self._means(t[:GLOBAL]), self.chance, frozen)

    def _targets(self, taught: Encoding, epoch: float) -> tuple[Tensor, Tensor]:
        """P_t of the class token and of the patches, each with its own centre and temperature."""
        c, epochs = self.config, self.config.temperature_epochs
        temperature = by_epoch(epoch, epochs, c.warmup_temperature, c.teacher_temperature)
        for_patches = by_epoch(epoch, epochs, c.patch_warmup_temperature, c.patch_temperature)
        target = sharpened(taught.at("logits"), self.centre, temperature)
        return target, sharpened(_places(taught).at("logits"), self.patch_centre, for_patches)

    def _means(self, t: list[Encoding]) -> tuple[Tensor, Tensor]:
        """The teacher's logits of every image, averaged over its two views, and for the patches over these too."""
        logits = torch.stack([exact(taught.at("logits")) for taught in t]).mean(0)
        patches = [exact(_places(x).at("logits")).view(len(logits), -1, len(self.patch_centre)).mean(1) for x in t]
        return logits, torch.stack(patches).mean(0)

    @property
    def chance(self) -> float:
        """The total of equal logits: views of which nothing is hidden have no loss of patches."""
        c = self.config
        patches = c.masks.share * math.log(len(self.patch_centre))
        return c.class_weight * math.log(c.prototypes) + c.patch_weight * patches

    def remember(self, memory: tuple[Tensor, ...]) -> None:
        means = [rows.mean(0) for rows in memory]
        dist.average(means)
        self.centre.lerp_(means[0].to(self.centre.dtype), 1 - self.config.centre_momentum)  # C = m C + (1 - m) mean
        self.patch_centre.lerp_(means[1].to(self.patch_centre.dtype), 1 - self.config.patch_centre_momentum)  # C'


def _places(said: Encoding) -> Encoding:
    assert said.places is not None
    return said.places
