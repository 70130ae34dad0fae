"""Methods without a teacher on CIFAR-10 and CIFAR-100, in solo-learn's settings: baselines beside the momentum methods.

They have no gap between student and teacher, so none of them has a twin with the residual term.
"""

from dataclasses import replace

from resmom.config import Log, Run
from resmom.evaluate.online import Online
from resmom.methodconfig import MethodConfig
from resmom.methods.barlow import BarlowTwins
from resmom.methods.nnclr import NNCLR
from resmom.methods.simclr import SimCLR
from resmom.methods.simsiam import SimSiam
from resmom.methods.vicreg import VICReg
from resmom.nets.backbones import ResNet
from resmom.train.optim import Lars, OptimConfig, Sgd
from resmom.train.plan import Train
from resmom.views.policy import CIFAR10, CIFAR100, Policy, mocov2plus_cifar, mocov3_cifar, simclr_cifar, vicreg_cifar


def _run(method: MethodConfig, policy: Policy, optim: OptimConfig) -> Run:
    """What all of solo-learn's CIFAR runs share: see resmom/recipes/cifar.py."""
    return Run(
        method=method,
        backbone=ResNet(18, stem="small_pad2"),
        policy=policy,
        optim=optim,
        train=Train(epochs=1000, batch=256, warmup_epochs=10, warmup_start=3e-5, precision="fp16"),
        online=Online(lr=0.1),
        log=Log(knn_epochs=20, keep_epochs=100),
    )


def _lars(lr: float, weight_decay: float) -> Lars:
    return Lars(lr=lr, weight_decay=weight_decay, trust=0.02, form="clipped")


def _on_cifar10(run: Run) -> Run:
    return replace(run, policy=replace(run.policy, mean=CIFAR10[0], std=CIFAR10[1]))


def simsiam_cifar100_r18() -> Run:
    """SimSiam on CIFAR-100, ResNet-18, 1000 epochs.

    Source: solo-learn (da Costa et al., JMLR 2022), scripts/pretrain/cifar/simsiam.yaml.
    Command: resmom pretrain simsiam_cifar100_r18 --data cifar100 --out RUN
    Published: 66.04 top-1, online linear, one seed. Ours: not measured yet.
    """
    return _run(SimSiam(), mocov2plus_cifar(*CIFAR100), Sgd(lr=0.5, weight_decay=1e-5))


def simsiam_cifar10_r18() -> Run:
    """SimSiam on CIFAR-10, ResNet-18, 1000 epochs.

    Source: solo-learn (da Costa et al., JMLR 2022), scripts/pretrain/cifar/simsiam.yaml.
    Command: resmom pretrain simsiam_cifar10_r18 --data cifar10 --out RUN
    Published: 90.51 top-1, online linear, one seed. Ours: not measured yet.
    """
    return _on_cifar10(simsiam_cifar100_r18())


def simclr_cifar100_r18() -> Run:
    """SimCLR on CIFAR-100, ResNet-18, 1000 epochs.

    Source: solo-learn (da Costa et al., JMLR 2022), scripts/pretrain/cifar/simclr.yaml.
    Command: resmom pretrain simclr_cifar100_r18 --data cifar100 --out RUN
    Published: 65.78 top-1, online linear, one seed. Ours: not measured yet.
    """
    return _run(SimCLR(), simclr_cifar(*CIFAR100), _lars(0.4, 1e-4))


def simclr_cifar10_r18() -> Run:
    """SimCLR on CIFAR-10, ResNet-18, 1000 epochs.

    Source: solo-learn (da Costa et al., JMLR 2022), scripts/pretrain/cifar/simclr.yaml.
    Command: resmom pretrain simclr_cifar10_r18 --data cifar10 --out RUN
    Published: 90.74 top-1, online linear, one seed. Ours: not measured yet.
    """
    return _on_cifar10(simclr_cifar100_r18())


def barlow_cifar100_r18() -> Run:
    """Barlow Twins on CIFAR-100, ResNet-18, 1000 epochs.

    Source: solo-learn (da Costa et al., JMLR 2022), scripts/pretrain/cifar/barlow.yaml.
    Command: resmom pretrain barlow_cifar100_r18 --data cifar100 --out RUN
    Published: 70.90 top-1, online linear, one seed. Ours: not measured yet.
    """
    return _run(BarlowTwins(redundancy=0.0051, scale=0.1), mocov3_cifar(*CIFAR100), _lars(0.3, 1e-4))


def barlow_cifar10_r18() -> Run:
    """Barlow Twins on CIFAR-10, ResNet-18, 1000 epochs.

    Source: solo-learn (da Costa et al., JMLR 2022), scripts/pretrain/cifar/barlow.yaml.
    Command: resmom pretrain barlow_cifar10_r18 --data cifar10 --out RUN
    Published: 92.10 top-1, online linear, one seed. Ours: not measured yet.
    """
    return _on_cifar10(barlow_cifar100_r18())


def vicreg_cifar100_r18() -> Run:
    """VICReg on CIFAR-100, ResNet-18, 1000 epochs.

    Source: solo-learn (da Costa et al., JMLR 2022), scripts/pretrain/cifar/vicreg.yaml.
    Command: resmom pretrain vicreg_cifar100_r18 --data cifar100 --out RUN
    Published: 68.54 top-1, online linear, one seed. Ours: not measured yet.
    """
    return _run(VICReg(), vicreg_cifar(*CIFAR100), _lars(0.3, 1e-4))


def vicreg_cifar10_r18() -> Run:
    """VICReg on CIFAR-10, ResNet-18, 1000 epochs.

    Source: solo-learn (da Costa et al., JMLR 2022), scripts/pretrain/cifar/vicreg.yaml.
    Command: resmom pretrain vicreg_cifar10_r18 --data cifar10 --out RUN
    Published: 92.07 top-1, online linear, one seed. Ours: not measured yet.
    """
    return _on_cifar10(vicreg_cifar100_r18())


def nnclr_cifar100_r18() -> Run:
    """NNCLR on CIFAR-100, ResNet-18, 1000 epochs.

    Source: solo-learn (da Costa et al., JMLR 2022), scripts/pretrain/cifar/nnclr.yaml.
    The support set of 65536 is longer than the data set of 50,000: published so.
    Command: resmom pretrain nnclr_cifar100_r18 --data cifar100 --out RUN
    Published: 69.62 top-1, online linear, one seed. Ours: not measured yet.
    """
    return _run(NNCLR(), mocov3_cifar(*CIFAR100), _lars(0.4, 1e-5))


def nnclr_cifar10_r18() -> Run:
    """NNCLR on CIFAR-10, ResNet-18, 1000 epochs.

    Source: solo-learn (da Costa et al., JMLR 2022), scripts/pretrain/cifar/nnclr.yaml.
    The support set of 65536 is longer than the data set of 50,000: published so.
    Command: resmom pretrain nnclr_cifar10_r18 --data cifar10 --out RUN
    Published: 91.88 top-1, online linear, one seed. Ours: not measured yet.
    """
    return _on_cifar10(nnclr_cifar100_r18())
