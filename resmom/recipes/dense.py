"""COCO, and methods that learn places: DenseCL, and MoCo-v2 and -v3 beside it.

DATA is a folder of COCO's train2017 images.
"""

from dataclasses import replace

from resmom.config import Log, Run
from resmom.evaluate.online import Online
from resmom.losses.residual import Residual
from resmom.methods.densecl import DenseCL
from resmom.methods.mocov2 import MoCoV2
from resmom.nets.backbones import ResNet
from resmom.nets.teacher import Ema
from resmom.recipes.imagenet import mocov3_imagenet_r50_1000ep
from resmom.train.optim import Sgd
from resmom.train.plan import Train
from resmom.views.policy import mocov2_imagenet


def densecl_coco_r50_800ep() -> Run:
    """DenseCL on COCO, ResNet-50, 800 epochs.

    Source: WXinlong/DenseCL, configs/selfsup/densecl/densecl_coco_800ep.py (arXiv 2011.09157). 8 GPUs normalised
    32 images each, keys shuffled among them: the groups of 32 here, on however many devices. There the learning rate
    falls by epochs and the start is mmcv's; here by steps, and the start is torchvision's.
    Command: resmom pretrain densecl_coco_r50_800ep --data COCO --out RUN
    Published: 56.7 AP on VOC detection (trainval07+12, test07, mean of 5 trials). Ours: not measured yet.
    """
    return Run(
        method=DenseCL(temperature=0.2, hidden=2048, out=128, queue=65536, dense_weight=0.5, shuffle_bn=32),
        backbone=ResNet(50),
        policy=mocov2_imagenet(),
        optim=Sgd(lr=0.3, weight_decay=1e-4),
        ema=Ema(0.999, 0.999),
        residual=Residual(site="z"),  # no predictor; the weight stays 0 until the twin sets it
        train=Train(epochs=800, batch=256, warmup_epochs=0),
        online=Online(lr=0.1),
        log=Log(knn_epochs=0, keep_epochs=100),  # COCO has no classes to measure by
    )


def densecl_coco_r50_1600ep() -> Run:
    """DenseCL on COCO, ResNet-50, 1600 epochs.

    Source: WXinlong/DenseCL, README.md (arXiv 2011.09157); settings as densecl_coco_r50_800ep, twice as long.
    Command: resmom pretrain densecl_coco_r50_1600ep --data COCO --out RUN
    Published: 57.2 AP on VOC detection (trainval07+12, test07, mean of 5 trials). Ours: not measured yet.
    """
    run = densecl_coco_r50_800ep()
    return replace(run, train=replace(run.train, epochs=1600))


def mocov2_coco_r50_800ep() -> Run:
    """MoCo-v2 on COCO, ResNet-50, 800 epochs.

    Source: the baseline of arXiv 2011.09157, README.md of WXinlong/DenseCL. No configuration of it is public: these are
    DenseCL's settings without its dense half.
    Command: resmom pretrain mocov2_coco_r50_800ep --data COCO --out RUN
    Published: 54.7 AP on VOC detection (trainval07+12, test07, mean of 5 trials). Ours: not measured yet.
    """
    return replace(
        densecl_coco_r50_800ep(),
        method=MoCoV2(temperature=0.2, hidden=2048, out=128, queue=65536, shuffle_bn=32),
    )


def mocov3_coco_r50_800ep() -> Run:
    """MoCo-v3 on COCO, ResNet-50, 800 epochs. The settings are ours.

    Source: none is public. MoCo-v3's of 1000 epochs of ImageNet (facebookresearch/moco-v3, CONFIG.md), which are about
    as many steps: 313,000 of 4096 images there, 370,000 of 256 here, DenseCL's batch and length.
    Command: resmom pretrain mocov3_coco_r50_800ep --data COCO --out RUN
    Published: a difference alone, 1.8 AP and 3.0 AP75 more on VOC detection with residual momentum (arXiv 2211.09861,
    abstract), and not after how many epochs. Ours: not measured yet.
    """
    run = mocov3_imagenet_r50_1000ep()
    return replace(run, train=replace(run.train, epochs=800, batch=256), log=densecl_coco_r50_800ep().log)


def mocov3_coco_r50_1600ep() -> Run:
    """MoCo-v3 on COCO, ResNet-50, 1600 epochs. The settings are ours.

    Source: as of mocov3_coco_r50_800ep, twice as long.
    Command: resmom pretrain mocov3_coco_r50_1600ep --data COCO --out RUN
    Published: a difference alone, which may be of this length or another; see mocov3_coco_r50_800ep. Ours: not measured
    yet.
    """
    run = mocov3_coco_r50_800ep()
    return replace(run, train=replace(run.train, epochs=1600))


def densecl_imagenet_r50() -> Run:
    """DenseCL on ImageNet, ResNet-50, 200 epochs.

    Source: WXinlong/DenseCL, configs/selfsup/densecl/densecl_imagenet_200ep.py (arXiv 2011.09157); see
    densecl_coco_r50_800ep for what differs.
    Command: resmom pretrain densecl_imagenet_r50 --data IMAGENET --out RUN
    Published: 58.7 AP on VOC detection (trainval07+12, test07, mean of 5 trials). Ours: not measured yet.
    """
    run = densecl_coco_r50_800ep()
    return replace(
        run,
        optim=replace(run.optim, lr=0.03),
        train=replace(run.train, epochs=200),
        log=Log(knn_epochs=10, keep_epochs=50),
    )
