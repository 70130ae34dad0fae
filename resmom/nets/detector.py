"""Detectors around a backbone: torchvision's Faster and Mask R-CNN and RetinaNet, in the forms of the protocols."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.retinanet import RetinaNet
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops import FeaturePyramidNetwork, FrozenBatchNorm2d, MultiScaleRoIAlign, roi_align
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool, LastLevelP6P7

from resmom.nets.backbones import Backbone
from resmom.nets.stages import Stages

RATIOS = (0.5, 1.0, 2.0)
SCORE, OVERLAP, DETECTIONS = 0.05, 0.5, 100
"""Detections below this score are dropped, of those that overlap more the best is kept, and so many of an image."""
_FINEST = 4
"""No pyramid level is finer than this stride: a map of every second pixel costs much and finds little."""


@dataclass(frozen=True)
class Detector:
    """What is put on the backbone.

    `fpn`: Faster R-CNN on a feature pyramid (Lin et al. 2017, arXiv 1612.03144). `c4`: Faster R-CNN on the last stage
    but one, the last stage being the head of each region, with a BatchNorm of its own after it (the protocol of MoCo,
    arXiv 1911.05722). `retina`: RetinaNet (arXiv 1708.02002) on a feature pyramid. `mask`: Mask R-CNN (arXiv
    1703.06870) on a feature pyramid, which is `fpn` and a mask for every object.
    """

    form: Literal["fpn", "c4", "retina", "mask"] = "fpn"
    norm: Literal["trained", "frozen"] = "trained"
    """BatchNorm of the backbone: trained, with BatchNorm in the new layers too, or fixed as pretraining left it."""
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


class _Pyramid(nn.Module):
    """A feature pyramid on the stages from stride `_FINEST` on."""

    def __init__(self, body: Stages, config: Detector) -> None:
        super().__init__()
        self.body = body
        self.first = next((n for n, stride in enumerate(body.strides) if stride >= _FINEST), len(body.strides) - 1)
        norm = nn.BatchNorm2d if config.norm == "trained" else None
        retina = config.form == "retina"
        extra = LastLevelP6P7(config.width, config.width) if retina else LastLevelMaxPool()
        self.fpn = FeaturePyramidNetwork(body.widths[self.first :], config.width, extra, norm)
        self.out_channels = config.width
        self.strides = body.strides[self.first :]
        self.strides += [self.strides[-1] * 2, self.strides[-1] * 4] if retina else [self.strides[-1] * 2]

    @property
    def names(self) -> list[str]:
        """The levels that belong to a stage."""
        return [str(number) for number in range(len(self.body.strides) - self.first)]

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        maps = self.body(images)[self.first :]
        levels: dict[str, Tensor] = self.fpn(OrderedDict(zip(self.names, maps, strict=True)))
        return levels


class _Trunk(nn.Module):
    """All stages but the last, one map."""

    def __init__(self, body: Stages) -> None:
        super().__init__()
        self.stem, self.stages = body.stem, body.stages[:-1]
        self.out_channels, self.stride = body.widths[-2], body.strides[-2]

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        x = self.stem(images)
        for stage in self.stages:
            x = stage(x)
        return {"0": x}


class _Regions(nn.Module):
    """Regions of one map, pixel centres aligned, as many samples per bin as its pixels (Detectron2's ROIAlignV2)."""

    def __init__(self, side: int, stride: int) -> None:
        super().__init__()
        self.side, self.stride = side, stride

    def forward(self, features: dict[str, Tensor], boxes: list[Tensor], sizes: list[tuple[int, int]]) -> Tensor:
        pooled: Tensor = roi_align(
            features["0"], boxes, self.side, spatial_scale=1 / self.stride, sampling_ratio=0, aligned=True
        )
        return pooled


class _StageHead(nn.Module):
    """The last stage on each region, a BatchNorm after it where BatchNorm is trained, and the mean over places."""

    def __init__(self, stage: nn.Module, width: int, norm: bool) -> None:
        super().__init__()
        self.stage = stage
        self.norm = nn.BatchNorm2d(width) if norm else nn.Identity()

    def forward(self, regions: Tensor) -> Tensor:
        out: Tensor = self.norm(self.stage(regions))
        return out.mean((2, 3))


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
    config: Detector, backbone: Backbone, classes: int, mean: tuple[float, ...], std: tuple[float, ...]
) -> nn.Module:
    """The detector on a copy of `backbone`, its new layers drawn from torch's generator; torchvision's interface.

    Images are C x H x W in [0, 1], labels 1 … classes, masks N x H x W of 0 and 1 in training, and N x 1 x 28 x 28 in
    [0, 1] over the boxes in testing. Raises ValueError for a backbone that has no stages.
    """
    body = Stages(backbone)
    if config.norm == "frozen":
        _freeze(body)
    # The sides are those of the images that come in, so that nothing is rescaled afterwards either.
    ready = _Ready(0, 0, list(mean), list(std))
    if config.form == "c4":
        if len(body.strides) < 2:
            raise ValueError("the form c4 needs two stages or more; this backbone has one: take --detector.form fpn")
        c4: nn.Module = _two_stages(config, _Trunk(body), ready, *_c4_parts(config, body, classes))
        return c4
    pyramid = _Pyramid(body, config)
    if config.form == "retina":
        sizes = tuple(
            (s * config.anchor / 2, s * config.anchor * 0.63, s * config.anchor * 0.794) for s in pyramid.strides
        )
        anchors = AnchorGenerator(sizes, (RATIOS,) * len(sizes))
        made = RetinaNet(
            pyramid,
            classes + 1,
            anchor_generator=anchors,
            score_thresh=SCORE,
            nms_thresh=OVERLAP,
            detections_per_img=DETECTIONS,
        )
        made.transform = ready
        return made  # type: ignore[no-any-return]
    anchors = AnchorGenerator(tuple((s * config.anchor,) for s in pyramid.strides), (RATIOS,) * len(pyramid.strides))
    pool = MultiScaleRoIAlign(pyramid.names, 7, sampling_ratio=2)
    head = TwoMLPHead(config.width * 49, config.hidden)
    for layer in (head.fc6, head.fc7):
        nn.init.kaiming_uniform_(layer.weight, a=1)
        nn.init.zeros_(layer.bias)
    made = _two_stages(config, pyramid, ready, anchors, pool, head, _predictor(config.hidden, classes))
    return _with_masks(made, config, pyramid, classes) if config.form == "mask" else made


def _with_masks(made: GeneralizedRCNN, config: Detector, pyramid: _Pyramid, classes: int) -> nn.Module:
    """Faster R-CNN and a mask of each class for each region: four convolutions, and one that doubles the size."""
    heads = made.roi_heads
    heads.mask_roi_pool = MultiScaleRoIAlign(pyramid.names, 14, sampling_ratio=2)
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
    head = _StageHead(body.stages[-1], body.widths[-1], config.norm == "trained")
    return anchors, _Regions(14, body.strides[-2]), head, _predictor(body.widths[-1], classes)


def _two_stages(
    config: Detector,
    maps: _Trunk | _Pyramid,
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
