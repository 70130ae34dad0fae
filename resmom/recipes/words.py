"""Settings in words, as they are told to people."""

from resmom.methodconfig import Grouped, MethodConfig, queue_of
from resmom.methodnames import method_name
from resmom.methods.densecl import DenseCL
from resmom.methods.dino import Dino
from resmom.methods.dinov2 import Dinov2
from resmom.methods.ibot import Ibot
from resmom.methods.mocov2 import MoCoV2
from resmom.methods.mocov3 import MoCoV3
from resmom.methods.nnclr import NNCLR
from resmom.methods.nnclr_ema import NNCLREma
from resmom.methods.ressl import ReSSL
from resmom.methods.simclr import SimCLR
from resmom.nets.backbones import BackboneConfig, DinoViT, MoCoViT, ResNet, SmallResNet, Timm
from resmom.views.policy import Numbers

OPTIMISERS = {"Sgd": "SGD", "Lars": "LARS", "AdamW": "AdamW", "Adam": "Adam"}
"""What optimisers are called by people, by the `kind` that a configuration has for them."""


def passes(number: float) -> str:
    """So many times over all images."""
    whole = round(number)
    if abs(number - whole) <= 0.05 * whole:  # batches do not divide the images
        return f"{whole} pass{'' if whole == 1 else 'es'} over the images"
    return f"{number:.1g} of a pass over the images" if number < 1 else f"{number:.1f} passes over the images"


def named(backbone: BackboneConfig) -> str:
    """A backbone in words, for people."""
    match backbone:
        case SmallResNet(widths=widths, blocks=blocks):
            return f"SmallResNet {'-'.join(map(str, widths))}" + (f", {blocks} blocks a stage" if blocks > 1 else "")
        case ResNet(depth=depth, stem=stem):
            return f"ResNet-{depth}, {stem} stem"
        case MoCoViT(size=size, patch=patch, image=image):
            return f"ViT-{size}/{patch} at {image} pixels"
        case DinoViT(size=size, patch=patch, image=image, layer_scale=scale):
            return f"DINO's ViT-{size}/{patch} at {image} pixels" + (" with LayerScale" if scale else "")
        case Timm(name=name, image=image):
            return f"timm's {name}" + (f" at {image} pixels" if image else "")


def method_words(method: MethodConfig) -> str:
    """A method in words, for people: its name, what its loss is scaled by, its heads, and what it compares with."""
    parts = [method_name(method)]
    match method:
        case MoCoV3() | SimCLR() | NNCLR() | NNCLREma() | MoCoV2() | DenseCL():
            parts.append(f"temperature {method.temperature:g}")
        case Dino() | Ibot() | Dinov2() | ReSSL():
            parts.append(f"temperatures {method.student_temperature:g}/{method.teacher_temperature:g}")
        case _:
            pass
    parts.append(f"heads {method.hidden}/{method.out}")
    if isinstance(method, MoCoV3) and not method.predictor_layers:
        parts.append("no predictor")
    if isinstance(method, Grouped):
        parts.append(f"{method.prototypes} prototypes")
    if queue := queue_of(method):
        parts.append(f"queue {queue}")
    return ", ".join(parts)


def numbers(values: Numbers) -> str:
    """Mean or deviation of the channels."""
    return "(" + ", ".join(f"{value:.3f}" for value in values) + ")"
