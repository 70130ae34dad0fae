"""ImageNet-1k.

MoCo-v3's offline linear numbers are those of `resmom evaluate RUN --linear-crop`; docs/evaluation.md says what differs.
"""

import math
from dataclasses import replace

from resmom.config import Log, Run
from resmom.evaluate.online import Online
from resmom.losses.residual import Residual
from resmom.methods.dino import Dino
from resmom.methods.dinov2 import Dinov2
from resmom.methods.ibot import Ibot
from resmom.methods.mocov3 import MoCoV3
from resmom.nets.backbones import DinoViT, MoCoViT, ResNet
from resmom.nets.teacher import Ema
from resmom.train.optim import AdamW, Lars
from resmom.train.plan import Train
from resmom.views.policy import dino_imagenet, dinov2_imagenet, mocov3_imagenet

_LOG = Log(knn_epochs=10, keep_epochs=50)


def mocov3_imagenet_r50() -> Run:
    """MoCo-v3 on ImageNet, ResNet-50, 100 epochs.

    Source: facebookresearch/moco-v3, CONFIG.md (arXiv 2104.02057).
    Command: torchrun --nproc-per-node 16 -m resmom pretrain mocov3_imagenet_r50 --data IMAGENET --out RUN
    Published: 68.9 top-1, offline linear. Ours: not measured yet.
    """
    return Run(
        method=MoCoV3(temperature=1.0),
        backbone=ResNet(50, zero_init_residual=True),
        policy=mocov3_imagenet(min_scale=0.2),
        optim=Lars(lr=0.6, weight_decay=1e-6),
        ema=Ema(0.99, 1.0),
        train=Train(epochs=100, batch=4096, warmup_epochs=10, precision="fp16"),
        online=Online(lr=0.1),
        log=_LOG,
    )


def mocov3_imagenet_r50_300ep() -> Run:
    """MoCo-v3 on ImageNet, ResNet-50, 300 epochs.

    Source: facebookresearch/moco-v3, CONFIG.md (arXiv 2104.02057).
    Command: torchrun --nproc-per-node 16 -m resmom pretrain mocov3_imagenet_r50_300ep --data IMAGENET --out RUN
    Published: 72.8 top-1, offline linear. Ours: not measured yet.
    """
    run = mocov3_imagenet_r50()
    return replace(run, optim=Lars(lr=0.3, weight_decay=1e-6), train=replace(run.train, epochs=300))


def mocov3_imagenet_r50_1000ep() -> Run:
    """MoCo-v3 on ImageNet, ResNet-50, 1000 epochs.

    Source: facebookresearch/moco-v3, CONFIG.md (arXiv 2104.02057).
    Command: torchrun --nproc-per-node 16 -m resmom pretrain mocov3_imagenet_r50_1000ep --data IMAGENET --out RUN
    Published: 74.6 top-1, offline linear. Ours: not measured yet.
    """
    run = mocov3_imagenet_r50()
    return replace(
        run,
        optim=Lars(lr=0.3, weight_decay=1.5e-6),
        ema=Ema(0.996, 1.0),
        train=replace(run.train, epochs=1000),
    )


def mocov3_imagenet_vits() -> Run:
    """MoCo-v3 on ImageNet, ViT-S/16 (12 heads), 300 epochs.

    Source: facebookresearch/moco-v3, CONFIG.md (arXiv 2104.02057).
    Command: torchrun --nproc-per-node 32 -m resmom pretrain mocov3_imagenet_vits --data IMAGENET --out RUN
    Published: 73.2 top-1, offline linear. Ours: not measured yet.
    """
    return Run(
        method=MoCoV3(temperature=0.2, projector_layers=3, predictor_norm="plain"),
        backbone=MoCoViT("small"),
        policy=mocov3_imagenet(min_scale=0.08),
        optim=AdamW(lr=1.5e-4, weight_decay=0.1, decay_vectors=True),
        ema=Ema(0.99, 1.0),
        train=Train(epochs=300, batch=4096, warmup_epochs=40, precision="fp16"),
        online=Online(lr=0.1),
        log=_LOG,
    )


def mocov3_imagenet_vitb() -> Run:
    """MoCo-v3 on ImageNet, ViT-B/16, 300 epochs.

    Source: facebookresearch/moco-v3, CONFIG.md (arXiv 2104.02057).
    Command: torchrun --nproc-per-node 64 -m resmom pretrain mocov3_imagenet_vitb --data IMAGENET --out RUN
    Published: 76.7 top-1, offline linear. Ours: not measured yet.
    """
    return replace(mocov3_imagenet_vits(), backbone=MoCoViT("base"))


def dino_imagenet_vits() -> Run:
    """DINO on ImageNet, ViT-S/16, 2 global and 8 local views, 300 epochs.

    Source: facebookresearch/dino, README ("Boosting DINO performance") and the defaults of main_dino.py (arXiv
    2104.14294). The weights that reach 77.0 linear (74.5 kNN) were trained for 800 epochs with 10 local views.
    Command: torchrun --nproc-per-node 16 -m resmom pretrain dino_imagenet_vits --data IMAGENET --out RUN
    Published: 76.0 top-1, offline linear (73.3 kNN). Ours: not measured yet.
    """
    return Run(
        method=Dino(gains=True),
        backbone=DinoViT("small", drop_path=0.1),
        policy=dino_imagenet(local=8, scale=0.4),
        optim=AdamW(lr=5e-4, weight_decay=0.04, decay_tokens=True, final_decay=0.4),
        ema=Ema(0.996, 1.0),
        residual=Residual(site="z"),  # no predictor; the weight stays 0 until the twin sets it
        train=Train(
            epochs=300, batch=1024, warmup_epochs=10, final_lr=1e-6, precision="fp16", clip=3.0, clip_each=True
        ),
        online=Online(lr=0.1),
        log=_LOG,
    )


def ibot_imagenet_vits() -> Run:
    """iBOT on ImageNet, ViT-S/16, 2 masked global and 10 local views, 800 epochs.

    Source: bytedance/ibot, README ("iBOT Pre-Training with ViTs") and the defaults of main_ibot.py (arXiv 2111.07832).
    Command: torchrun --nproc-per-node 16 -m resmom pretrain ibot_imagenet_vits --data IMAGENET --out RUN
    Published: 77.9 top-1, offline linear on the class tokens of the last four blocks (75.2 kNN), of the teacher. Ours:
    not measured yet.
    """
    run = dino_imagenet_vits()
    return replace(
        run,
        method=Ibot(gains=True),
        policy=dino_imagenet(local=10, scale=0.25),
        train=replace(run.train, epochs=800),
    )


def dinov2_imagenet_vitl() -> Run:
    """DINOv2 on ImageNet, ViT-L/16, 2 masked global and 8 local views, 125,000 steps of 2,048 images.

    Source: facebookresearch/dinov2, README ("Fast setup"), vitl16_short.yaml and ssl_default_config.yaml (arXiv
    2304.07193): one head, DINO's centres, KoLeo. Their 100 epochs are of 1,250 steps, two passes over the images each,
    so every number of epochs here is twice theirs. The rate is theirs too: 0.004 x sqrt(2048 / 1024). Small departures,
    listed in docs/parity.md: the teacher's temperature rises once an epoch (theirs: every step), frozen prototypes have
    no Adam moments yet, views are masked independently of each other, and so are images dropped from a block.
    Command: torchrun --nproc-per-node 32 -m resmom pretrain dinov2_imagenet_vitl --data IMAGENET --out RUN
    Published: 82.9 top-1, offline linear (81.6 kNN), of the teacher. Ours: not measured yet.
    """
    run = dino_imagenet_vits()
    return replace(
        run,
        method=Dinov2(patch_prototypes=0, centring="mean", temperature_epochs=60, frozen_epochs=2.0),
        backbone=DinoViT("large", drop_path=0.3, even_drop=True, layer_scale=1e-5),
        policy=dinov2_imagenet(),
        optim=AdamW(
            lr=0.004 * math.sqrt(2048 / 1024) * 256 / 2048,
            weight_decay=0.04,
            decay_tokens=True,
            final_decay=0.4,
            layer_decay=0.9,
            patch_rate=0.2,
        ),
        ema=Ema(0.992, 1.0),
        train=replace(run.train, epochs=200, batch=2048, warmup_epochs=20, clip_each=False, clip_parts=True),
    )
