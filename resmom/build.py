"""From a config's type to the thing itself. A new method is a new case; the type checker tells where one is missing."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import assert_never, cast

import torch
from torch import nn

from resmom.errors import UserError
from resmom.evaluate.online import OnlineClassifier
from resmom.method import Method
from resmom.methodconfig import MethodConfig
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
from resmom.nets.backbones import Backbone, BackboneConfig, ResNet, SmallResNet, build_backbone
from resmom.nets.copies import copied
from resmom.nets.given import given_backbone, require_map


@dataclass(frozen=True)
class Own:
    """What a Python user brings instead of a configuration.

    `backbone` maps a batch of views, N x C x S x S, to representations N x D (or to a map N x D x H x W, which is then
    averaged); it is copied, and the copy keeps its weights. `method` makes the method around a backbone; it is called
    with torch's generator seeded.
    """

    backbone: nn.Module | None = None
    method: Callable[[Backbone], Method] | None = None

    def __post_init__(self) -> None:
        """Raises UserError for what is no module and no function, a module's class for instance."""
        backbone, method = cast(object, self.backbone), cast(object, self.method)  # Python brings anything
        if isinstance(backbone, type):
            raise UserError(
                f"backbone is the class {backbone.__name__}; give a module, which {backbone.__name__}(...) makes"
            )
        if backbone is not None and not isinstance(backbone, nn.Module):
            raise UserError(f"backbone is a {type(backbone).__name__}; give a torch module, views to N x D")
        if method is not None and not callable(method):
            raise UserError(
                f"method is {method!r}; give a function that makes a Method around a backbone. A method of resmom "
                "is part of the run: change=lambda run: replace(run, method=...)"
            )


def build_method(
    method: MethodConfig,
    backbone: BackboneConfig,
    seed: int,
    own: Own,
    view: tuple[int, int, int],
) -> Method:
    """The method on a fresh backbone, its initial weights a function of `seed`. Leaves torch's generator as it was.

    `view` is the shape C, S, S of one view, by which a backbone of the user's own is measured. Raises ValueError for a
    backbone that cannot be built or used, DenseCL's if it gives no feature map.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        body = build_backbone(backbone) if own.backbone is None else given_backbone(copied(own.backbone), view)
        if own.method is not None:
            return _own_method(own.method, body)
        match method:
            case MoCoV3():
                return MoCoV3Method(body, method)
            case Byol():
                return ByolMethod(body, method)
            case SimSiam():
                return SimSiamMethod(body, method)
            case SimCLR():
                return SimCLRMethod(body, method)
            case BarlowTwins():
                return BarlowTwinsMethod(body, method)
            case VICReg():
                return VICRegMethod(body, method)
            case NNCLR():
                return NNCLRMethod(body, method)
            case Dino():
                return DinoMethod(body, method)
            case Ibot():
                return IbotMethod(body, method)
            case Dinov2():
                return Dinov2Method(body, method)
            case MoCoV2():
                return MoCoV2Method(body, method)
            case ReSSL():
                return ReSSLMethod(body, method)
            case DenseCL():
                if own.backbone is not None or not isinstance(backbone, ResNet | SmallResNet):
                    require_map(body, view)
                return DenseCLMethod(body, method)
            case MSF():
                return MSFMethod(body, method)
            case NNCLREma():
                return NNCLREmaMethod(body, method)
            case _:
                assert_never(method)


def _own_method(make: Callable[[Backbone], Method], body: Backbone) -> Method:
    """The method that a user's function makes. Raises ValueError for what is none, or lacks the parts of one."""
    made: object = make(body)
    if not isinstance(made, Method):
        raise ValueError(
            f"method= made a {type(made).__name__} of a backbone; it must make a Method (resmom.method.Method)"
        )
    kind, student = type(made).__name__, getattr(made, "student", None)
    if not isinstance(getattr(student, "backbone", None), Backbone):
        raise ValueError(
            f"{kind} has no student.backbone; its student must hold the backbone that it is given, as "
            "resmom.nets.encoder.Encoder(backbone, projector) does"
        )
    if not hasattr(made, "teacher"):
        raise ValueError(
            f"{kind} has no teacher; set self.teacher = make_teacher(self.student), or None for a method without"
        )
    return made


def build_online(width: int, classes: int, seed: int) -> OnlineClassifier:
    """The online classifier, its initial weights a function of `seed`. Leaves torch's generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return OnlineClassifier(width, classes)
