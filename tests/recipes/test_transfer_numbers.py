"""The numbers of the published protocols of detection and segmentation, written out once more by hand."""

from typing import Any

import pytest
from torch import nn
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN

from resmom.evaluate.detection import Detect
from resmom.evaluate.fcn import Fcn
from resmom.nets.backbones import ResNet, build_backbone
from resmom.nets.detector import Detector, build_detector
from resmom.nets.segmenter import Segmenter
from resmom.recipes.detection import DETECTION, detection_recipe
from resmom.recipes.segmentation import SEGMENTATION, segmentation_recipe

SGD: dict[str, Any] = {
    "batch": 16, "optim": "sgd", "lr": 0.02, "layer_decay": 1.0, "weight_decay": 1e-4, "clip": 0.0, "flip": 0.5,
    "test_side": 800, "longest": 1333, "precision": "fp32",
}  # fmt: skip
"""Detectron2's defaults for R-CNN, and MoCo's."""
ONE_X: dict[str, Any] = {
    **SGD, "sides": (640, 672, 704, 736, 768, 800), "warmup_steps": 1000, "precise_bn": 0, "steps": 90_000,
    "drops": (60_000 / 90_000, 80_000 / 90_000),
}  # fmt: skip
TWO_X = {**ONE_X, "steps": 180_000, "drops": (120_000 / 180_000, 160_000 / 180_000)}
MASKS = Detector("mask", "trained", 256, 1024, 1000, 512, 8.0)
BOXES = Detector("fpn", "trained", 256, 1024, 1000, 512, 8.0)
PUBLISHED: dict[str, dict[str, Any]] = {
    "voc0712_c4": {
        **SGD, "detector": Detector("c4", "trained", 256, 1024, 1000, 512, 8.0), "steps": 24_000,
        "drops": (18_000 / 24_000, 22_000 / 24_000), "warmup_steps": 100, "precise_bn": 200,
        "sides": (480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800),
    },
    "coco_fpn_1x": {**ONE_X, "detector": BOXES},
    "coco_fpn_2x": {**TWO_X, "detector": BOXES},
    "coco_mask_1x": {**ONE_X, "detector": MASKS},
    "coco_mask_2x": {**TWO_X, "detector": MASKS},
    "coco_vitdet": {
        "detector": MASKS, "optim": "adamw", "lr": 1e-4, "layer_decay": 0.7, "weight_decay": 0.1, "batch": 64,
        "steps": 184_375, "drops": (163_889 / 184_375, 177_546 / 184_375), "warmup_steps": 250, "precision": "bf16",
    },
}  # fmt: skip
"""By recipe, what its source says."""
MEASURED: dict[str, Any] = {
    "detector": Detector("fpn", width=64, hidden=256, proposals=200, samples=64), "steps": 1200, "batch": 8, "lr": 0.02,
    "clip": 10.0, "sides": (96, 112, 128, 144, 160), "test_side": 128, "longest": 320, "optim": "sgd",
}  # fmt: skip
"""Our own `detect_small`, as it was measured (docs/log.md)."""
DETECTED = {**PUBLISHED, "detect_small": MEASURED}


@pytest.mark.parametrize("name", DETECTED)
def test_a_detectors_settings_are_those_of_its_source_or_of_its_measurement(name: str) -> None:
    made = detection_recipe(name)
    for setting, value in DETECTED[name].items():
        # A share of the steps is compared as the step that it is.
        found, steps = getattr(made, setting), made.steps if setting == "drops" else None
        if steps:
            found, value = (tuple(round(share * steps) for share in shares) for shares in (found, value))
        assert found == value, setting
    assert set(DETECTION) == set(DETECTED)


FCN: dict[str, Any] = {
    "lr": 0.01, "schedule": "poly", "min_lr": 1e-4, "weight_decay": 5e-4, "clip": 0.0, "flip": 0.5, "most": 0.75,
    "segmenter": Segmenter("fcn", dilated=2, width=512, dropout=0.1, auxiliary=0.4), "distort": 0.5,
    "scales": (0.5, 2.0),
}  # fmt: skip
"""mmsegmentation's FCN of stride 8, and its augmentation."""
SEGMENTED: dict[str, dict[str, Any]] = {
    "voc12aug_fcn": {**FCN, "steps": 20_000, "batch": 16, "side": 512, "longest": 2048, "crop": 512},
    "cityscapes_fcn": {**FCN, "steps": 40_000, "batch": 8, "side": 1025, "longest": 2049, "crop": 769},
    "voc12aug_moco": {
        "segmenter": Segmenter("field", dilated=1, width=256, dropout=0.0, auxiliary=0.0), "steps": 30_000, "batch": 16,
        "lr": 0.003, "schedule": "drops", "drops": (0.7, 0.9), "weight_decay": 1e-4, "crop": 513,
        "side": 0, "most": 1.0, "distort": 0.0,
    },
    "segment_small": {
        "segmenter": Segmenter("fcn", dilated=1, width=64, dropout=0.1, auxiliary=0.0), "steps": 300, "batch": 8,
        "lr": 0.02, "clip": 10.0, "side": 120, "longest": 480, "crop": 112, "schedule": "poly",
    },
}  # fmt: skip


@pytest.mark.parametrize("name", SEGMENTED)
def test_a_segmenters_settings_are_those_of_its_source_or_of_its_measurement(name: str) -> None:
    made = segmentation_recipe(name)
    assert isinstance(made, Fcn)
    for setting, value in SEGMENTED[name].items():
        assert getattr(made, setting) == value, setting
    assert set(SEGMENTATION) == {*SEGMENTED, "patch_linear"}


def built(form: str) -> GeneralizedRCNN:
    recipe: Detect = detection_recipe({"c4": "voc0712_c4", "fpn": "coco_fpn_1x"}[form])
    made: nn.Module = build_detector(recipe.detector, build_backbone(ResNet(18)), 20, (0.5,) * 3, (0.5,) * 3)
    assert isinstance(made, GeneralizedRCNN)
    return made


@pytest.mark.slow
@pytest.mark.parametrize(
    ("form", "before", "after"),
    [("c4", (12_000, 6_000), (2_000, 1_000)), ("fpn", (2_000, 1_000), (1_000, 1_000))],
)
def test_both_stages_are_detectron2s(form: str, before: tuple[int, int], after: tuple[int, int]) -> None:
    """Its defaults, Base-RCNN-C4.yaml and Base-RCNN-FPN.yaml: regions handed on, what is learned from, thresholds."""
    made = built(form)
    rpn, heads = made.rpn, made.roi_heads
    for training, wanted_before, wanted_after in zip((True, False), before, after, strict=True):
        rpn.train(training)
        assert (rpn.pre_nms_top_n(), rpn.post_nms_top_n()) == (wanted_before, wanted_after)
    assert (rpn.nms_thresh, rpn.fg_bg_sampler.batch_size_per_image, rpn.fg_bg_sampler.positive_fraction) == (
        0.7,
        256,
        0.5,
    )
    matcher = rpn.proposal_matcher
    assert (matcher.high_threshold, matcher.low_threshold, matcher.allow_low_quality_matches) == (0.7, 0.3, True)
    sampler, matcher = heads.fg_bg_sampler, heads.proposal_matcher
    assert (sampler.batch_size_per_image, sampler.positive_fraction) == (512, 0.25)
    assert (matcher.high_threshold, matcher.low_threshold, matcher.allow_low_quality_matches) == (0.5, 0.5, False)
    assert (heads.score_thresh, heads.nms_thresh, heads.detections_per_img) == (0.05, 0.5, 100)
    assert heads.box_coder.weights == (10.0, 10.0, 5.0, 5.0)
    anchors = made.rpn.anchor_generator
    assert anchors.aspect_ratios[0] == (0.5, 1.0, 2.0)
    sizes = {"c4": [(32, 64, 128, 256, 512)], "fpn": [(32,), (64,), (128,), (256,), (512,)]}
    assert [tuple(map(float, level)) for level in anchors.sizes] == sizes[form]
