"""Methods without a teacher on CIFAR-10 and CIFAR-100, in solo-learn's settings: baselines beside the momentum methods.

They have no gap between student and teacher, so none of them has a twin with the residual term.
"""

from dataclasses import replace

from resmom.config import Log, MethodConfig, Run
from resmom.evaluate.online import Online
from resmom.methods.simsiam import SimSiam
from resmom.nets.backbones import ResNet
from resmom.train.optim import OptimConfig, Sgd
from resmom.train.plan import Train
from resmom.views.policy import CIFAR10, CIFAR100, Policy, mocov2plus_cifar


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
