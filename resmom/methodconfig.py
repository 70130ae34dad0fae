"""All methods by their configs, and what a run must know of them."""

from dataclasses import replace

from resmom.methods.barlow import BarlowTwins
from resmom.methods.byol import Byol
from resmom.methods.dino import Dino
from resmom.methods.ibot import Ibot
from resmom.methods.mocov2 import MoCoV2
from resmom.methods.mocov3 import MoCoV3
from resmom.methods.nnclr import NNCLR
from resmom.methods.ressl import ReSSL
from resmom.methods.simclr import SimCLR
from resmom.methods.simsiam import SimSiam
from resmom.methods.vicreg import VICReg
from resmom.views.masks import Masks

MethodConfig = MoCoV3 | Byol | SimSiam | SimCLR | BarlowTwins | VICReg | NNCLR | Dino | Ibot | MoCoV2 | ReSSL


METHODS: dict[str, type[MethodConfig]] = {
    "mocov3": MoCoV3,
    "byol": Byol,
    "simsiam": SimSiam,
    "simclr": SimCLR,
    "barlow": BarlowTwins,
    "vicreg": VICReg,
    "nnclr": NNCLR,
    "dino": Dino,
    "ibot": Ibot,
    "mocov2": MoCoV2,
    "ressl": ReSSL,
}
"""The methods by the names that the command line has for them."""


def queue_of(method: MethodConfig) -> int:
    """The length of the method's queue, 0 without one."""
    match method:
        case MoCoV2(queue=queue) | ReSSL(queue=queue) | NNCLR(queue=queue):
            return queue
        case _:
            return 0


def masks_of(method: MethodConfig) -> Masks | None:
    """What the method hides of its global views, None where it hides nothing."""
    match method:
        case Ibot(masks=masks):
            return masks
        case _:
            return None


def one_sided(method: MethodConfig) -> MoCoV2 | ReSSL | None:
    """The method, if its student sees one view and its teacher the other."""
    match method:
        case MoCoV2(symmetric=False) | ReSSL():
            return method
        case _:
            return None


def with_pairs(method: MethodConfig) -> MethodConfig:
    """The method made to hand out same-view pairs: `same_view` set where student and teacher see different views."""
    apart = one_sided(method)
    return method if apart is None else replace(apart, same_view=True)
