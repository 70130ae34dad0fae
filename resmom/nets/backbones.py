"""Backbones: a view in, (feature map or tokens, pooled representation h) out."""

import difflib
from dataclasses import dataclass
from typing import Any, Literal

from jaxtyping import Float
from torch import Tensor, nn

from resmom.called import called
from resmom.which import BACKBONES, Stem


@dataclass(frozen=True)
class ResNet:
    """torchvision's ResNet without its classifier.

    Stems: `imagenet` is 7x7 stride 2 and max-pool; `small` is 3x3 stride 1, no max-pool, so that a 32x32 image stays
    32x32; `small_pad2` is the same with padding 2 (34x34), as solo-learn has it and with it the CIFAR tables;
    `small_pool` keeps the max-pool after the 3x3 convolution, so that 64x64 becomes 32x32.
    """

    depth: Literal[18, 34, 50] = 18
    stem: Stem = "imagenet"
    zero_init_residual: bool = False
    """Start the gain of each block's last BatchNorm at 0 (Goyal et al. 2017), as moco-v3 does."""


@dataclass(frozen=True)
class SmallResNet:
    """A ResNet for CPUs: a 3x3 stem, then a stage of basic blocks per entry of `widths`, each at half the size."""

    widths: tuple[int, ...] = (32, 64, 128, 256)
    blocks: int = 1
    stem_stride: Literal[1, 2] = 2
    channels: int = 3


@dataclass(frozen=True)
class MoCoViT:
    """The Vision Transformer of MoCo-v3 (arXiv 2104.02057, section 4 and appendix).

    Fixed 2-D sin-cos positions, patch projection frozen at its random start, class token as h; 12 heads also for ViT-S.
    """

    size: Literal["micro", "tiny", "small", "base"] = "small"
    image: int = 224
    patch: int = 16
    freeze_patch: bool = True


MICRO = (96, 6, 3)
"""Width, blocks and heads of a transformer for CPUs: .7 million parameters. Ours; no paper has it."""
MOCO_VIT: dict[str, tuple[int, int, int]] = {
    "micro": MICRO,
    "tiny": (192, 12, 12),
    "small": (384, 12, 12),
    "base": (768, 12, 12),
}
"""Width, blocks and heads of MoCoViT's sizes."""
VIT: dict[str, tuple[int, int, int]] = {
    "micro": MICRO,
    "tiny": (192, 12, 3),
    "small": (384, 12, 6),
    "base": (768, 12, 12),
    "large": (1024, 24, 16),
}
"""Width, blocks and heads of DeiT's sizes (Touvron et al. 2021, arXiv 2012.12877), of ViT-L, and of "micro"."""


@dataclass(frozen=True)
class DinoViT:
    """The Vision Transformer of DINO (arXiv 2104.14294), iBOT and DINOv2: DeiT's, with 6 heads for ViT-S.

    Learned positions, interpolated for views of other sizes than `image`; class token as h.
    """

    size: Literal["micro", "tiny", "small", "base", "large"] = "small"
    image: int = 224
    patch: int = 16
    drop_path: float = 0.0
    """Chance that the last block of the student is left out of an image's way, falling to 0 at the first one."""
    even_drop: bool = False
    """Whether that chance is the same for all blocks, as DINOv2 has it (arXiv 2304.07193, appendix B); its code
    leaves out a fixed number of a batch's images instead of each by chance."""
    layer_scale: float = 0.0
    """Where the gain of each block's two branches starts (LayerScale, arXiv 2103.17239; DINOv2: 1e-5); 0: no gains."""

    def __post_init__(self) -> None:
        if not 0 <= self.drop_path < 1:
            raise ValueError(f"{called('backbone.drop_path')} is {self.drop_path}; it must be in [0, 1)")
        if self.layer_scale < 0:
            raise ValueError(f"{called('backbone.layer_scale')} is {self.layer_scale}; it must be 0 (none) or positive")


@dataclass(frozen=True)
class Timm:
    """Any timm model by name, randomly initialised. `image` is passed on where a model needs its input size.

    Vision Transformers take views of other sizes too, for which their positions are interpolated.
    """

    name: str = "resnet18"
    image: int | None = None


BackboneConfig = ResNet | SmallResNet | MoCoViT | DinoViT | Timm


class Backbone(nn.Module):
    """A body with known width. `forward` returns (N x C x H x W map or N x T x C tokens, N x width h)."""

    def __init__(self, body: nn.Module, width: int) -> None:
        super().__init__()
        self.body = body
        self.width = width

    def forward(self, view: Float[Tensor, "n c height width"]) -> tuple[Tensor, Float[Tensor, "n d"]]:
        features = self.body.forward_features(view)  # type: ignore[operator]
        return features, self.body.forward_head(features, pre_logits=True)  # type: ignore[operator]


def no_timm_model(name: str, known: list[str], function: str) -> str:
    """That timm has no such model, which of the `known` ones have its name in theirs, or are near it, and the command
    that lists all: `function` of Python does."""
    parts = sorted((full for full in known if len(name) > 2 and name in full), key=lambda full: (len(full), full))
    near = ", ".join(parts[:5] or difflib.get_close_matches(name, known, n=5))
    pattern, hint = "", f"; near it: {near}" if near else ""
    if parts:
        pattern, hint = f"'*{name}*'", f"; with that in their names: {near}" + (" …" if len(parts) > 5 else "")
    return f"timm has no model '{name}'{hint} (python -c \"import timm; print({function}({pattern}))\" lists them)"


def _timm(config: Timm) -> Backbone:
    import timm

    if not timm.is_model(config.name):
        raise ValueError(no_timm_model(config.name, timm.list_models(), "timm.list_models"))
    size: dict[str, Any] = {} if config.image is None else {"img_size": config.image}
    if cut_of(config) is not None:
        size["dynamic_img_size"] = True
    try:
        body = timm.create_model(config.name, pretrained=False, num_classes=0, **size)
    except (TypeError, AssertionError, RuntimeError) as error:
        if config.image is None:
            raise
        raise ValueError(
            f"timm's {config.name} cannot be made for images of {config.image} pixels ({error}); leave "
            f"{called('backbone.image')} out, which most convolutional models do not have, or give another size"
        ) from error
    width = body.head_hidden_size  # of what forward_head gives; num_features, the map's, is another in MobileNets
    assert isinstance(width, int)
    return Backbone(body, width)


def backbone_named(name: str) -> BackboneConfig:
    """A backbone by a short name, with its defaults. Raises ValueError with the names there are."""
    match name.partition(":"):
        case ("small", "", ""):
            return SmallResNet()
        case ("resnet18", "", ""):
            return ResNet(18)
        case ("resnet34", "", ""):
            return ResNet(34)
        case ("resnet50", "", ""):
            return ResNet(50)
        case ("vit-micro", "", ""):
            return MoCoViT("micro")
        case ("vit-tiny", "", ""):
            return MoCoViT("tiny")
        case ("vit-small", "", ""):
            return MoCoViT("small")
        case ("vit-base", "", ""):
            return MoCoViT("base")
        case ("dino-vit-micro", "", ""):
            return DinoViT("micro")
        case ("dino-vit-tiny", "", ""):
            return DinoViT("tiny")
        case ("dino-vit-small", "", ""):
            return DinoViT("small")
        case ("dino-vit-base", "", ""):
            return DinoViT("base")
        case ("dino-vit-large", "", ""):
            return DinoViT("large")
        case ("timm", ":", model) if model:
            return Timm(model)
        case _:
            raise ValueError(f"there is no backbone '{name}'; backbones are {BACKBONES}")


def name_of(backbone: BackboneConfig) -> str:
    """The short name by which `backbone_named` finds a backbone of this kind and size."""
    match backbone:
        case SmallResNet():
            return "small"
        case ResNet(depth=depth):
            return f"resnet{depth}"
        case MoCoViT(size=size):
            return f"vit-{size}"
        case DinoViT(size=size):
            return f"dino-vit-{size}"
        case Timm(name=name):
            return f"timm:{name}"


def cut_of(backbone: BackboneConfig) -> tuple[int, int] | None:
    """The sides of the image that a Vision Transformer is made for, and of its patches, in pixels.

    None for a backbone that cuts no images into patches, or takes images of one size alone.
    """
    match backbone:
        case MoCoViT(image=image, patch=patch) | DinoViT(image=image, patch=patch):
            return image, patch
        case Timm():
            # Of images that are no whole patches timm's leave the rest out, and then they take no other size.
            return None if unseen_of(backbone) is not None else _cut_by_timm(backbone)
        case _:
            return None


def unseen_of(backbone: BackboneConfig) -> tuple[int, int] | None:
    """The pixels that a Vision Transformer of timm's leaves out at the right and lower edge of its images, which are no
    whole patches, and the side of a patch. None for all others."""
    cut = _cut_by_timm(backbone) if isinstance(backbone, Timm) else None
    return None if cut is None or cut[0] % cut[1] == 0 else (cut[0] % cut[1], cut[1])


def _cut_by_timm(backbone: Timm) -> tuple[int, int] | None:
    """The sides of image and patch of a transformer of timm's that can take several sizes, whole patches or not."""
    from resmom.nets.timms import patches_of

    made_for = patches_of(backbone.name)
    return None if made_for is None else (backbone.image or made_for.image, made_for.patch)


def whole_sides(side: int, patch: int, least: int = 1, most: int = 2**31) -> str:
    """The sides that are whole patches next to one that is none, in words; those from `least` to `most` pixels."""
    below = side - side % patch
    return " or ".join(str(whole) for whole in (below, below + patch) if least <= whole <= most)


def patch_of(backbone: BackboneConfig) -> int:
    """The pixels of which a view's side is a multiple: a patch of a Vision Transformer, else 1."""
    cut = cut_of(backbone)
    return 1 if cut is None else cut[1]


def build_backbone(config: BackboneConfig) -> Backbone:
    """The backbone a config describes, with fresh weights from torch's generator.

    Raises ValueError for an unknown timm name.
    """
    # Each kind is imported when it is built: torchvision and timm take seconds, which a refused option and the run of
    # another kind need not wait for.
    match config:
        case ResNet():
            from resmom.nets.resnet import ResNetBody

            resnet = ResNetBody(config.depth, config.stem, config.zero_init_residual)
            return Backbone(resnet, resnet.width)
        case SmallResNet():
            from resmom.nets.resnet import SmallResNetBody

            small = SmallResNetBody(config.widths, config.blocks, config.stem_stride, config.channels)
            return Backbone(small, config.widths[-1])
        case MoCoViT():
            from resmom.nets.vit import moco_body

            body = moco_body(config.image, config.patch, *MOCO_VIT[config.size], config.freeze_patch)
            return Backbone(body, body.embed_dim)
        case DinoViT(image=image, patch=patch, drop_path=drop, even_drop=even_drop, layer_scale=gains):
            from resmom.nets.vit import dino_body

            body = dino_body(image, patch, *VIT[config.size], drop, even_drop, gains)
            return Backbone(body, body.embed_dim)
        case Timm():
            return _timm(config)
