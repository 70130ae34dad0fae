"""From a config's type to the thing itself. A new method is a new case; the type checker tells where one is missing."""

from typing import assert_never

import torch

from resmom.evaluate.online import OnlineClassifier
from resmom.method import Method
from resmom.methods.byol import Byol, ByolMethod
from resmom.methods.mocov3 import MoCoV3, MoCoV3Method
from resmom.nets.backbones import BackboneConfig, build_backbone


def build_method(method: MoCoV3 | Byol, backbone: BackboneConfig, seed: int) -> Method:
    """The method on a fresh backbone, its initial weights a function of `seed`. Leaves torch's generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        body = build_backbone(backbone)
        match method:
            case MoCoV3():
                return MoCoV3Method(body, method)
            case Byol():
                return ByolMethod(body, method)
            case _:
                assert_never(method)


def build_online(width: int, classes: int, seed: int) -> OnlineClassifier:
    """The online classifier, its initial weights a function of `seed`. Leaves torch's generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return OnlineClassifier(width, classes)
