"""Networks that name pixels: dilation that changes no former value, shapes, and who can become one."""

import pytest
import torch
from torch import nn
from torchvision.models import resnet50

from resmom.nets.backbones import BackboneConfig, DinoViT, MoCoViT, ResNet, SmallResNet, Timm, build_backbone
from resmom.nets.patches import PatchProbe
from resmom.nets.segmenter import FcnNetwork, Segmenter, dilate
from resmom.nets.stages import Stages

HALF = (0.5, 0.5, 0.5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "count", "strides"),
    [
        (ResNet(18), 2, [4, 8, 8, 8]),
        (ResNet(18, "small"), 1, [1, 2, 4, 4]),
        (SmallResNet((8, 8, 12), blocks=2), 2, [2, 2, 2]),
        (SmallResNet((8, 8, 12)), 0, [2, 4, 8]),
    ],
)
def test_dilation_keeps_the_former_values(config: BackboneConfig, count: int, strides: list[int]) -> None:
    """At the places of the coarser map the finer one has the very numbers that the backbone was trained to give."""
    torch.manual_seed(0)
    backbone = build_backbone(config).eval()
    body = Stages(backbone)
    former = body.strides[-1]
    dilate(body, count)
    assert body.strides == strides
    image = torch.randn(1, 3, 64, 96)
    fine, coarse = body(image)[-1], backbone(image)[0]
    assert fine.shape[2:] == (64 // strides[-1], 96 // strides[-1])
    step = former // strides[-1]
    torch.testing.assert_close(fine[:, :, ::step, ::step], coarse, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_dilations_of_bottlenecks_are_torchvisions() -> None:
    """And with them those of mmsegmentation's contract_dilation, which DenseCL's configuration asks for."""
    body = Stages(build_backbone(ResNet(50)))
    dilate(body, 2)
    theirs = resnet50(replace_stride_with_dilation=[False, True, True])
    pairs = list(zip(body.stages, (theirs.layer1, theirs.layer2, theirs.layer3, theirs.layer4), strict=True))
    for ours, other in pairs:
        for a, b in zip(ours.modules(), other.modules(), strict=True):
            if isinstance(a, nn.Conv2d):
                assert isinstance(b, nn.Conv2d)
                assert (a.stride, a.dilation, a.padding) == (b.stride, b.dilation, b.padding)


def test_heads() -> None:
    backbone = build_backbone(SmallResNet((4, 8, 16)))
    dense = FcnNetwork(Segmenter(width=6), backbone, 5, HALF, HALF)
    votes, second = dense(torch.randn(2, 3, 32, 40))
    assert votes.shape == (2, 5, 16, 20) and second is not None and second.shape == votes.shape
    # Two convolutions and the one over input and output: (16 + 6) channels to 6.
    assert dense.head.join is not None
    assert [tuple(p.shape[:2]) for n, p in dense.head.named_parameters() if p.ndim == 4] == [
        (6, 16),
        (6, 6),
        (6, 22),
        (5, 6),
    ]
    assert dense.eval()(torch.randn(1, 3, 32, 40))[1] is None
    field = FcnNetwork(Segmenter("field", dilated=1, width=6, auxiliary=0.0), backbone, 5, HALF, HALF)
    rates = [m.dilation for m in field.head.modules() if isinstance(m, nn.Conv2d)]
    assert rates == [(6, 6), (6, 6), (1, 1)] and field.second is None
    assert field.votes(torch.rand(3, 33, 41), (10, 11)).shape == (5, 10, 11)
    ready = dense.ready([torch.ones(3, 2, 3), torch.zeros(3, 4, 1)], 4)
    assert ready[0, 0].tolist() == [[1, 1, 1, 0], [1, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert (ready[1, :, :, 0] == -1).all() and (ready[1, :, :, 1:] == 0).all()


def test_who_cannot_become_one() -> None:
    with pytest.raises(ValueError, match=r"only ResNets have here.*PatchLinear"):
        FcnNetwork(Segmenter(), build_backbone(MoCoViT("tiny", 32)), 2, HALF, HALF)
    with pytest.raises(ValueError, match="can be 0 to 1; got 2"):
        FcnNetwork(Segmenter(dilated=2), build_backbone(SmallResNet((4, 8))), 2, HALF, HALF)
    with pytest.raises(ValueError, match="images of one size only"):
        PatchProbe(build_backbone(Timm("vit_tiny_patch16_224", 40)), 2, 1, HALF, HALF)  # no whole patches


@pytest.mark.slow
@pytest.mark.parametrize("config", [MoCoViT("tiny", 32), DinoViT("tiny", 32), Timm("vit_tiny_patch16_224", 32)])
def test_patches_lie_where_they_are(config: BackboneConfig) -> None:
    """A change in one place of the image changes that patch of a one-block network's patch embedding most."""
    torch.manual_seed(0)
    probe = PatchProbe(build_backbone(config), 2, 1, HALF, HALF)
    probe.backbone.body.blocks = nn.Identity()
    image = torch.rand(3, 40, 50)  # 2.5 x 3.1 patches: filled up to 3 x 4
    changed = image.clone()
    changed[:, 20:24, 36:40] += 1
    difference = (probe.features(changed) - probe.features(image)).abs().sum(0)
    assert difference.shape == (3, 4)
    assert difference[1, 2] > 0
    difference[1, 2] = 0
    assert (difference == 0).all()


def test_votes_of_patches_are_cut_where_the_image_ends() -> None:
    probe = PatchProbe(build_backbone(MoCoViT("tiny", 32)), 2, 1, HALF, HALF)
    probe.heads[0].data[1, 0] = 1.0
    features = torch.zeros(192, 1, 2)
    features[0, 0, 1] = 1.0  # the second patch, of which the image of width 24 has the left half
    votes = probe.votes(features, (16, 24), (16, 24), [0])[0, 1]
    whole = probe.votes(features, (16, 32), (16, 32), [0])[0, 1]
    assert votes.shape == (16, 24)
    torch.testing.assert_close(votes, whole[:, :24])
    assert whole[0, 0] == 0 and whole[0, -1] == 1


def test_the_backbone_of_a_probe_is_frozen() -> None:
    probe = PatchProbe(build_backbone(SmallResNet((4, 8))), 3, 2, HALF, HALF).train()
    assert not probe.backbone.training
    assert [name.split(".")[0] for name, p in probe.named_parameters() if p.requires_grad] == ["heads"] * 3
    before = {name: value.clone() for name, value in probe.backbone.state_dict().items()}
    probe.features(torch.rand(3, 20, 20))
    assert all(torch.equal(value, before[name]) for name, value in probe.backbone.state_dict().items())
