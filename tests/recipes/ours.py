"""The settings that our own recipes had when their results were measured (docs/log.md, docs/results/questions.md)."""

from resmom.methods.mocov3 import MoCoV3
from resmom.nets.backbones import SmallResNet
from resmom.train.optim import Sgd
from resmom.views.policy import CIFAR100
from tests.recipes.queues import both_views

SHARED = {
    "optim": Sgd(lr=0.3, weight_decay=1e-4, momentum=0.9),
    "ema.momentum": 0.99,
    "ema.final": 1.0,
    "ema.schedule": "cosine",
    "train.warmup_start": 0.0,
    "train.final_lr": 0.0,
    "train.clip": 0.0,
    "online.lr": 0.3,
    "online.weight_decay": 0.0,
}
SMALL = (
    SHARED
    | both_views(32, (0.2, 1.0), interpolation="bicubic", saturation=0.2, blur=0.0)
    | {
        "method": MoCoV3(temperature=0.2, hidden=1024, out=128, projector_layers=2, predictor_norm="none"),
        "backbone": SmallResNet(widths=(32, 64, 128, 256)),
        "policy.views.1.solarise": 0.2,
        "policy.mean": CIFAR100[0],
        "policy.std": CIFAR100[1],
        "train.epochs": 20,
        "train.batch": 128,
        "train.warmup_epochs": 1,
        "train.precision": "bf16",
    }
)
TINY = SMALL | {
    "method": MoCoV3(temperature=0.2, hidden=512, out=128, projector_layers=2, predictor_norm="none"),
    "backbone": SmallResNet(widths=(16, 32, 64, 128)),
    "train.epochs": 4,
    "train.warmup_epochs": 0.25,
    "train.precision": "fp32",
    "log.knn_images": 20_000,
}
DIGITS = (
    SHARED
    | both_views(32, (0.5, 1.0), flip=0.0, saturation=0.8, hue=0.5, grey=0.6, blur=0.0)
    | {
        "method": MoCoV3(temperature=0.2, hidden=512, out=128, projector_layers=2, predictor_norm="none"),
        "backbone": SmallResNet(widths=(16, 32, 64)),
        "policy.mean": (0.5, 0.5, 0.5),
        "policy.std": (0.25, 0.25, 0.25),
        "train.epochs": 16,
        "train.batch": 64,
        "train.warmup_epochs": 1,
        "train.precision": "fp32",
    }
)
MEASURED = {"mocov3_cifar100_small": SMALL, "mocov3_cifar100_tiny": TINY, "mocov3_digits": DIGITS}
