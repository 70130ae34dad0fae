"""Detectors around a backbone: torchvision's Faster and Mask R-CNN and RetinaNet, in the forms of the protocols."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.retinanet import RetinaNet
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops import FrozenBatchNorm2d, MultiScaleRoIAlign
from torchvision.ops.poolers import initLevelMapper

from resmom.called import called, setting
from resmom.nets.backbones import Backbone
from resmom.nets.laststage import Regions, StageHead, Trunk
from resmom.nets.pyramid import Pyramid, StagePyramid
from resmom.nets.stages import Stages, has_stages

RATIOS = (0.5, 1.0, 2.0)
SCORE, OVERLAP, DETECTIONS = 0.05, 0.5, 100
"""Detections below this score are dropped, of those that overlap more the best is kept, and so many of an image."""


@dataclass(frozen=True)
class Detector:
    """What is put on the backbone.

    `fpn`: Faster R-CNN on a feature pyramid (Lin et al. 2017, arXiv 1612.03144; of a Vision Transformer the simple one
    of ViTDet, arXiv 2203.16527). `c4`: Faster R-CNN on the last stage
    but one, the last stage being the head of each region, with a BatchNorm of its own after it (the protocol of MoCo,
    arXiv 1911.05722). `retina`: RetinaNet (arXiv 1708.02002) on a feature pyramid. `mask`: Mask R-CNN (arXiv
    1703.06870) on a feature pyramid, which is `fpn` and a mask for every object.
    """

    form: Literal["fpn", "c4", "retina", "mask"] = "fpn"
    norm: Literal["trained", "frozen"] = "trained"
    """BatchNorm of the backbone: trained, with BatchNorm in the new layers too, or fixed as pretraining left it. A
    Vision Transformer has none."""
    width: int = 256
    """Channels of the pyramid, and of the head of masks."""
    hidden: int = 1024
    """Width of the two layers on each region (fpn, mask)."""
    proposals: int = 1000
    """Regions per image that the first stage hands on in testing; c4 takes twice as many in training."""
    samples: int = 512
    """Regions per image that the second stage learns from, a quarter of them objects."""
    anchor: float = 8.0
    """Side of a pyramid level's anchors, in strides of that level (c4: the middle one of five)."""


class _Ready(GeneralizedRCNNTransform):  # type: ignore[misc]
    """Normalises and pads only: the images come at their size, which is drawn by (seed, epoch, image)."""

    def resize(self, image: Tensor, target: dict[str, Tensor] | None = None) -> tuple[Tensor, dict[str, Tensor] | None]:
        return image, target

    def postprocess(
        self, result: list[dict[str, Tensor]], shapes: list[tuple[int, int]], original: list[tuple[int, int]]
    ) -> list[dict[str, Tensor]]:
        """Boxes are in pixels of the images that came in; masks stay as they lie in their boxes, N x 1 x 28 x 28."""
        return result


def build_detector(
    config: Detector,
    backbone: Backbone,
    classes: int,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    longest: int = 1333,
) -> nn.Module:
    """The detector on a copy of `backbone`, its new layers drawn from torch's generator; torchvision's interface.

    Images are C x H x W in [0, 1], no side longer than `longest`, labels 1 … classes, masks N x H x W of 0 and 1 in
    training, and N x 1 x 28 x 28 in [0, 1] over the boxes in testing. Raises ValueError for a backbone that cannot
    become one.
    """
    # The sides are those of the images that come in, so that nothing is rescaled afterwards either.
    ready = _Ready(0, 0, list(mean), list(std))
    made = _built(config, backbone, ready, classes, longest)
    for name in ("backbone", "head", "rpn.head", "roi_heads.box_predictor", "roi_heads.mask_predictor"):
        with contextlib.suppress(AttributeError):  # not every form has all of them
            made.get_submodule(name).register_forward_hook(_in_float32)
    return made


def _in_float32(module: nn.Module, given: Any, said: Any) -> Any:
    """What a part says, in float32 under autocast too.

    torchvision's anchors and boxes take the type of the maps and of what is predicted, and bfloat16 has no whole
    number between 256 and 258: places in an image are no things to be rounded so.
    """
    if isinstance(said, Tensor):
        return said.float()
    if isinstance(said, Mapping):
        return {name: _in_float32(module, given, one) for name, one in said.items()}
    return type(said)(_in_float32(module, given, one) for one in said)


def _built(config: Detector, backbone: Backbone, ready: _Ready, classes: int, longest: int) -> nn.Module:
    if not has_stages(backbone):
        return _on_pyramid(config, _of_transformer(config, backbone, longest), ready, classes)
    body = Stages(backbone)
    if config.norm == "frozen":
        _freeze(body)
    if config.form == "c4":
        if len(body.strides) < 2:
            raise ValueError(
                f"the form c4 needs two stages or more; this backbone has one: take {setting('detector.form', 'fpn')}"
            )
        c4: nn.Module = _two_stages(config, Trunk(body), ready, *_c4_parts(config, body, classes))
        return c4
    pyramid = StagePyramid(body, config.width, config.form == "retina", config.norm == "trained")
    return _on_pyramid(config, pyramid, ready, classes)


def _of_transformer(config: Detector, backbone: Backbone, longest: int) -> Pyramid:
    from resmom.nets.simplepyramid import SimplePyramid  # imports timm, which a ResNet need not wait for

    pyramid = SimplePyramid(backbone, config.width, config.form == "retina", longest)
    if config.form == "c4":
        raise ValueError(
            "the head of the form c4 is the last stage of a ResNet, and a Vision Transformer has no stages: take "
            f"{setting('detector.form', 'fpn')}, retina or mask"
        )
    if config.norm == "frozen":
        raise ValueError(
            f"a Vision Transformer has no BatchNorm that could stay frozen: leave {called('detector.norm')} out"
        )
    return pyramid


def _on_pyramid(config: Detector, pyramid: Pyramid, ready: _Ready, classes: int) -> nn.Module:
    if config.form == "retina":
        return _retina(config, pyramid, ready, classes)
    anchors = AnchorGenerator(tuple((s * config.anchor,) for s in pyramid.strides), (RATIOS,) * len(pyramid.strides))
    pool = _pool(pyramid, 7)
    head = TwoMLPHead(config.width * 49, config.hidden)
    for layer in (head.fc6, head.fc7):
        nn.init.kaiming_uniform_(layer.weight, a=1)
        nn.init.zeros_(layer.bias)
    made = _two_stages(config, pyramid, ready, anchors, pool, head, _predictor(config.hidden, classes))
    return _with_masks(made, config, pyramid, classes) if config.form == "mask" else made


def _pool(pyramid: Pyramid, side: int) -> MultiScaleRoIAlign:
    """Regions of side x side bins, each from the level that fits its size.

    Told the strides, because torchvision guesses them from its first batch, and guesses wrong where an image of 66
    pixels was filled up to 96.
    """
    pool = MultiScaleRoIAlign(pyramid.names, side, sampling_ratio=2)
    strides = pyramid.strides[: len(pyramid.names)]
    levels = [stride.bit_length() - 1 for stride in (strides[0], strides[-1])]
    pool.scales = [1 / stride for stride in strides]
    pool.map_levels = initLevelMapper(*levels, pool.canonical_scale, pool.canonical_level)
    return pool


def _retina(config: Detector, pyramid: Pyramid, ready: _Ready, classes: int) -> nn.Module:
    sizes = tuple((s * config.anchor / 2, s * config.anchor * 0.63, s * config.anchor * 0.794) for s in pyramid.strides)
    made = RetinaNet(
        pyramid,
        classes + 1,
        anchor_generator=AnchorGenerator(sizes, (RATIOS,) * len(sizes)),
        score_thresh=SCORE,
        nms_thresh=OVERLAP,
        detections_per_img=DETECTIONS,
    )
    made.transform = ready
    return made  # type: ignore[no-any-return]


def _with_masks(made: GeneralizedRCNN, config: Detector, pyramid: Pyramid, classes: int) -> nn.Module:
    """Faster R-CNN and a mask of each class for each region: four convolutions, and one that doubles the size."""
    heads = made.roi_heads
    heads.mask_roi_pool = _pool(pyramid, 14)
    heads.mask_head = MaskRCNNHeads(config.width, (config.width,) * 4, 1)
    heads.mask_predictor = MaskRCNNPredictor(config.width, config.width, classes + 1)
    nn.init.normal_(heads.mask_predictor.mask_fcn_logits.weight, std=0.001)
    nn.init.zeros_(heads.mask_predictor.mask_fcn_logits.bias)
    nn.init.zeros_(heads.mask_predictor.conv5_mask.bias)
    return made  # type: ignore[no-any-return]


def _c4_parts(
    config: Detector, body: Stages, classes: int
) -> tuple[AnchorGenerator, nn.Module, nn.Module, FastRCNNPredictor]:
    """Anchors, pooling, head and predictor of the form c4."""
    middle = config.anchor * body.strides[-2]
    anchors = AnchorGenerator((tuple(middle * 2.0**n for n in (-2, -1, 0, 1, 2)),), (RATIOS,))
    head = StageHead(body.stages[-1], body.widths[-1], config.norm == "trained")
    return anchors, Regions(14, body.strides[-2]), head, _predictor(body.widths[-1], classes)


def _two_stages(
    config: Detector,
    maps: Trunk | Pyramid,
    ready: _Ready,
    anchors: AnchorGenerator,
    pool: nn.Module,
    head: nn.Module,
    predictor: FastRCNNPredictor,
) -> GeneralizedRCNN:
    """Faster R-CNN with the numbers of Detectron2's base configurations."""
    c4 = config.form == "c4"
    before = {"training": 12 if c4 else 2, "testing": 6 if c4 else 1}
    after = {"training": 2 if c4 else 1, "testing": 1}
    rpn = RegionProposalNetwork(
        anchors,
        RPNHead(maps.out_channels, anchors.num_anchors_per_location()[0]),
        fg_iou_thresh=0.7,
        bg_iou_thresh=0.3,
        batch_size_per_image=256,
        positive_fraction=0.5,
        pre_nms_top_n={mode: factor * config.proposals for mode, factor in before.items()},
        post_nms_top_n={mode: factor * config.proposals for mode, factor in after.items()},
        nms_thresh=0.7,
    )
    heads = RoIHeads(
        pool,
        head,
        predictor,
        fg_iou_thresh=0.5,
        bg_iou_thresh=0.5,
        batch_size_per_image=config.samples,
        positive_fraction=0.25,
        bbox_reg_weights=None,
        score_thresh=SCORE,
        nms_thresh=OVERLAP,
        detections_per_img=DETECTIONS,
    )
    return GeneralizedRCNN(maps, rpn, heads, ready)


def _predictor(width: int, classes: int) -> FastRCNNPredictor:
    predictor = FastRCNNPredictor(width, classes + 1)
    nn.init.normal_(predictor.cls_score.weight, std=0.01)
    nn.init.normal_(predictor.bbox_pred.weight, std=0.001)
    nn.init.zeros_(predictor.cls_score.bias)
    nn.init.zeros_(predictor.bbox_pred.bias)
    return predictor


def _freeze(module: nn.Module) -> None:
    """Fix every BatchNorm at its statistics, gain and bias."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            fixed = FrozenBatchNorm2d(child.num_features, child.eps)
            state = {key: value for key, value in child.state_dict().items() if key != "num_batches_tracked"}
            fixed.load_state_dict(state)
            setattr(module, name, fixed)
        else:
            _freeze(child)
