"""ImageNet-100 in solo-learn's settings: a hundred of ImageNet's classes, `train/WNID/` and `val/WNID/` in one folder.

Which classes: solo/data/dataset_subset/imagenet100_classes.txt there. Its decoding and views are DALI's.
MoCo-v3 stands in its table with a ResNet-50 too, whose settings it does not have, so that this is no recipe.
"""

from dataclasses import replace

from resmom.config import Log, Run
from resmom.evaluate.online import Online
from resmom.losses.residual import Residual
from resmom.methodconfig import MethodConfig, site_for
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
from resmom.nets.teacher import Ema
from resmom.train.optim import Lars, OptimConfig, Sgd
from resmom.train.plan import Train
from resmom.views.policy import (
    IMAGENET,
    Policy,
    mocov2plus_cifar,
    mocov3_cifar,
    ressl_cifar,
    simclr_cifar,
    vicreg_cifar,
)


def _run(method: MethodConfig, policy: Policy, optim: OptimConfig, online: float = 0.1, ema: Ema | None = None) -> Run:
    """What all of solo-learn's ImageNet-100 runs share: two processes of 128 images, so rates are per 256."""
    return Run(
        method=method,
        backbone=ResNet(18),
        policy=policy,
        optim=optim,
        ema=ema or Ema(),
        residual=Residual(site=site_for(method)),
        train=Train(epochs=400, batch=256, warmup_epochs=10, warmup_start=3e-5, precision="fp16"),
        online=Online(lr=online),
        log=Log(knn_epochs=10, keep_epochs=50),
    )


def _large(policy: Policy, *blur: float) -> Policy:
    """solo-learn's views of CIFAR at 224 pixels, where it blurs: the probabilities, if they are not the policy's."""
    views = [replace(view, size=224) for view in policy.views]
    return replace(
        policy, views=tuple(replace(v, blur=b) for v, b in zip(views, blur, strict=True)) if blur else tuple(views)
    )


def _asymmetric() -> Policy:
    return _large(mocov3_cifar(*IMAGENET), 1.0, 0.1)


def _lars(lr: float, weight_decay: float) -> Lars:
    return Lars(lr=lr, weight_decay=weight_decay, trust=0.02, form="clipped")


def mocov3_imagenet100_r18() -> Run:
    """MoCo-v3 on ImageNet-100, ResNet-18, 400 epochs.

    Source: solo-learn (da Costa et al., JMLR 2022), scripts/pretrain/imagenet-100/mocov3.yaml.
    Command: resmom pretrain mocov3_imagenet100_r18 --data IMAGENET100 --out RUN
    Published: 80.36 top-1, online linear (80.36 offline), one seed. Ours: not measured yet.
    """
    return _run(MoCoV3(temperature=0.2), _asymmetric(), _lars(0.3, 1e-6), online=0.3, ema=Ema(0.99, 1.0))


def byol_imagenet100_r18() -> Run:
    """BYOL on ImageNet-100, ResNet-18, 400 epochs.

    Source: solo-learn (da Costa et al., JMLR 2022), scripts/pretrain/imagenet-100/byol.yaml.
    Command: resmom pretrain byol_imagenet100_r18 --data IMAGENET100 --out RUN
    Published: 80.16 top-1, online linear (80.32 offline), one seed. Ours: not measured yet.
    """
    return _run(Byol(predictor_hidden=8192), _asymmetric(), _lars(0.5, 1e-6), ema=Ema(0.99, 1.0))


def mocov2plus_imagenet100_r18() -> Run:
    """MoCo-v2+ (symmetric MoCo-v2) on ImageNet-100, ResNet-18, 400 epochs.

    Source: solo-learn (da Costa et al., JMLR 2022), scripts/pretrain/imagenet-100/mocov2plus.yaml.
    Command: resmom pretrain mocov2plus_imagenet100_r18 --data IMAGENET100 --out RUN
    Published: 78.20 top-1, online linear (79.28 offline), one seed. Ours: not measured yet.
    """
    return _run(
        MoCoV2(out=256, symmetric=True),
        _large(mocov2plus_cifar(*IMAGENET)),
        Sgd(0.3, 1e-4),
        online=0.3,
        ema=Ema(0.99, 0.999),
    )


def dino_imagenet100_r18() -> Run:
    """DINO on ImageNet-100, ResNet-18, 400 epochs, two views.

    Source: solo-learn (da Costa et al., JMLR 2022), scripts/pretrain/imagenet-100/dino.yaml.
    Command: resmom pretrain dino_imagenet100_r18 --data IMAGENET100 --out RUN
    Published: 74.84 top-1, online linear (74.92 offline), one seed. Ours: not measured yet.
    """
    return _run(Dino(prototypes=4096, temperature_epochs=50), _asymmetric(), _lars(0.3, 1e-6), ema=Ema(0.9995, 1.0))


def ressl_imagenet100_r18() -> Run:
    """ReSSL on ImageNet-100, ResNet-18, 400 epochs.

    Source: solo-learn (da Costa et al., JMLR 2022), scripts/pretrain/imagenet-100/ressl.yaml.
    Command: resmom pretrain ressl_imagenet100_r18 --data IMAGENET100 --out RUN
    Published: 76.92 top-1, online linear (78.48 offline), one seed. Ours: not measured yet.
    """
    return _run(ReSSL(out=256, queue=65536), _large(ressl_cifar(*IMAGENET)), Sgd(0.3, 1e-4), ema=Ema(0.99, 1.0))


def simsiam_imagenet100_r18() -> Run:
    """SimSiam on ImageNet-100, ResNet-18, 400 epochs.

    Source: solo-learn (da Costa et al., JMLR 2022), scripts/pretrain/imagenet-100/simsiam.yaml.
    Command: resmom pretrain simsiam_imagenet100_r18 --data IMAGENET100 --out RUN
    Published: 74.54 top-1, online linear (78.72 offline), one seed. Ours: not measured yet.
    """
    return _run(SimSiam(), _asymmetric(), Sgd(0.5, 1e-5))


def simclr_imagenet100_r18() -> Run:
    """SimCLR on ImageNet-100, ResNet-18, 400 epochs.

    Source: solo-learn (da Costa et al., JMLR 2022), scripts/pretrain/imagenet-100/simclr.yaml.
    Command: resmom pretrain simclr_imagenet100_r18 --data IMAGENET100 --out RUN
    Published: 77.64 top-1, online linear, one seed. Ours: not measured yet.
    """
    return _run(SimCLR(hidden=4096, out=512), _large(simclr_cifar(*IMAGENET)), _lars(0.3, 1e-4))


def barlow_imagenet100_r18() -> Run:
    """Barlow Twins on ImageNet-100, ResNet-18, 400 epochs.

    Source: solo-learn (da Costa et al., JMLR 2022), scripts/pretrain/imagenet-100/barlow.yaml.
    Command: resmom pretrain barlow_imagenet100_r18 --data IMAGENET100 --out RUN
    Published: 80.38 top-1, online linear (80.16 offline), one seed. Ours: not measured yet.
    """
    return _run(BarlowTwins(redundancy=0.0051, scale=0.1), _asymmetric(), _lars(0.3, 1e-4))


def vicreg_imagenet100_r18() -> Run:
    """VICReg on ImageNet-100, ResNet-18, 400 epochs.

    Source: solo-learn (da Costa et al., JMLR 2022), scripts/pretrain/imagenet-100/vicreg.yaml.
    Command: resmom pretrain vicreg_imagenet100_r18 --data IMAGENET100 --out RUN
    Published: 79.22 top-1, online linear (79.40 offline), one seed. Ours: not measured yet.
    """
    return _run(VICReg(), _large(vicreg_cifar(*IMAGENET), 0.5, 0.5), _lars(0.3, 1e-4))


def nnclr_imagenet100_r18() -> Run:
    """NNCLR on ImageNet-100, ResNet-18, 400 epochs.

    Source: solo-learn (da Costa et al., JMLR 2022), scripts/pretrain/imagenet-100/nnclr.yaml.
    Command: resmom pretrain nnclr_imagenet100_r18 --data IMAGENET100 --out RUN
    Published: 79.80 top-1, online linear (80.16 offline), one seed. Ours: not measured yet.
    """
    return _run(NNCLR(), _asymmetric(), _lars(0.4, 1e-5))
