"""STL-10 and Tiny-ImageNet in the settings of Ermolov et al. 2021, "Whitening for Self-Supervised Representation …".

Source of all: arXiv 2007.06346, table 1 (Weng et al. 2022, arXiv 2210.03586, repeat its numbers), and the authors'
code, htdt/self-supervised at commit d9662c8: README.md, cfg.py, train.py, datasets/, methods/ and eval/. Adam with L2
decay 1e-6, rate 2e-3 for 512 images, warm-up over 500 steps, then a fifth of it for the last 50 epochs and a
twenty-fifth for the last 25; float32. Measured there: 5-nearest neighbours by Euclidean distance with equal votes, and
a linear classifier on h (Adam, 500 epochs, rate 1e-2 falling to 1e-6); which epoch and how many runs is not told. Our
kNN takes 5 neighbours too, but weighs them by their cosine.
There colours change before the crop, here after it, and the teacher's momentum rises once an epoch, here every step.
"""

from dataclasses import replace

from resmom.config import Log, Run
from resmom.evaluate.online import Online
from resmom.evaluate.settings import Knn
from resmom.methodconfig import MethodConfig
from resmom.methods.byol import Byol
from resmom.methods.simclr import SimCLR
from resmom.nets.backbones import ResNet
from resmom.nets.teacher import Ema
from resmom.train.optim import Adam
from resmom.train.plan import Train
from resmom.views.policy import plain_ermolov

_STL10 = plain_ermolov((0.43, 0.42, 0.39), (0.27, 0.26, 0.27))
_TINY = plain_ermolov((0.480, 0.448, 0.398), (0.277, 0.269, 0.282))
_BYOL = Byol(hidden=1024, out=128, predictor_hidden=1024)
_SIMCLR = SimCLR(temperature=0.5, hidden=1024, out=128, batch_norm=True)


def _tiny(method: MethodConfig) -> Run:
    """On the 100,000 images of Tiny-ImageNet: 195 steps an epoch, of which 500 are the warm-up's."""
    return Run(
        method=method,
        backbone=ResNet(18, stem="small_pool"),
        policy=_TINY,
        optim=Adam(lr=1e-3, weight_decay=1e-6),
        ema=Ema(0.99, 1.0),
        train=_train(1000, steps=195),
        online=Online(lr=2.5e-3),  # the rate of their linear classifier, 1e-2 for 1,000 images
        knn=Knn(k=5),
        log=Log(knn_epochs=20, keep_epochs=100),
    )


def _stl10(method: MethodConfig) -> Run:
    """On the 105,000 images of STL-10: 205 steps an epoch."""
    run = replace(_tiny(method), policy=_STL10, train=_train(2000, steps=205))
    return replace(run, log=replace(run.log, keep_epochs=200))


def _train(epochs: int, steps: int) -> Train:
    return Train(
        epochs=epochs,
        batch=512,
        warmup_epochs=500 / steps,
        warmup_start=4e-6,  # the first of the 500 steps
        drops=(1 - 50 / epochs, 1 - 25 / epochs),
        drop_factor=0.2,
    )


def byol_stl10_r18() -> Run:
    """BYOL on STL-10, labelled and unlabelled images, ResNet-18, views of 64 pixels, 2000 epochs.

    Source: Ermolov et al. 2021 (arXiv 2007.06346), table 1; htdt/self-supervised at commit d9662c8, README and cfg.py.
    There colours change before the crop, the momentum rises by epoch, and test images are resized to 70 pixels (here
    73).
    Command: resmom pretrain byol_stl10_r18 --data stl10 --out RUN
    Published: 91.99 top-1, offline linear (88.64 with 5 neighbours); runs and epoch not told. Ours: not measured yet.
    """
    return _stl10(_BYOL)


def simclr_stl10_r18() -> Run:
    """SimCLR on STL-10, labelled and unlabelled images, ResNet-18, views of 64 pixels, 2000 epochs.

    Source: Ermolov et al. 2021 (arXiv 2007.06346), table 1; htdt/self-supervised at commit d9662c8, README and cfg.py.
    There the head's BatchNorm sees both views as one batch, here each by itself; colours change before the crop, and
    test images are resized to 70 pixels (here 73).
    Command: resmom pretrain simclr_stl10_r18 --data stl10 --out RUN
    Published: 90.51 top-1, offline linear (85.68 with 5 neighbours); runs and epoch not told. Ours: not measured yet.
    """
    return _stl10(_SIMCLR)


def byol_tinyimagenet_r18() -> Run:
    """BYOL on Tiny-ImageNet, ResNet-18, views of 64 pixels, 1000 epochs.

    Source: Ermolov et al. 2021 (arXiv 2007.06346), table 1; htdt/self-supervised at commit d9662c8, README and cfg.py.
    There colours change before the crop, and the momentum rises by epoch.
    Command: resmom pretrain byol_tinyimagenet_r18 --data tiny-imagenet-200 --out RUN
    Published: 51.00 top-1, offline linear (36.24 with 5 neighbours), on the 10,000 validation images; runs and epoch
    not told. Ours: not measured yet.
    """
    return _tiny(_BYOL)


def simclr_tinyimagenet_r18() -> Run:
    """SimCLR on Tiny-ImageNet, ResNet-18, views of 64 pixels, 1000 epochs.

    Source: Ermolov et al. 2021 (arXiv 2007.06346), table 1; htdt/self-supervised at commit d9662c8, README and cfg.py.
    There the head's BatchNorm sees both views as one batch, here each by itself; colours change before the crop.
    Command: resmom pretrain simclr_tinyimagenet_r18 --data tiny-imagenet-200 --out RUN
    Published: 48.84 top-1, offline linear (32.86 with 5 neighbours), on the 10,000 validation images; runs and epoch
    not told. Ours: not measured yet.
    """
    return _tiny(_SIMCLR)
