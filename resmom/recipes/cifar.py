"""CIFAR-10 and CIFAR-100."""

from dataclasses import replace

from resmom.config import Log, Run
from resmom.evaluate.online import Online
from resmom.losses.residual import Residual
from resmom.methods.byol import Byol
from resmom.methods.dino import Dino
from resmom.methods.mocov3 import MoCoV3
from resmom.nets.backbones import ResNet, SmallResNet
from resmom.nets.teacher import Ema
from resmom.train.optim import Lars, Sgd
from resmom.train.plan import Train
from resmom.views.policy import CIFAR10, CIFAR100, mocov3_cifar

# solo-learn's runs: padding-2 stem, LARS clipped with trust .02, 1000 epochs at batch 256, fp16, warm-up from 3e-5.
_R18 = ResNet(18, stem="small_pad2")
_TRAIN = Train(epochs=1000, batch=256, warmup_epochs=10, warmup_start=3e-5, precision="fp16")


def _lars(lr: float, weight_decay: float) -> Lars:
    return Lars(lr=lr, weight_decay=weight_decay, trust=0.02, form="clipped")


def mocov3_cifar100_r18() -> Run:
    """MoCo-v3 on CIFAR-100, ResNet-18, 1000 epochs.

    Source: solo-learn (da Costa et al., JMLR 2022), scripts/pretrain/cifar/mocov3.yaml.
    Command: resmom pretrain mocov3_cifar100_r18 --data cifar100 --out RUN
    Published: 68.83 top-1, online linear, one seed. Ours: not measured yet.
    """
    return Run(
        method=MoCoV3(temperature=0.2),
        backbone=_R18,
        policy=mocov3_cifar(*CIFAR100),
        optim=_lars(0.3, 1e-6),
        ema=Ema(0.99, 1.0),
        train=_TRAIN,
        online=Online(lr=0.3),
        log=Log(knn_epochs=20, keep_epochs=100),
    )


def mocov3_cifar10_r18() -> Run:
    """MoCo-v3 on CIFAR-10, ResNet-18, 1000 epochs.

    Source: solo-learn (da Costa et al., JMLR 2022), scripts/pretrain/cifar/mocov3.yaml.
    Command: resmom pretrain mocov3_cifar10_r18 --data cifar10 --out RUN
    Published: 93.10 top-1, online linear, one seed. Ours: not measured yet.
    """
    return _on_cifar10(mocov3_cifar100_r18())


def byol_cifar100_r18() -> Run:
    """BYOL on CIFAR-100, ResNet-18, 1000 epochs.

    Source: solo-learn (da Costa et al., JMLR 2022), scripts/pretrain/cifar/byol.yaml.
    Command: resmom pretrain byol_cifar100_r18 --data cifar100 --out RUN
    Published: 70.46 top-1, online linear, one seed. Ours: not measured yet.
    """
    return Run(
        method=Byol(),
        backbone=_R18,
        policy=mocov3_cifar(*CIFAR100),
        optim=_lars(1.0, 1e-5),
        ema=Ema(0.99, 1.0),
        train=_TRAIN,
        online=Online(lr=0.1),
        log=Log(knn_epochs=20, keep_epochs=100),
    )


def byol_cifar10_r18() -> Run:
    """BYOL on CIFAR-10, ResNet-18, 1000 epochs.

    Source: solo-learn (da Costa et al., JMLR 2022), scripts/pretrain/cifar/byol.yaml.
    Command: resmom pretrain byol_cifar10_r18 --data cifar10 --out RUN
    Published: 92.58 top-1, online linear, one seed. Ours: not measured yet.
    """
    return _on_cifar10(byol_cifar100_r18())


def dino_cifar100_r18() -> Run:
    """DINO on CIFAR-100, ResNet-18, 1000 epochs, two views.

    Source: solo-learn (da Costa et al., JMLR 2022), scripts/pretrain/cifar/dino.yaml.
    Command: resmom pretrain dino_cifar100_r18 --data cifar100 --out RUN
    Published: 66.76 top-1, online linear, one seed. Ours: not measured yet.
    """
    return Run(
        method=Dino(prototypes=4096, temperature_epochs=0),
        backbone=_R18,
        policy=mocov3_cifar(*CIFAR100),
        optim=_lars(0.3, 1e-6),
        ema=Ema(0.9995, 1.0),
        residual=Residual(site="z"),  # no predictor; the weight stays 0 until the twin sets it
        train=_TRAIN,
        online=Online(lr=0.1),
        log=Log(knn_epochs=20, keep_epochs=100),
    )


def dino_cifar10_r18() -> Run:
    """DINO on CIFAR-10, ResNet-18, 1000 epochs, two views.

    Source: solo-learn (da Costa et al., JMLR 2022), scripts/pretrain/cifar/dino.yaml.
    Command: resmom pretrain dino_cifar10_r18 --data cifar10 --out RUN
    Published: 89.52 top-1, online linear, one seed. Ours: not measured yet.
    """
    return _on_cifar10(dino_cifar100_r18())


def _on_cifar10(run: Run) -> Run:
    return replace(run, policy=mocov3_cifar(*CIFAR10))


def mocov3_cifar100_small() -> Run:
    """MoCo-v3 on CIFAR-100 without a GPU: a small ResNet, a short schedule.

    Source: ours; temperature and views as in mocov3_cifar100_r18, but crops from a fifth of the image and batch 128,
    which learn faster in few epochs. bf16, which current server CPUs do fast (add --train.precision fp32 elsewhere).
    Command: resmom pretrain mocov3_cifar100_small --data cifar100 --out RUN
    Hours: about 25 minutes on 2 CPU cores.
    Result: 35.19 kNN, 32.31 online linear (one seed, last epoch; docs/log.md).
    """
    policy = mocov3_cifar(*CIFAR100)
    return Run(
        method=MoCoV3(temperature=0.2, hidden=1024, out=128),
        backbone=SmallResNet(widths=(32, 64, 128, 256)),
        policy=replace(policy, views=tuple(replace(view, scale=(0.2, 1.0)) for view in policy.views)),
        optim=Sgd(lr=0.3, weight_decay=1e-4),
        ema=Ema(0.99, 1.0),
        train=Train(epochs=20, batch=128, warmup_epochs=1, precision="bf16"),
        online=Online(lr=0.3),
        log=Log(knn_epochs=5, line_steps=20),
    )


def mocov3_cifar100_tiny() -> Run:
    """MoCo-v3 on CIFAR-100 at its cheapest: half the widths and heads of mocov3_cifar100_small, a fifth of its length.

    Source: ours, for grids of many arms and seeds without a GPU. float32, so that every CPU computes it alike.
    Command: resmom pretrain mocov3_cifar100_tiny --data cifar100 --out RUN --threads 1
    Hours: about 8 minutes on one CPU core.
    Result: 18.7 kNN, 18.3 online linear (mean of five seeds, last epoch; docs/results/questions.md).
    """
    run = mocov3_cifar100_small()
    return replace(
        run,
        method=MoCoV3(temperature=0.2, hidden=512, out=128),
        backbone=SmallResNet(widths=(16, 32, 64, 128)),
        train=replace(run.train, epochs=4, warmup_epochs=0.25, precision="fp32"),
        log=Log(knn_epochs=0, knn_images=20_000, line_steps=20),
    )
