"""solo-learn's settings for ImageNet-100, as its files state them: scripts/pretrain/imagenet-100/*.yaml."""

from resmom.methods.barlow import BarlowTwins
from resmom.methods.byol import Byol
from resmom.methods.dino import Dino
from resmom.methods.mocov2 import MoCoV2
from resmom.methods.mocov3 import MoCoV3
from resmom.methods.nnclr import NNCLR
from resmom.methods.ressl import ReSSL
from resmom.methods.simclr import SimCLR
from resmom.methods.simsiam import SimSiam
from resmom.methods.vicreg import VICReg
from resmom.nets.backbones import ResNet
from resmom.train.optim import Lars, Sgd
from resmom.views.policy import IMAGENET
from tests.recipes.queues import both_views

SHARED = {
    "backbone": ResNet(18, stem="imagenet"),
    "policy.mean": IMAGENET[0],
    "policy.std": IMAGENET[1],
    "train.epochs": 400,
    "train.batch": 256,  # two processes of 128
    "train.warmup_epochs": 10,
    "train.warmup_start": 3e-5,
    "train.final_lr": 0.0,
    "train.precision": "fp16",
    "train.clip": 0.0,
    "online.weight_decay": 0.0,
    "online.lr": 0.1,
}


def views(scale: tuple[float, float] = (0.08, 1.0), **changes: object) -> dict[str, object]:
    return both_views(224, scale, interpolation="bicubic", **changes)


ASYMMETRIC = views(saturation=0.2) | {
    "policy.views.0.blur": 1.0,
    "policy.views.1.blur": 0.1,
    "policy.views.1.solarise": 0.2,
}
SYMMETRIC = views(brightness=0.8, contrast=0.8, saturation=0.8, hue=0.2)
SYMMETRIC_WEAK = views()
VICREG = views((0.2, 1.0), saturation=0.2, solarise=0.1)
RESSL = views(saturation=0.2) | {f"policy.views.1.{name}": 0.0 for name in ("jitter", "grey", "blur")}
del RESSL["policy.views.1.saturation"]  # without jitter it means nothing


def lars(lr: float, weight_decay: float) -> Lars:
    return Lars(lr=lr, weight_decay=weight_decay, momentum=0.9, trust=0.02, form="clipped")


def sgd(lr: float, weight_decay: float) -> Sgd:
    return Sgd(lr=lr, weight_decay=weight_decay, momentum=0.9)


def ema(momentum: float, final: float) -> dict[str, object]:
    return {"ema.momentum": momentum, "ema.final": final, "ema.schedule": "cosine"}


OWN: dict[str, dict[str, object]] = {
    "mocov3": {
        "method": MoCoV3(temperature=0.2, hidden=4096, out=256, projector_layers=2, predictor_norm="none"),
        "optim": lars(0.3, 1e-6),
        "online.lr": 0.3,
    }
    | ema(0.99, 1.0)
    | ASYMMETRIC,
    "byol": {"method": Byol(hidden=4096, out=256, predictor_hidden=8192), "optim": lars(0.5, 1e-6)}
    | ema(0.99, 1.0)
    | ASYMMETRIC,
    "mocov2plus": {
        "method": MoCoV2(temperature=0.2, hidden=2048, out=256, queue=65536, symmetric=True),
        "optim": sgd(0.3, 1e-4),
        "online.lr": 0.3,
    }
    | ema(0.99, 0.999)
    | SYMMETRIC_WEAK,
    "dino": {
        "method": Dino(
            hidden=2048,
            out=256,
            prototypes=4096,
            gains=False,
            student_temperature=0.1,
            teacher_temperature=0.07,
            warmup_temperature=0.04,
            temperature_epochs=50,
            centre_momentum=0.9,
            frozen_epochs=1.0,
        ),
        "optim": lars(0.3, 1e-6),
    }
    | ema(0.9995, 1.0)
    | ASYMMETRIC,
    "ressl": {
        "method": ReSSL(student_temperature=0.1, teacher_temperature=0.04, hidden=4096, out=256, queue=65536),
        "optim": sgd(0.3, 1e-4),
    }
    | ema(0.99, 1.0)
    | RESSL,
    "simsiam": {"method": SimSiam(hidden=2048, out=2048, predictor_hidden=512), "optim": sgd(0.5, 1e-5)} | ASYMMETRIC,
    "simclr": {"method": SimCLR(temperature=0.2, hidden=4096, out=512), "optim": lars(0.3, 1e-4)} | SYMMETRIC,
    "barlow": {
        "method": BarlowTwins(redundancy=0.0051, scale=0.1, hidden=2048, out=2048),
        "optim": lars(0.3, 1e-4),
    }
    | ASYMMETRIC,
    "vicreg": {"method": VICReg(25.0, 25.0, 1.0, hidden=2048, out=2048), "optim": lars(0.3, 1e-4)} | VICREG,
    "nnclr": {
        "method": NNCLR(0.2, queue=65536, hidden=2048, out=256, predictor_hidden=4096),
        "optim": lars(0.4, 1e-5),
    }
    | ASYMMETRIC,
}

PUBLISHED = {f"{method}_imagenet100_r18": SHARED | own for method, own in OWN.items()}
