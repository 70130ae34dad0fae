"""lightly's settings for Imagenette: imagenette_benchmark.py at commit 3ea0736, and the classes that it uses."""

from resmom.methods.barlow import BarlowTwins
from resmom.methods.byol import Byol
from resmom.methods.dino import Dino
from resmom.methods.mocov2 import MoCoV2
from resmom.methods.nnclr import NNCLR
from resmom.methods.simclr import SimCLR
from resmom.methods.simsiam import SimSiam
from resmom.methods.vicreg import VICReg
from resmom.nets.backbones import ResNet
from resmom.train.optim import Lars, Sgd
from resmom.views.policy import IMAGENET
from tests.recipes.queues import both_views

SGD = Sgd(lr=0.06, weight_decay=5e-4, momentum=0.9)
SHARED = {
    "backbone": ResNet(18, stem="imagenet", zero_init_residual=False),
    "policy.mean": IMAGENET[0],
    "policy.std": IMAGENET[1],
    "optim": SGD,
    "train.batch": 256,
    "train.warmup_epochs": 0,
    "train.final_lr": 0.0,
    "train.drops": (),
    "train.precision": "fp32",
    "train.clip": 0.0,
    "knn.k": 200,
    "knn.temperature": 0.1,
}
EMA = {"ema.momentum": 0.99, "ema.final": 0.99, "ema.batch_norm": "own", "ema.part": "all"}
SIMCLR_VIEWS = both_views(128, (0.08, 1.0), interpolation="bilinear")
MULTI_CROP = {
    f"policy.views.{v}.{name}": value
    for v in range(8)
    for name, value in {
        "size": 128 if v < 2 else 64,
        "scale": (0.4, 1.0) if v < 2 else (0.05, 0.4),
        "interpolation": "bicubic",
        "flip": 0.5,
        "jitter": 0.8,
        "brightness": 0.4,
        "contrast": 0.4,
        "saturation": 0.2,
        "hue": 0.1,
        "grey": 0.2,
        "blur": (1.0, 0.1)[v] if v < 2 else 0.5,
        "sigma": (0.1, 2.0),
        "solarise": 0.2 if v == 1 else 0.0,
    }.items()
}

OWN: dict[str, dict[str, object]] = {
    "mocov2": {"method": MoCoV2(temperature=0.1, hidden=2048, out=128, queue=4096, symmetric=True)}
    | EMA
    | SIMCLR_VIEWS,
    # Their loss is a quarter of ours: the rate is a quarter too, and the decay four times as large.
    "byol": {
        "method": Byol(hidden=4096, out=256, predictor_hidden=4096),
        "optim": Sgd(lr=0.06 / 4, weight_decay=4 * 5e-4, momentum=0.9),
    }
    | EMA
    | SIMCLR_VIEWS,
    "dino": {
        "method": Dino(
            hidden=2048,
            out=256,
            prototypes=2048,
            gains=False,
            batch_norm=True,
            deviation=0.2,
            student_temperature=0.1,
            teacher_temperature=0.04,
            temperature_epochs=0,
            centre_momentum=0.9,
            frozen_epochs=0.0,
        )
    }
    | EMA
    | MULTI_CROP,
    "simclr": {"method": SimCLR(temperature=0.5, hidden=512, out=128, batch_norm=True)} | SIMCLR_VIEWS,
    "simsiam": {"method": SimSiam(hidden=2048, out=2048, predictor_hidden=512, steady_predictor=False)}
    | both_views(128, (0.2, 1.0), interpolation="bilinear"),
    "barlow": {"method": BarlowTwins(redundancy=0.005, scale=1.0, hidden=2048, out=2048)} | SIMCLR_VIEWS,
    "nnclr": {"method": NNCLR(0.5, queue=4096, hidden=2048, out=256, predictor_hidden=4096, nt_xent=True)}
    | SIMCLR_VIEWS,
    # Half of the paper's weight of the variance: so their loss has it, as the authors' code does.
    "vicreg": {
        "method": VICReg(invariance=25.0, variance=12.5, covariance=1.0, hidden=2048, out=2048),
        "optim": Lars(lr=0.3, weight_decay=1e-4, momentum=0.9, trust=0.001, form="paper"),
        "train.warmup_epochs": 20,
    }
    | both_views(128, (0.08, 1.0), interpolation="bilinear", saturation=0.2, solarise=0.1),
}
LONG: dict[str, dict[str, object]] = {"vicreg": {"train.warmup_epochs": 40}}

PUBLISHED = {
    f"{method}_imagenette_r18{ending}": SHARED | own | changes.get(method, {}) | {"train.epochs": epochs}
    for method, own in OWN.items()
    for ending, epochs, changes in (("", 200, {}), ("_800ep", 800, LONG))
}
