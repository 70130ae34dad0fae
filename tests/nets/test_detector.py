"""Detectors: the shapes of their maps, what is frozen, and the parts that protocols ask for."""

import pytest
import torch
from torch import nn
from torchvision.models.detection import maskrcnn_resnet50_fpn
from torchvision.ops import FrozenBatchNorm2d

from resmom.nets.backbones import BackboneConfig, MoCoViT, ResNet, SmallResNet, build_backbone
from resmom.nets.detector import Detector, build_detector
from resmom.nets.stages import Stages

HALF = (0.5, 0.5, 0.5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "widths", "strides"),
    [
        (ResNet(18), [64, 128, 256, 512], [4, 8, 16, 32]),
        (ResNet(50), [256, 512, 1024, 2048], [4, 8, 16, 32]),
        (ResNet(18, "small"), [64, 128, 256, 512], [1, 2, 4, 8]),
        (SmallResNet((8, 8, 24), blocks=2), [8, 8, 24], [2, 4, 8]),
        (SmallResNet((8, 16), stem_stride=1), [8, 16], [1, 2]),
    ],
)
def test_stages_are_those_of_the_backbone(config: BackboneConfig, widths: list[int], strides: list[int]) -> None:
    backbone = build_backbone(config).eval()
    stages = Stages(backbone)
    assert (stages.widths, stages.strides) == (widths, strides)
    image = torch.randn(1, 3, 64, 64)
    maps = stages(image)
    assert [tuple(one.shape[1:]) for one in maps] == [
        (width, 64 // stride, 64 // stride) for width, stride in zip(widths, strides, strict=True)
    ]
    torch.testing.assert_close(maps[-1], backbone(image)[0])
    assert sum(p.numel() for p in stages.parameters()) == sum(p.numel() for p in backbone.parameters())


def test_measuring_the_stages_leaves_batch_statistics_alone() -> None:
    backbone = build_backbone(SmallResNet((8, 16))).train()
    stages = Stages(backbone)
    assert stages.training
    assert all(int(b) == 0 for name, b in stages.named_buffers() if name.endswith("num_batches_tracked"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("form", "config"),
    [
        *((form, SmallResNet((8, 16, 32))) for form in ("fpn", "c4", "retina", "mask")),
        *((form, ResNet(18)) for form in ("fpn", "c4", "retina", "mask")),
        *((form, ResNet(34)) for form in ("fpn", "c4")),
        *((form, MoCoViT("tiny", 64)) for form in ("fpn", "retina", "mask")),
    ],
)
def test_losses_and_detections(form: str, config: BackboneConfig) -> None:
    torch.manual_seed(0)
    settings = Detector(form, width=16, hidden=16, proposals=20, samples=16)  # type: ignore[arg-type]
    model = build_detector(settings, build_backbone(config), 3, HALF, HALF)
    images = [torch.rand(3, 64, 80), torch.rand(3, 70, 50)]
    target = {"boxes": torch.tensor([[4.0, 4, 40, 44]]), "labels": torch.tensor([3])}
    empty = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.long)}
    if form == "mask":
        target["masks"], empty["masks"] = torch.ones(1, 64, 80).byte(), torch.zeros(0, 70, 50).byte()
    losses = model(images, [target, empty])
    assert ("loss_mask" in losses) == (form == "mask")
    total = torch.stack(list(losses.values())).sum()
    total.backward()
    without = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []  # every layer takes part
    said = model.eval()(images)
    for image, one in zip(images, said, strict=True):
        height, width = image.shape[1:]
        assert len(one["boxes"]) == len(one["scores"]) == len(one["labels"]) <= 100
        assert (
            (one["boxes"] >= 0).all() and (one["boxes"][:, 2] <= width).all() and (one["boxes"][:, 3] <= height).all()
        )
        assert ((one["labels"] >= 1) & (one["labels"] <= 3)).all()
        assert ("masks" in one) == (form == "mask")
        if form == "mask":
            assert tuple(one["masks"].shape) == (len(one["boxes"]), 1, 28, 28)
            assert (one["masks"] >= 0).all() and (one["masks"] <= 1).all()


@pytest.mark.slow
def test_mask_r_cnn_is_torchvisions_with_the_same_faster_r_cnn() -> None:
    """The form `mask` has the weights of the form `fpn` of the same draw, and torchvision's head of masks beside."""
    models = {}
    for form in ("fpn", "mask"):
        torch.manual_seed(0)
        models[form] = build_detector(Detector(form), build_backbone(ResNet(50)), 80, HALF, HALF)  # type: ignore[arg-type]
    plain, masks = (models[form].state_dict() for form in ("fpn", "mask"))
    assert all(torch.equal(value, masks[name]) for name, value in plain.items())
    theirs = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=81).state_dict()
    shapes = {name: value.shape for name, value in theirs.items() if name.startswith("roi_heads.mask")}
    assert {name: value.shape for name, value in masks.items() if name not in plain} == shapes


@pytest.mark.slow
def test_c4_has_a_norm_of_its_own_after_the_last_stage() -> None:
    model = build_detector(Detector("c4"), build_backbone(ResNet(50)), 20, HALF, HALF)
    head = model.get_submodule("roi_heads.box_head")
    assert isinstance(head.norm, nn.BatchNorm2d) and head.norm.num_features == 2048
    assert tuple(head(torch.randn(2, 1024, 14, 14)).shape) == (2, 2048)
    regions = model.get_submodule("roi_heads.box_roi_pool")
    ramp = torch.arange(20.0).repeat(20, 1)[None, None]
    # Pixel centres lie at half pixels: the region 0 … 14 pixels of the map has bins centred at 0, 1, …
    pooled = regions({"0": ramp}, [torch.tensor([[0.0, 0, 14 * 16, 14 * 16]])], [(320, 320)])
    torch.testing.assert_close(pooled[0, 0, 5], torch.arange(14.0))
    assert model.get_submodule("rpn.head.cls_logits").out_channels == 15


def test_frozen_norms_keep_what_pretraining_left() -> None:
    backbone = build_backbone(SmallResNet((8, 16)))
    backbone.train()
    backbone(torch.randn(4, 3, 32, 32))
    model = build_detector(Detector("fpn", norm="frozen", width=16), backbone, 2, HALF, HALF)
    assert not [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert [m for m in model.modules() if isinstance(m, FrozenBatchNorm2d)]
    image = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(
        model.get_submodule("backbone.body")(image)[-1], backbone.eval()(image)[0], rtol=1e-4, atol=1e-5
    )
    trained = build_detector(Detector("fpn", width=16), backbone, 2, HALF, HALF)
    assert isinstance(trained.get_submodule("backbone.fpn.inner_blocks.0.1"), nn.BatchNorm2d)


@pytest.mark.slow
def test_anchors_grow_with_the_stride() -> None:
    model = build_detector(Detector("fpn", width=16), build_backbone(ResNet(18)), 2, HALF, HALF)
    assert model.get_submodule("rpn.anchor_generator").sizes == ((32.0,), (64.0,), (128.0,), (256.0,), (512.0,))
    c4 = build_detector(Detector("c4"), build_backbone(ResNet(18)), 2, HALF, HALF)
    assert c4.get_submodule("rpn.anchor_generator").sizes == ((32.0, 64.0, 128.0, 256.0, 512.0),)


def test_regions_are_cut_at_their_place_whatever_the_first_image_was_filled_up_to() -> None:
    """66 pixels become 96, a third more than torchvision takes for the map's size."""
    for form, pools in (("fpn", ["box"]), ("mask", ["box", "mask"])):
        config = Detector(form, width=8, hidden=8)  # type: ignore[arg-type]
        model = build_detector(config, build_backbone(SmallResNet((8, 16, 32))), 2, HALF, HALF)
        ramp = 0.5 + torch.arange(24.0).repeat(24, 1)
        maps = {"0": ramp.expand(1, 8, 24, 24), "1": torch.zeros(1, 8, 12, 12)}
        for kind in pools:
            pool = model.get_submodule(f"roi_heads.{kind}_roi_pool")
            pooled = pool(maps, [torch.tensor([[20.0, 20, 40, 40]])], [(66, 66)])
            # The centre of the region is at pixel 30, place 7.5 of the map.
            assert pooled.mean() == pytest.approx(8.0, abs=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["fpn", "c4", "retina", "mask"])
def test_boxes_are_not_rounded_to_bfloat16(form: str) -> None:
    """Under autocast the networks compute in bfloat16; anchors, regions and boxes stay in float32."""
    torch.manual_seed(0)
    settings = Detector(form, width=16, hidden=16, proposals=20, samples=16)  # type: ignore[arg-type]
    model = build_detector(settings, build_backbone(SmallResNet((8, 16, 32))), 3, HALF, HALF).eval()
    if form == "retina":
        model.score_thresh = 0.0
    seen: dict[str, torch.dtype] = {}

    def watch(name: str) -> None:
        def note(module: nn.Module, given: object, said: object) -> None:
            first = next(part for part in said if isinstance(part, list)) if isinstance(said, tuple) else said
            told = first[0]  # type: ignore[index]
            seen[name] = told["boxes"].dtype if isinstance(told, dict) else told.dtype

        model.get_submodule(name).register_forward_hook(note)

    for name in ("anchor_generator",) if form == "retina" else ("rpn.anchor_generator", "rpn", "roi_heads"):
        watch(name)
    convolved: list[torch.dtype] = []
    first = next(module for module in model.modules() if isinstance(module, nn.Conv2d))
    first.register_forward_hook(lambda module, given, said: convolved.append(said.dtype))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        (found,) = model([torch.rand(3, 160, 330)])
    assert convolved == [torch.bfloat16]
    assert seen and set(seen.values()) == {torch.float32}
    beyond = found["boxes"][found["boxes"] > 128]
    assert found["boxes"].dtype == torch.float32 and len(beyond) and bool((beyond != beyond.round()).any())
