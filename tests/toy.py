"""The smallest things that are still the real ones: networks and batches that a test can afford."""

from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor, nn

from resmom.method import Method
from resmom.methods.barlow import BarlowTwins, BarlowTwinsMethod
from resmom.methods.byol import Byol, ByolMethod
from resmom.methods.densecl import DenseCL, DenseCLMethod
from resmom.methods.dino import Dino, DinoMethod
from resmom.methods.dinov2 import Dinov2, Dinov2Method
from resmom.methods.ibot import Ibot, IbotMethod
from resmom.methods.mocov2 import MoCoV2, MoCoV2Method
from resmom.methods.mocov3 import MoCoV3, MoCoV3Method
from resmom.methods.msf import MSF, MSFMethod
from resmom.methods.nnclr import NNCLR, NNCLRMethod
from resmom.methods.nnclr_ema import NNCLREma, NNCLREmaMethod
from resmom.methods.ressl import ReSSL, ReSSLMethod
from resmom.methods.simclr import SimCLR, SimCLRMethod
from resmom.methods.simsiam import SimSiam, SimSiamMethod
from resmom.methods.vicreg import VICReg, VICRegMethod
from resmom.nets.backbones import Backbone
from resmom.nets.vit import ViTBody
from resmom.train.state import memory_of
from resmom.types import Batch, Encoding
from resmom.which import Site


class Flat(nn.Module):
    """A body of two linear layers with a normalisation that ignores the batch."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(inputs, width), nn.LayerNorm(width), nn.GELU())

    def forward_features(self, x: Tensor) -> Tensor:
        return self.layers(x)

    def forward_head(self, x: Tensor, pre_logits: bool = True) -> Tensor:
        return x


class Pooled(nn.Module):
    """A body that takes views of any size: a convolution and a mean over places."""

    def __init__(self, width: int = 12) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, width, 2), nn.GELU())

    def forward_features(self, x: Tensor) -> Tensor:
        return self.layers(x)

    def forward_head(self, x: Tensor, pre_logits: bool = True) -> Tensor:
        return x.mean((2, 3))


class Normal(Pooled):
    """The same with a BatchNorm after the convolution."""

    def __init__(self, width: int = 12) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, width, 2), nn.BatchNorm2d(width), nn.GELU())


def without_batch_norm(module: nn.Module) -> nn.Module:
    """The module with every BatchNorm1d replaced by a LayerNorm: then rows do not see each other."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm1d):
            setattr(module, name, nn.LayerNorm(child.num_features, elementwise_affine=child.affine))
        else:
            without_batch_norm(child)
    return module


QUEUE = 20
"""Length of the queues: neither a multiple of the batch nor of any micro-batch, so that writing goes round."""

QUEUES = ["mocov2", "mocov2plus", "ressl", "densecl", "msf", "msf_symmetric", "nnclr_ema"]
"""Methods with a teacher and a queue; those whose teacher sees the other view are made with `same_view`."""

GROUPS = ["mocov2_groups", "mocov2plus_groups", "ressl_groups", "densecl_groups", "msf_groups"]
"""Methods with a queue whose BatchNorm normalises pairs of images, keys shuffled among these."""

TAUGHT = ["mocov3", "byol", "dino", "ibot", "dinov2", *QUEUES]
"""Methods with a teacher."""

PARTED = [kind for kind in TAUGHT if kind != "dinov2"]
"""Those that can be learnt from in micro-batches."""


def method(
    kind: str = "mocov3", seed: int = 0, batch_norm: bool = True, same_view: bool = True, parted: bool = True
) -> Method:
    """A method by its name for 3 x 4 x 4 images, float64: on a flat body, a map of 3 x 3 places or a transformer.

    `parted`: the teacher is no longer the student that it was a copy of.
    """
    torch.manual_seed(seed)
    body = Backbone(Pooled() if kind == "densecl" else Flat(48, 12), 12)
    normal = Backbone(Normal(), 12) if kind in GROUPS else body
    made: Method
    match kind:
        case "mocov3":
            made = MoCoV3Method(body, MoCoV3(temperature=0.2, hidden=16, out=8))
        case "byol":
            made = ByolMethod(body, Byol(hidden=16, out=8, predictor_hidden=16))
        case "simsiam":
            made = SimSiamMethod(body, SimSiam(hidden=16, out=8, predictor_hidden=16))
        case "simclr":
            made = SimCLRMethod(body, SimCLR(temperature=0.2, hidden=16, out=8))
        case "barlow":
            made = BarlowTwinsMethod(body, BarlowTwins(hidden=16, out=8))
        case "vicreg":
            made = VICRegMethod(body, VICReg(hidden=16, out=8))
        case "nnclr":
            made = NNCLRMethod(body, NNCLR(temperature=0.2, queue=20, hidden=16, out=8, predictor_hidden=16))
        case "nnclr_nt_xent":
            made = NNCLRMethod(body, NNCLR(0.2, queue=20, hidden=16, out=8, predictor_hidden=16, nt_xent=True))
        case "dino":
            made = DinoMethod(body, Dino(hidden=16, out=8, prototypes=10, frozen_epochs=0.0))
        case "ibot":
            body = Backbone(ViTBody(4, 1, 12, depth=1, heads=2), 12)
            made = IbotMethod(body, Ibot(hidden=16, out=8, prototypes=10, frozen_epochs=0.0))
        case "dinov2" | "dinov2_mean" | "dinov2_even":  # the latter two without KoLeo, which is of each process
            body = Backbone(ViTBody(4, 1, 12, depth=1, heads=2), 12)
            how: Literal["mean", "sinkhorn"] = "mean" if kind == "dinov2_mean" else "sinkhorn"
            spread = 0.1 if kind == "dinov2" else 0.0
            heads = Dinov2(16, 8, 10, 9, centring=how, koleo=spread, frozen_epochs=0.0)
            made = Dinov2Method(body, heads)
        case "mocov2":
            made = MoCoV2Method(body, MoCoV2(hidden=16, out=8, queue=QUEUE, same_view=same_view))
        case "mocov2plus":
            made = MoCoV2Method(body, MoCoV2(hidden=16, out=8, queue=QUEUE, symmetric=True))
        case "ressl":
            made = ReSSLMethod(body, ReSSL(hidden=16, out=8, queue=QUEUE, same_view=same_view))
        case "densecl":
            made = DenseCLMethod(body, DenseCL(hidden=16, out=8, queue=QUEUE, same_view=same_view))
        case "msf":
            made = MSFMethod(body, MSF(3, QUEUE, hidden=16, out=8, predictor_hidden=16, same_view=same_view))
        case "msf_symmetric":
            made = MSFMethod(body, MSF(3, QUEUE, hidden=16, out=8, predictor_hidden=16, symmetric=True))
        case "nnclr_ema":
            made = NNCLREmaMethod(body, NNCLREma(0.2, QUEUE, hidden=16, out=8, predictor_hidden=16))
        case "mocov2_groups":
            made = MoCoV2Method(normal, MoCoV2(hidden=16, out=8, queue=QUEUE, same_view=same_view, shuffle_bn=2))
        case "mocov2plus_groups":
            made = MoCoV2Method(normal, MoCoV2(hidden=16, out=8, queue=QUEUE, symmetric=True, shuffle_bn=2))
        case "ressl_groups":
            made = ReSSLMethod(normal, ReSSL(hidden=16, out=8, queue=QUEUE, same_view=same_view, shuffle_bn=2))
        case "densecl_groups":
            made = DenseCLMethod(normal, DenseCL(hidden=16, out=8, queue=QUEUE, same_view=same_view, shuffle_bn=2))
        case "msf_groups":
            made = MSFMethod(normal, MSF(3, QUEUE, 16, 8, predictor_hidden=16, same_view=same_view, shuffle_bn=2))
        case _:
            raise ValueError(kind)
    if not batch_norm:
        without_batch_norm(made)
    made = made.double()
    for name, memory in memory_of(made).items():
        if "queue" in name and memory.is_floating_point():  # unit vectors to the last bit of float64
            memory.copy_(nn.functional.normalize(memory, dim=1))
    if parted and made.teacher is not None:
        part(made.teacher)
    return made


@torch.no_grad()
def part(teacher: nn.Module) -> None:
    """Move a teacher away from the student that it is a copy of: or nothing would tell if one stood for the other."""
    generator = torch.Generator().manual_seed(1)
    for p in teacher.parameters():
        p.add_(0.1 * torch.randn(p.shape, generator=generator, dtype=torch.float64).to(p.dtype))


def site(kind: str) -> Site:
    """Where the residual term of a method is taken."""
    without = ("dino", "ibot", "dinov2", "dinov2_mean", "dinov2_even", "mocov2", "mocov2plus", "ressl", "densecl")
    return "z" if kind.removesuffix("_groups") in without else "p"


def batch(seed: int = 0, n: int = 8) -> Batch:
    """Two random float64 views of n images of 3 x 4 x 4, with masks for whoever wants them; some hide nothing."""
    generator = torch.Generator().manual_seed(seed)
    views = tuple(torch.randn(n, 3, 4, 4, generator=generator, dtype=torch.float64) for _ in range(2))
    masks = tuple(torch.rand(n, 4, 4, generator=generator) < 0.4 for _ in range(2))
    masks[0][n // 2], masks[1][0] = False, False
    return Batch(views, torch.arange(n), masks)


def masked(local: int = 0, seed: int = 0, epoch: float = 0.0) -> Batch:
    """Two global views of 4 x 4 with masks, and so many local ones of 2 x 2."""
    made = batch(seed)
    generator = torch.Generator().manual_seed(seed)
    small = tuple(torch.randn(8, 3, 2, 2, generator=generator, dtype=torch.float64) for _ in range(local))
    return replace(made, views=(*made.views, *small), epoch=epoch)


@torch.no_grad()
def said(made: Method, given: Batch) -> tuple[list[Encoding], list[Encoding]]:
    """What every patch is told through the heads: the student on the masked global views and the local ones, the
    teacher on the whole global ones."""
    assert made.teacher is not None
    students = [made.student(v, m) for v, m in zip(given.views[:2], given.masks, strict=True)]
    students += [made.student(v) for v in given.views[2:]]
    return students, [made.teacher(v, patches=True) for v in given.views[:2]]
