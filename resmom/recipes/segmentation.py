"""Segmentation with a pretrained backbone: settings by name for `resmom segment train`."""

from collections.abc import Callable
from dataclasses import replace

from resmom.config import ConfigError
from resmom.evaluate.fcn import Fcn
from resmom.evaluate.patchlinear import PatchLinear
from resmom.nearest import similar
from resmom.nets.segmenter import Segmenter


def voc12aug_fcn() -> Fcn:
    """FCN-D8 R50 on Pascal VOC 2012 with the additional masks, 20,000 steps: the protocol of DenseCL.

    Source: Wang et al. (arXiv 2011.09157) and the authors' fork of mmsegmentation, commit 32b0aff,
    configs/densecl/fcn_r50-d8_512x512_20k_voc12aug.py; docs/segmentation.md tells what differs here.
    Command: resmom segment train RUN --recipe voc12aug_fcn --data VOC2012:train VOC2012:aug --test VOC2012:val
    --out OUT
    Published (mean of 5): MoCo-v2 after COCO (800 epochs) 64.5, DenseCL 67.5; after ImageNet 67.5 and 69.4.
    Ours: not run yet.
    """
    return Fcn(measure_steps=2000, save_steps=1000)


def cityscapes_fcn() -> Fcn:
    """FCN-D8 R50 on Cityscapes, 40,000 steps of 8 images: the protocol of DenseCL.

    Source: as of voc12aug_fcn, configs/densecl/fcn_r50-d8_769x769_40k_cityscapes.py. There the test images are cut into
    overlapping squares of 769; here they are tested whole.
    Command: resmom segment train RUN --recipe cityscapes_fcn --data CITYSCAPES:train --test CITYSCAPES:val --out OUT
    Ours: not run yet.
    """
    return Fcn(steps=40_000, batch=8, side=1025, longest=2049, crop=769, measure_steps=4000, save_steps=1000)


def voc12aug_moco() -> Fcn:
    """FCN with a large field of view, R50, on Pascal VOC 2012 with the additional masks: the protocol of MoCo.

    Source: He et al. (arXiv 1911.05722), appendix: conv5 dilated (stride 16 in all), two 3x3 convolutions of 256
    channels and dilation 6, 30,000 steps of 16 images, crop 513, lr .003, a tenth at 70 and 90 percent, decay 1e-4.
    Command: resmom segment train RUN --recipe voc12aug_moco --data VOC2012:train VOC2012:aug --test VOC2012:val
    --out OUT
    Ours: not run yet.
    """
    return Fcn(
        segmenter=Segmenter("field", dilated=1, width=256, dropout=0.0, auxiliary=0.0),
        steps=30_000,
        lr=0.003,
        schedule="drops",
        weight_decay=1e-4,
        side=0,
        crop=513,
        most=1.0,
        distort=0.0,
        measure_steps=3000,
        save_steps=1000,
    )


def segment_small() -> Fcn:
    """An FCN that a CPU can train in minutes, for small backbones and small images. Our own protocol.

    Command: resmom segment train RUN --recipe segment_small --data CamVid:train --test CamVid:test --out OUT
    Measured: random weights of the small ResNet on CamVid, one seed, 4 minutes of one core: docs/log.md.
    """
    return Fcn(
        segmenter=Segmenter("fcn", dilated=1, width=64, auxiliary=0.0),
        steps=300,
        batch=8,
        lr=0.02,
        clip=10.0,
        side=120,
        longest=480,
        crop=112,
        measure_steps=100,
        save_steps=100,
    )


def patch_linear() -> PatchLinear:
    """A linear probe per patch on the frozen backbone; also for Vision Transformers. Our own protocol.

    Command: resmom segment train RUN --recipe patch_linear --data CamVid:train --test CamVid:test --out OUT
    Ours: not run at its length yet; a short try is in docs/log.md.
    """
    return PatchLinear()


SEGMENTATION: dict[str, Callable[[], Fcn | PatchLinear]] = {
    "cityscapes_fcn": cityscapes_fcn,
    "patch_linear": patch_linear,
    "segment_small": segment_small,
    "voc12aug_fcn": voc12aug_fcn,
    "voc12aug_moco": voc12aug_moco,
}


def segmentation_recipe(name: str) -> Fcn | PatchLinear:
    """The settings of that name. Raises ConfigError with the nearest names for an unknown one."""
    if name not in SEGMENTATION:
        hint = similar(name, SEGMENTATION, 2, 0.4)
        raise ConfigError(f"there is no segmentation recipe '{name}', there are {', '.join(SEGMENTATION)}{hint}")
    return replace(SEGMENTATION[name](), recipe=name)
