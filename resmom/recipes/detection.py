"""Detection with a pretrained backbone: settings by name for `resmom detect train`."""

from collections.abc import Callable
from dataclasses import replace

from resmom.config import ConfigError
from resmom.evaluate.detection import Detect
from resmom.nearest import similar
from resmom.nets.detector import Detector


def voc0712_c4() -> Detect:
    """Faster R-CNN R50-C4 on Pascal VOC, 24,000 steps: the protocol of MoCo.

    Source: He et al. (arXiv 1911.05722), appendix, and facebookresearch/moco, detection/configs/Base-RCNN-C4-BN.yaml,
    with Detectron2's 200 batches for precise BatchNorm; docs/detection.md tells what differs here.
    Command: resmom detect train RUN --recipe voc0712_c4 --data VOC2007:trainval VOC2012:trainval --test VOC2007:test
    --out OUT
    Published (VOC 2007's metric, mean of 5): MoCo-v2 of 200 epochs AP 57.0, AP50 82.4, AP75 63.6.
    Ours: not measured yet.
    """
    return Detect(detector=Detector("c4"), measure_steps=6000, precise_bn=200)


def coco_fpn_1x() -> Detect:
    """Faster R-CNN with a feature pyramid on COCO, 90,000 steps ("1x").

    Source: Detectron2's base configuration for R-CNN with FPN, BatchNorm trained as in MoCo (arXiv 1911.05722); MoCo's
    has masks too: coco_mask_1x.
    Command: resmom detect train RUN --recipe coco_fpn_1x --data COCO/annotations/instances_train2017.json
    --test COCO/annotations/instances_val2017.json --out OUT
    Ours: not measured yet.
    """
    return Detect(
        detector=Detector("fpn"),
        steps=90_000,
        drops=(2 / 3, 8 / 9),
        warmup_steps=1000,
        sides=(640, 672, 704, 736, 768, 800),
        measure_steps=30_000,
        save_steps=2000,
    )


def coco_fpn_2x() -> Detect:
    """The same for 180,000 steps ("2x").

    Command: as of coco_fpn_1x. Ours: not measured yet.
    """
    return replace(coco_fpn_1x(), steps=180_000)


def coco_mask_1x() -> Detect:
    """Mask R-CNN with a feature pyramid on COCO, 90,000 steps ("1x").

    Source: as of coco_fpn_1x, with masks; no norm in the head of masks. MoCo's figures for R50-FPN are of Mask R-CNN.
    Command: resmom detect train RUN --recipe coco_mask_1x --data COCO/annotations/instances_train2017.json
    --test COCO/annotations/instances_val2017.json --out OUT
    Ours: not measured yet.
    """
    base = coco_fpn_1x()
    return replace(base, detector=replace(base.detector, form="mask"))


def coco_mask_2x() -> Detect:
    """The same for 180,000 steps ("2x").

    Command: as of coco_mask_1x. Ours: not measured yet.
    """
    return replace(coco_mask_1x(), steps=180_000)


def coco_vitdet() -> Detect:
    """Mask R-CNN on a plain Vision Transformer, COCO, 184,375 steps of 64 images: optimiser and length of ViTDet.

    Source: Li et al. (arXiv 2203.16527) and Detectron2's projects/ViTDet, mask_rcnn_vitdet_b_100ep, which has images
    scaled by .1 to 2 and cut to 1024 x 1024 besides; docs/detection.md tells what else differs here. For a run of a
    DinoViT, drop_path .1 is the source's, and belongs to the backbone.
    Command: resmom detect train RUN --recipe coco_vitdet --data COCO/annotations/instances_train2017.json
    --test COCO/annotations/instances_val2017.json --out OUT
    Ours: not measured yet.
    """
    return Detect(
        detector=Detector("mask"),
        steps=184_375,
        batch=64,
        optim="adamw",
        lr=1e-4,
        layer_decay=0.7,
        drops=(8 / 9, 26 / 27),
        warmup_steps=250,
        weight_decay=0.1,
        precision="bf16",
        save_steps=2000,
    )


def detect_small() -> Detect:
    """A detector that a CPU can train in minutes, for small backbones and small images. Our own protocol.

    Command: resmom detect train RUN --recipe detect_small --data VOC2007:trainval --test VOC2007:test --out OUT
    Measured: random weights of the small ResNet, one seed, 12 minutes of one core: docs/log.md.
    """
    return Detect(
        detector=Detector("fpn", width=64, hidden=256, proposals=200, samples=64),
        steps=1200,
        batch=8,
        lr=0.02,
        clip=10.0,
        sides=(96, 112, 128, 144, 160),
        test_side=128,
        longest=320,
        measure_steps=300,
        save_steps=100,
    )


DETECTION: dict[str, Callable[[], Detect]] = {
    "coco_fpn_1x": coco_fpn_1x,
    "coco_fpn_2x": coco_fpn_2x,
    "coco_mask_1x": coco_mask_1x,
    "coco_mask_2x": coco_mask_2x,
    "coco_vitdet": coco_vitdet,
    "detect_small": detect_small,
    "voc0712_c4": voc0712_c4,
}


def detection_recipe(name: str) -> Detect:
    """The settings of that name. Raises ConfigError with the nearest names for an unknown one."""
    if name not in DETECTION:
        hint = similar(name, DETECTION, 2, 0.4)
        raise ConfigError(f"there is no detection recipe '{name}', there are {', '.join(DETECTION)}{hint}")
    return replace(DETECTION[name](), recipe=name)
