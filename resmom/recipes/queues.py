"""Methods with a queue of keys: MoCo-v2, ReSSL and MSF."""

from dataclasses import replace

from resmom.config import Log, Run
from resmom.evaluate.online import Online
from resmom.losses.residual import Residual
from resmom.methods.mocov2 import MoCoV2
from resmom.methods.msf import MSF
from resmom.methods.ressl import ReSSL
from resmom.nets.backbones import ResNet
from resmom.nets.teacher import Ema
from resmom.train.optim import Sgd
from resmom.train.plan import Train
from resmom.views.policy import (
    CIFAR10,
    CIFAR100,
    mocov2_imagenet,
    mocov2plus_cifar,
    msf_imagenet,
    ressl_cifar,
)

_AT_Z = Residual(site="z")
"""No predictor in these methods; the weight stays 0 until the twin sets it."""

# solo-learn's runs on CIFAR: padding-2 stem, 1000 epochs at batch 256, fp16, warm-up from 3e-5.
_CIFAR_R18 = ResNet(18, stem="small_pad2")
_CIFAR_TRAIN = Train(epochs=1000, batch=256, warmup_epochs=10, warmup_start=3e-5, precision="fp16")
_CIFAR_LOG = Log(knn_epochs=20, keep_epochs=100)


def mocov2plus_cifar100_r18() -> Run:
    """MoCo-v2+ (symmetric MoCo-v2) on CIFAR-100, ResNet-18, 1000 epochs.

    Source: solo-learn (da Costa et al., JMLR 2022), scripts/pretrain/cifar/mocov2plus.yaml.
    Command: resmom pretrain mocov2plus_cifar100_r18 --data cifar100 --out RUN
    Published: 69.89 top-1, online linear, one seed. Ours: not measured yet.
    """
    return Run(
        method=MoCoV2(temperature=0.2, hidden=2048, out=256, queue=32768, symmetric=True),
        backbone=_CIFAR_R18,
        policy=mocov2plus_cifar(*CIFAR100),
        optim=Sgd(lr=0.3, weight_decay=1e-4),
        ema=Ema(0.99, 0.999),
        residual=_AT_Z,
        train=_CIFAR_TRAIN,
        online=Online(lr=0.3),
        log=_CIFAR_LOG,
    )


def mocov2plus_cifar10_r18() -> Run:
    """MoCo-v2+ (symmetric MoCo-v2) on CIFAR-10, ResNet-18, 1000 epochs.

    Source: solo-learn (da Costa et al., JMLR 2022), scripts/pretrain/cifar/mocov2plus.yaml.
    Command: resmom pretrain mocov2plus_cifar10_r18 --data cifar10 --out RUN
    Published: 92.94 top-1, online linear, one seed. Ours: not measured yet.
    """
    return replace(mocov2plus_cifar100_r18(), policy=mocov2plus_cifar(*CIFAR10))


def ressl_cifar100_r18() -> Run:
    """ReSSL on CIFAR-100, ResNet-18, 1000 epochs. Its queue is longer than the data set; published so.

    Source: solo-learn (da Costa et al., JMLR 2022), scripts/pretrain/cifar/ressl.yaml, the queue by default. There
    both networks also pass over the view that the loss does not need, which their batch statistics record.
    Command: resmom pretrain ressl_cifar100_r18 --data cifar100 --out RUN
    Published: 65.92 top-1, online linear, one seed. Ours: not measured yet.
    """
    return Run(
        method=ReSSL(student_temperature=0.1, teacher_temperature=0.04, hidden=4096, out=256, queue=65536),
        backbone=_CIFAR_R18,
        policy=ressl_cifar(*CIFAR100),
        optim=Sgd(lr=0.05, weight_decay=1e-4),
        ema=Ema(0.99, 1.0),
        residual=_AT_Z,
        train=_CIFAR_TRAIN,
        online=Online(lr=0.1),
        log=_CIFAR_LOG,
    )


def ressl_cifar10_r18() -> Run:
    """ReSSL on CIFAR-10, ResNet-18, 1000 epochs. Its queue is longer than the data set; published so.

    Source: solo-learn (da Costa et al., JMLR 2022), scripts/pretrain/cifar/ressl.yaml; see ressl_cifar100_r18.
    Command: resmom pretrain ressl_cifar10_r18 --data cifar10 --out RUN
    Published: 90.63 top-1, online linear, one seed. Ours: not measured yet.
    """
    return replace(ressl_cifar100_r18(), policy=ressl_cifar(*CIFAR10))


def mocov2_imagenet_r50() -> Run:
    """MoCo-v2 on ImageNet, ResNet-50, 200 epochs.

    Source: facebookresearch/moco, README.md and main_moco.py (arXiv 2003.04297). 8 GPUs normalised 32 images each, keys
    shuffled among them: the groups of 32 here, on however many devices. Rate by epoch there, by step here.
    Command: resmom pretrain mocov2_imagenet_r50 --data IMAGENET --out RUN
    Published: 67.5 top-1, offline linear. Ours: not measured yet.
    """
    return Run(
        method=MoCoV2(temperature=0.2, hidden=2048, out=128, queue=65536, shuffle_bn=32),
        backbone=ResNet(50),
        policy=mocov2_imagenet(),
        optim=Sgd(lr=0.03, weight_decay=1e-4),
        ema=Ema(0.999, 0.999),
        residual=_AT_Z,
        train=Train(epochs=200, batch=256, warmup_epochs=0, precision="fp16"),
        online=Online(lr=0.1),
        log=Log(knn_epochs=10, keep_epochs=50),
    )


def mocov2_imagenet_r50_800ep() -> Run:
    """MoCo-v2 on ImageNet, ResNet-50, 800 epochs.

    Source: facebookresearch/moco, README.md and main_moco.py (arXiv 2003.04297); see mocov2_imagenet_r50.
    Command: resmom pretrain mocov2_imagenet_r50_800ep --data IMAGENET --out RUN
    Published: 71.1 top-1, offline linear. Ours: not measured yet.
    """
    run = mocov2_imagenet_r50()
    return replace(run, train=replace(run.train, epochs=800))


def msf_imagenet_r50() -> Run:
    """MSF on ImageNet, ResNet-50, 200 epochs: the student's view strong, the teacher's weak ("w/s").

    Source: UMBCvision/MSF, README.md and train_msf.py (arXiv 2105.07269): the command and the result beside it, with 10
    neighbours in a bank of 128,000; the paper's text has 5, its table 71.4 without and 72.4 with "w/s". Four GPUs
    normalised 64 images each, targets shuffled among them: the groups of 64 here. Rate by epoch there, by step here.
    Command: resmom pretrain msf_imagenet_r50 --data IMAGENET --out RUN
    Published: 72.4 top-1, offline linear. Ours: not measured yet.
    """
    return Run(
        method=MSF(topk=10, queue=128000, shuffle_bn=64),
        backbone=ResNet(50),
        policy=msf_imagenet(),
        optim=Sgd(lr=0.05, weight_decay=1e-4),
        ema=Ema(0.99, 0.99),
        train=Train(epochs=200, batch=256, warmup_epochs=0, precision="fp16"),
        online=Online(lr=0.1),
        log=Log(knn_epochs=10, keep_epochs=50),
    )
