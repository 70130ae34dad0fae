"""The published settings of methods with a queue: solo-learn's for CIFAR, the authors' for ImageNet and COCO."""

from resmom.methods.densecl import DenseCL
from resmom.methods.mocov2 import MoCoV2
from resmom.methods.msf import MSF
from resmom.methods.ressl import ReSSL
from resmom.nets.backbones import ResNet
from resmom.train.optim import Sgd
from resmom.views.policy import CIFAR10, CIFAR100, IMAGENET


def both_views(size: int, scale: tuple[float, float], **changes: object) -> dict[str, object]:
    """The fields of two equal views, as MoCo-v2 has them, with changes."""
    view = {
        "size": size,
        "scale": scale,
        "ratio": (3 / 4, 4 / 3),
        "jitter": 0.8,
        "brightness": 0.4,
        "contrast": 0.4,
        "saturation": 0.4,
        "hue": 0.1,
        "grey": 0.2,
        "blur": 0.5,
        "sigma": (0.1, 2.0),
        "flip": 0.5,
        "solarise": 0.0,
    } | changes
    return {f"policy.views.{v}.{name}": value for v in (0, 1) for name, value in view.items()}


CIFAR = {
    "backbone": ResNet(18, stem="small_pad2"),
    "ema.momentum": 0.99,
    "train.epochs": 1000,
    "train.batch": 256,
    "train.warmup_epochs": 10,
    "train.warmup_start": 3e-5,
    "train.precision": "fp16",
    "train.clip": 0.0,
    "online.weight_decay": 0.0,
}
MOCO_CIFAR = (
    CIFAR
    | both_views(32, (0.08, 1.0), interpolation="bicubic")
    | {
        "method": MoCoV2(temperature=0.2, hidden=2048, out=256, queue=32768, symmetric=True),
        "optim": Sgd(lr=0.3, weight_decay=1e-4, momentum=0.9),
        "ema.final": 0.999,
        "online.lr": 0.3,
    }
)
RESSL_CIFAR = (
    CIFAR
    | both_views(32, (0.08, 1.0), interpolation="bicubic", saturation=0.2)
    | {
        "method": ReSSL(student_temperature=0.1, teacher_temperature=0.04, hidden=4096, out=256, queue=65536),
        "optim": Sgd(lr=0.05, weight_decay=1e-4, momentum=0.9),
        "ema.final": 1.0,
        "online.lr": 0.1,
        "policy.views.1.jitter": 0.0,
        "policy.views.1.grey": 0.0,
        "policy.views.1.blur": 0.0,
    }
)
del RESSL_CIFAR["policy.views.1.saturation"]  # without jitter it means nothing

LARGE = both_views(224, (0.2, 1.0), interpolation="bilinear") | {
    "policy.mean": IMAGENET[0],
    "policy.std": IMAGENET[1],
    "backbone": ResNet(50, stem="imagenet", zero_init_residual=False),
    "ema.momentum": 0.999,
    "ema.final": 0.999,
    "train.batch": 256,
    "train.warmup_epochs": 0,
    "train.clip": 0.0,
}
MOCO = LARGE | {
    "method": MoCoV2(temperature=0.2, hidden=2048, out=128, queue=65536, symmetric=False, shuffle_bn=32),
    "optim": Sgd(lr=0.03, weight_decay=1e-4, momentum=0.9),
    "train.epochs": 200,
}
MEAN_SHIFT = (
    {key: value for key, value in LARGE.items() if "views.1" not in key}
    | {f"policy.views.1.{name}": 0.0 for name in ("jitter", "grey", "blur", "solarise")}
    | {
        "policy.views.1.size": 224,
        "policy.views.1.scale": (0.2, 1.0),
        "policy.views.1.flip": 0.5,
        "method": MSF(
            topk=10, queue=128000, hidden=4096, out=512, predictor_hidden=4096, symmetric=False, shuffle_bn=64
        ),
        "optim": Sgd(lr=0.05, weight_decay=1e-4, momentum=0.9),
        "ema.momentum": 0.99,
        "ema.final": 0.99,
        "train.epochs": 200,
    }
)

COCO = LARGE | {
    "method": DenseCL(temperature=0.2, hidden=2048, out=128, queue=65536, dense_weight=0.5, shuffle_bn=32),
    "optim": Sgd(lr=0.3, weight_decay=1e-4, momentum=0.9),
    "train.epochs": 800,
    "train.precision": "fp32",
}

PUBLISHED: dict[str, dict[str, object]] = {
    "densecl_coco_r50_800ep": COCO,
    "densecl_coco_r50_1600ep": COCO | {"train.epochs": 1600},
    "densecl_imagenet_r50": COCO | {"train.epochs": 200, "optim": Sgd(lr=0.03, weight_decay=1e-4, momentum=0.9)},
    "mocov2_coco_r50_800ep": COCO
    | {"method": MoCoV2(temperature=0.2, hidden=2048, out=128, queue=65536, shuffle_bn=32)},
    "mocov2_imagenet_r50": MOCO,
    "msf_imagenet_r50": MEAN_SHIFT,
    "mocov2_imagenet_r50_800ep": MOCO | {"train.epochs": 800},
}
for data, (mean, std) in {"cifar10": CIFAR10, "cifar100": CIFAR100}.items():
    for method, settings in {"mocov2plus": MOCO_CIFAR, "ressl": RESSL_CIFAR}.items():
        PUBLISHED[f"{method}_{data}_r18"] = settings | {"policy.mean": mean, "policy.std": std}
