"""All methods by their configs, and what a run must know of them."""

from dataclasses import replace

from resmom.methods.barlow import BarlowTwins
from resmom.methods.byol import Byol
from resmom.methods.densecl import DenseCL
from resmom.methods.dino import Dino
from resmom.methods.dinov2 import Dinov2
from resmom.methods.ibot import Ibot
from resmom.methods.mocov2 import MoCoV2
from resmom.methods.mocov3 import MoCoV3
from resmom.methods.msf import MSF
from resmom.methods.nnclr import NNCLR
from resmom.methods.nnclr_ema import NNCLREma
from resmom.methods.ressl import ReSSL
from resmom.methods.simclr import SimCLR
from resmom.methods.simsiam import SimSiam
from resmom.methods.vicreg import VICReg
from resmom.types import PairKind
from resmom.views.masks import Masks
from resmom.which import Site

Taught = MoCoV3 | Byol | Dino | Ibot | Dinov2 | MoCoV2 | ReSSL | DenseCL | MSF | NNCLREma
MethodConfig = Taught | SimSiam | SimCLR | BarlowTwins | VICReg | NNCLR
Grouped = Dino | Ibot | Dinov2
"""Methods that assign images to prototypes."""
Queued = MoCoV2 | ReSSL | DenseCL | MSF | NNCLR | NNCLREma

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
    "dinov2": Dinov2,
    "mocov2": MoCoV2,
    "ressl": ReSSL,
    "densecl": DenseCL,
    "msf": MSF,
    "nnclr_ema": NNCLREma,
}
"""The methods by the names that the command line has for them."""


def queue_of(method: MethodConfig) -> int:
    """The length of the method's queue (of each, where it has two), 0 without one."""
    return method.queue if isinstance(method, Queued) else 0


def groups_of(method: MethodConfig) -> int:
    """The images that BatchNorm normalises together where keys are shuffled among such groups; 0: the whole batch."""
    match method:
        case MoCoV2() | ReSSL() | DenseCL() | MSF():
            return method.shuffle_bn
        case _:
            return 0


def masks_of(method: MethodConfig) -> Masks | None:
    """What the method hides of its global views, None where it hides nothing."""
    match method:
        case Ibot(masks=masks) | Dinov2(masks=masks):
            return masks
        case _:
            return None


def steady_of(method: MethodConfig) -> tuple[str, ...]:
    """Beginnings of the names of the student's parameters whose learning rate does not follow the schedule."""
    match method:
        case SimSiam(steady_predictor=False):
            return ()
        case _:
            return method.traits.steady


def sites_of(method: MethodConfig) -> tuple[Site, ...]:
    """Where the method's same-view pairs can be compared, as it is set."""
    match method:
        case MoCoV3(predictor_layers=0):
            return tuple(site for site in method.traits.sites if site != "p")
        case Dinov2(patch_pairs=True):  # of a pair of patches, only those that are hidden meet the prototypes
            return tuple(site for site in method.traits.sites if site != "logits")
        case _:
            return method.traits.sites


def site_for(method: MethodConfig, asked: Site = "p") -> Site:
    """Where the residual term of a method is taken: at `asked`, or at z where it has no such site.

    A method without a teacher has none, and keeps what was asked.
    """
    sites = sites_of(method)
    return asked if asked in sites or not sites else "z"


def one_sided(method: MethodConfig) -> MoCoV2 | ReSSL | DenseCL | MSF | None:
    """The method, if its student sees one view and its teacher the other."""
    match method:
        case MoCoV2(symmetric=False) | ReSSL() | DenseCL() | MSF(symmetric=False):
            return method
        case _:
            return None


def pair_kinds(method: MethodConfig) -> tuple[PairKind, ...]:
    """The kinds of same-view pairs that the method hands out, where it does (see `with_pairs`)."""
    match method:
        case Dino(local_pairs=True):
            return ("global", "local")
        case Ibot() | Dinov2():
            patch: tuple[PairKind, ...] = ("patch",) if method.patch_pairs else ()
            return ("global", *patch, "local") if method.local_pairs else ("global", *patch)
        case DenseCL():
            return ("global", "dense")
        case _:
            return ("global",)


def with_pairs(method: MethodConfig) -> MethodConfig:
    """The method made to hand out same-view pairs: `same_view` set where student and teacher see different views."""
    apart = one_sided(method)
    return method if apart is None else replace(apart, same_view=True)
