"""Imagenette in the settings of lightly's benchmark: ten classes of ImageNet, 9,469 training and 3,925 test images.

Source of all: lightly-ai/lightly, docs/source/getting_started/benchmarks/imagenette_benchmark.py at commit 3ea0736 of 9
May 2023, which brought the numbers below. Later commits of it have batch 128 and other views for BYOL, and still these
numbers. Measured there: kNN on the student's h, on val/, after every epoch; told is the best of all epochs, of one run.
The script's k is 200 at temperature .1; the documentation says 20. Images are those of imagenette2-160, for kNN resized
to a shorter side of 128 pixels; here it is 146, as for every recipe, and our last checkpoint counts.
The rate follows its cosine once an epoch there, every step here; blur is Pillow's there (docs/views.md).
"""

from dataclasses import replace

from resmom.config import Log, Run
from resmom.evaluate.online import Online
from resmom.evaluate.settings import Knn
from resmom.losses.residual import Residual
from resmom.methodconfig import MethodConfig, site_for
from resmom.methods.barlow import BarlowTwins
from resmom.methods.byol import Byol
from resmom.methods.dino import Dino
from resmom.methods.mocov2 import MoCoV2
from resmom.methods.nnclr import NNCLR
from resmom.methods.simclr import SimCLR
from resmom.methods.simsiam import SimSiam
from resmom.methods.vicreg import VICReg
from resmom.nets.backbones import ResNet
from resmom.nets.teacher import Ema
from resmom.train.optim import Lars, OptimConfig, Sgd
from resmom.train.plan import Train
from resmom.views.policy import Policy, dino_imagenet, equal_imagenette, vicreg_imagenette

_SGD = Sgd(lr=0.06, weight_decay=5e-4)


def _run(method: MethodConfig, policy: Policy, optim: OptimConfig = _SGD, warmup: float = 0) -> Run:
    """What all runs share; the teacher's momentum is the same throughout."""
    return Run(
        method=method,
        backbone=ResNet(18),
        policy=policy,
        optim=optim,
        ema=Ema(0.99, 0.99),
        residual=Residual(site=site_for(method)),
        train=Train(epochs=200, batch=256, warmup_epochs=warmup),
        online=Online(lr=0.1),
        knn=Knn(k=200, temperature=0.1),
        log=Log(knn_epochs=10, keep_epochs=50),
    )


def _long(run: Run) -> Run:
    return replace(run, train=replace(run.train, epochs=800), log=replace(run.log, keep_epochs=100))


def mocov2_imagenette_r18() -> Run:
    """MoCo-v2, both views as queries, on Imagenette, ResNet-18, views of 128 pixels, 200 epochs.

    Source: lightly-ai/lightly, imagenette_benchmark.py at commit 3ea0736 (MocoModel). There one queue of 4,096 keys
    serves both directions, and the second direction finds the keys of the first in it: those of its own images, in the
    very view of the query, are then among its negatives. Here each direction has a queue of 4,096, written after the
    step. Rate by epoch there, by step here.
    Command: resmom pretrain mocov2_imagenette_r18 --data imagenette2-160 --out RUN
    Published: 78.6 kNN (k 200 and T .1 in the script, k 20 in the documentation; test images at 128 pixels, here
    146), the best of 200 epochs, one run, seed 0; 58 minutes on an A6000. Ours: not measured yet.
    """
    return _run(MoCoV2(temperature=0.1, queue=4096, symmetric=True), equal_imagenette(0.08))


def mocov2_imagenette_r18_800ep() -> Run:
    """MoCo-v2, both views as queries, on Imagenette, ResNet-18, views of 128 pixels, 800 epochs.

    Source: lightly-ai/lightly, imagenette_benchmark.py at commit 3ea0736; differences as in mocov2_imagenette_r18.
    Command: resmom pretrain mocov2_imagenette_r18_800ep --data imagenette2-160 --out RUN
    Published: 87.4 kNN (k 200 and T .1 in the script, k 20 in the documentation; test images at 128 pixels, here
    146), the best of 800 epochs, one run, seed 0; 232 minutes on an A6000. Ours: not measured yet.
    """
    return _long(mocov2_imagenette_r18())


def byol_imagenette_r18() -> Run:
    """BYOL on Imagenette, ResNet-18, views of 128 pixels, 200 epochs.

    Source: lightly-ai/lightly, imagenette_benchmark.py at commit 3ea0736 (BYOLModel). Its loss, the mean of two negated
    cosines, is a quarter of ours; rate .06 and decay 5e-4 there are .015 and 2e-3 here, which makes the same steps. The
    views are SimCLR's; the file of later commits has BYOL's. Rate by epoch there, by step here.
    Command: resmom pretrain byol_imagenette_r18 --data imagenette2-160 --out RUN
    Published: 70.5 kNN (k 200 and T .1 in the script, k 20 in the documentation; test images at 128 pixels, here
    146), the best of 200 epochs, one run, seed 0; 54 minutes on an A6000. Ours: not measured yet.
    """
    quarter = Sgd(lr=_SGD.lr / 4, weight_decay=4 * _SGD.weight_decay)
    return _run(Byol(), equal_imagenette(0.08), quarter)


def byol_imagenette_r18_800ep() -> Run:
    """BYOL on Imagenette, ResNet-18, views of 128 pixels, 800 epochs.

    Source: lightly-ai/lightly, imagenette_benchmark.py at commit 3ea0736; differences as in byol_imagenette_r18.
    Command: resmom pretrain byol_imagenette_r18_800ep --data imagenette2-160 --out RUN
    Published: 88.7 kNN (k 200 and T .1 in the script, k 20 in the documentation; test images at 128 pixels, here
    146), the best of 800 epochs, one run, seed 0; 215 minutes on an A6000. Ours: not measured yet.
    """
    return _long(byol_imagenette_r18())


def dino_imagenette_r18() -> Run:
    """DINO on Imagenette, ResNet-18, 2 global views of 128 pixels and 6 local ones of 64, 200 epochs.

    Source: lightly-ai/lightly, imagenette_benchmark.py at commit 3ea0736 (DINOModel). There one BatchNorm serves both
    hidden layers of the head, the teacher's head starts from other random weights than the student's, and local views
    are normalised one by one; here there are two BatchNorms, equal starts, and one batch of all local views. The
    prototypes learn from the first step, and the teacher's temperature is .04 throughout, there too. Rate by epoch
    there, by step here.
    Command: resmom pretrain dino_imagenette_r18 --data imagenette2-160 --out RUN
    Published: 87.3 kNN (k 200 and T .1 in the script, k 20 in the documentation; test images at 128 pixels, here
    146), the best of 200 epochs, one run, seed 0; 75 minutes on an A6000. Ours: not measured yet.
    """
    method = Dino(
        prototypes=2048,
        batch_norm=True,
        deviation=0.2,
        teacher_temperature=0.04,
        temperature_epochs=0,
        frozen_epochs=0.0,
    )
    return _run(method, dino_imagenet(local=6, scale=0.4, sides=(128, 64)))


def dino_imagenette_r18_800ep() -> Run:
    """DINO on Imagenette, ResNet-18, 2 global views of 128 pixels and 6 local ones of 64, 800 epochs.

    Source: lightly-ai/lightly, imagenette_benchmark.py at commit 3ea0736; differences as in dino_imagenette_r18.
    Command: resmom pretrain dino_imagenette_r18_800ep --data imagenette2-160 --out RUN
    Published: 88.8 kNN (k 200 and T .1 in the script, k 20 in the documentation; test images at 128 pixels, here
    146), the best of 800 epochs, one run, seed 0; 312 minutes on an A6000. Ours: not measured yet.
    """
    return _long(dino_imagenette_r18())


def simclr_imagenette_r18() -> Run:
    """SimCLR on Imagenette, ResNet-18, views of 128 pixels, 200 epochs.

    Source: lightly-ai/lightly, imagenette_benchmark.py at commit 3ea0736 (SimCLRModel). Rate by epoch there, by step
    here.
    Command: resmom pretrain simclr_imagenette_r18 --data imagenette2-160 --out RUN
    Published: 83.5 kNN (k 200 and T .1 in the script, k 20 in the documentation; test images at 128 pixels, here
    146), the best of 200 epochs, one run, seed 0; 50 minutes on an A6000. Ours: not measured yet.
    """
    return _run(SimCLR(temperature=0.5, hidden=512, out=128, batch_norm=True), equal_imagenette(0.08))


def simclr_imagenette_r18_800ep() -> Run:
    """SimCLR on Imagenette, ResNet-18, views of 128 pixels, 800 epochs.

    Source: lightly-ai/lightly, imagenette_benchmark.py at commit 3ea0736; differences as in simclr_imagenette_r18.
    Command: resmom pretrain simclr_imagenette_r18_800ep --data imagenette2-160 --out RUN
    Published: 88.9 kNN (k 200 and T .1 in the script, k 20 in the documentation; test images at 128 pixels, here
    146), the best of 800 epochs, one run, seed 0; 194 minutes on an A6000. Ours: not measured yet.
    """
    return _long(simclr_imagenette_r18())


def simsiam_imagenette_r18() -> Run:
    """SimSiam on Imagenette, ResNet-18, views of 128 pixels, 200 epochs.

    Source: lightly-ai/lightly, imagenette_benchmark.py at commit 3ea0736 (SimSiamModel). There the predictor's rate
    falls as all others do, which the paper advises against. Rate by epoch there, by step here.
    Command: resmom pretrain simsiam_imagenette_r18 --data imagenette2-160 --out RUN
    Published: 75.2 kNN (k 200 and T .1 in the script, k 20 in the documentation; test images at 128 pixels, here
    146), the best of 200 epochs, one run, seed 0; 58 minutes on an A6000. Ours: not measured yet.
    """
    return _run(SimSiam(steady_predictor=False), equal_imagenette(0.2))


def simsiam_imagenette_r18_800ep() -> Run:
    """SimSiam on Imagenette, ResNet-18, views of 128 pixels, 800 epochs.

    Source: lightly-ai/lightly, imagenette_benchmark.py at commit 3ea0736; differences as in simsiam_imagenette_r18.
    Command: resmom pretrain simsiam_imagenette_r18_800ep --data imagenette2-160 --out RUN
    Published: 87.2 kNN (k 200 and T .1 in the script, k 20 in the documentation; test images at 128 pixels, here
    146), the best of 800 epochs, one run, seed 0; 206 minutes on an A6000. Ours: not measured yet.
    """
    return _long(simsiam_imagenette_r18())


def barlow_imagenette_r18() -> Run:
    """Barlow Twins on Imagenette, ResNet-18, views of 128 pixels, 200 epochs.

    Source: lightly-ai/lightly, imagenette_benchmark.py at commit 3ea0736 (BarlowTwinsModel). Its correlations are
    255/256 of ours: summed over 256 images and divided by 256, but by deviations that divide by 255. Rate by epoch
    there, by step here.
    Command: resmom pretrain barlow_imagenette_r18 --data imagenette2-160 --out RUN
    Published: 65.1 kNN (k 200 and T .1 in the script, k 20 in the documentation; test images at 128 pixels, here
    146), the best of 200 epochs, one run, seed 0; 85 minutes on an A6000. Ours: not measured yet.
    """
    return _run(BarlowTwins(redundancy=0.005, scale=1.0), equal_imagenette(0.08))


def barlow_imagenette_r18_800ep() -> Run:
    """Barlow Twins on Imagenette, ResNet-18, views of 128 pixels, 800 epochs.

    Source: lightly-ai/lightly, imagenette_benchmark.py at commit 3ea0736; differences as in barlow_imagenette_r18.
    Command: resmom pretrain barlow_imagenette_r18_800ep --data imagenette2-160 --out RUN
    Published: 85.2 kNN (k 200 and T .1 in the script, k 20 in the documentation; test images at 128 pixels, here
    146), the best of 800 epochs, one run, seed 0; 299 minutes on an A6000. Ours: not measured yet.
    """
    return _long(barlow_imagenette_r18())


def nnclr_imagenette_r18() -> Run:
    """NNCLR on Imagenette, ResNet-18, views of 128 pixels, 200 epochs.

    Source: lightly-ai/lightly, imagenette_benchmark.py at commit 3ea0736 (NNCLRModel). Its loss is SimCLR's between
    neighbours and predictions, each in turn anchor and negative, at temperature .5. Its support set of 4,096 takes in
    the second view, ours the first, which are drawn alike. Rate by epoch there, by step here.
    Command: resmom pretrain nnclr_imagenette_r18 --data imagenette2-160 --out RUN
    Published: 80.9 kNN (k 200 and T .1 in the script, k 20 in the documentation; test images at 128 pixels, here
    146), the best of 200 epochs, one run, seed 0; 52 minutes on an A6000. Ours: not measured yet.
    """
    return _run(NNCLR(temperature=0.5, queue=4096, nt_xent=True), equal_imagenette(0.08))


def nnclr_imagenette_r18_800ep() -> Run:
    """NNCLR on Imagenette, ResNet-18, views of 128 pixels, 800 epochs.

    Source: lightly-ai/lightly, imagenette_benchmark.py at commit 3ea0736; differences as in nnclr_imagenette_r18.
    Command: resmom pretrain nnclr_imagenette_r18_800ep --data imagenette2-160 --out RUN
    Published: 88.4 kNN (k 200 and T .1 in the script, k 20 in the documentation; test images at 128 pixels, here
    146), the best of 800 epochs, one run, seed 0; 213 minutes on an A6000. Ours: not measured yet.
    """
    return _long(nnclr_imagenette_r18())


def vicreg_imagenette_r18() -> Run:
    """VICReg on Imagenette, ResNet-18, views of 128 pixels, 200 epochs.

    Source: lightly-ai/lightly, imagenette_benchmark.py at commit 3ea0736 (VICRegModel). Its variance term is half of
    ours: weight 25 there is 12.5 here. LARS is that of Lightning Bolts. It solarises before it blurs. The rate rises
    from a twentieth, and falls, by epoch there; here from 0, and by step.
    Command: resmom pretrain vicreg_imagenette_r18 --data imagenette2-160 --out RUN
    Published: 76.3 kNN (k 200 and T .1 in the script, k 20 in the documentation; test images at 128 pixels, here
    146), the best of 200 epochs, one run, seed 0; 53 minutes on an A6000. Ours: not measured yet.
    """
    optim = Lars(lr=0.3, weight_decay=1e-4, form="paper")
    return _run(VICReg(variance=12.5), vicreg_imagenette(), optim, warmup=20)


def vicreg_imagenette_r18_800ep() -> Run:
    """VICReg on Imagenette, ResNet-18, views of 128 pixels, 800 epochs.

    Source: lightly-ai/lightly, imagenette_benchmark.py at commit 3ea0736; differences as in vicreg_imagenette_r18.
    Command: resmom pretrain vicreg_imagenette_r18_800ep --data imagenette2-160 --out RUN
    Published: 84.5 kNN (k 200 and T .1 in the script, k 20 in the documentation; test images at 128 pixels, here
    146), the best of 800 epochs, one run, seed 0; 206 minutes on an A6000. Ours: not measured yet.
    """
    run = _long(vicreg_imagenette_r18())
    return replace(run, train=replace(run.train, warmup_epochs=40))
