"""The settings of Ermolov et al. 2021 on STL-10 and Tiny-ImageNet: htdt/self-supervised at commit d9662c8."""

from resmom.methods.byol import Byol
from resmom.methods.simclr import SimCLR
from resmom.nets.backbones import ResNet
from resmom.train.optim import Adam
from tests.recipes.queues import both_views

SHARED = both_views(64, (0.2, 1.0), interpolation="bicubic", grey=0.1, blur=0.0) | {
    "backbone": ResNet(18, stem="small_pool", zero_init_residual=False),
    "optim": Adam(lr=2e-3 * 256 / 512, weight_decay=1e-6, betas=(0.9, 0.999)),
    "ema.momentum": 0.99,
    "ema.final": 1.0,
    "ema.schedule": "cosine",
    "train.batch": 512,
    "train.warmup_start": 2e-3 / 500,
    "train.drop_factor": 0.2,
    "train.precision": "fp32",
    "train.clip": 0.0,
    "knn.k": 5,
}
METHODS = {
    "byol": Byol(hidden=1024, out=128, predictor_hidden=1024),
    "simclr": SimCLR(temperature=0.5, hidden=1024, out=128, batch_norm=True),
}
DATA: dict[str, dict[str, object]] = {
    "stl10": {
        "policy.mean": (0.43, 0.42, 0.39),
        "policy.std": (0.27, 0.26, 0.27),
        "train.epochs": 2000,
        "train.drops": (0.975, 0.9875),
        "train.warmup_epochs": 500 / (105_000 // 512),
    },
    "tinyimagenet": {
        "policy.mean": (0.480, 0.448, 0.398),
        "policy.std": (0.277, 0.269, 0.282),
        "train.epochs": 1000,
        "train.drops": (0.95, 0.975),
        "train.warmup_epochs": 500 / (100_000 // 512),
    },
}

PUBLISHED = {
    f"{method}_{data}_r18": SHARED | settings | {"method": config}
    for data, settings in DATA.items()
    for method, config in METHODS.items()
}
