"""Settings in words, as they are told to people."""

from resmom.nets.backbones import BackboneConfig, DinoViT, MoCoViT, ResNet, SmallResNet, Timm
from resmom.views.policy import Numbers


def passes(number: float) -> str:
    """So many times over all images."""
    if number < 1:
        return f"{number:.1g} of a pass over the images"
    return f"{number:.0f} pass{'' if round(number) == 1 else 'es'} over the images"


def named(backbone: BackboneConfig) -> str:
    """A backbone in words, for people."""
    match backbone:
        case SmallResNet(widths=widths, blocks=blocks):
            return f"SmallResNet {'-'.join(map(str, widths))}" + (f", {blocks} blocks a stage" if blocks > 1 else "")
        case ResNet(depth=depth, stem=stem):
            return f"ResNet-{depth}, {stem} stem"
        case MoCoViT(size=size, patch=patch, image=image):
            return f"ViT-{size}/{patch} at {image} pixels"
        case DinoViT(size=size, patch=patch, image=image):
            return f"DINO's ViT-{size}/{patch} at {image} pixels"
        case Timm(name=name, image=image):
            return f"timm's {name}" + (f" at {image} pixels" if image else "")


def numbers(values: Numbers) -> str:
    """Mean or deviation of the channels."""
    return "(" + ", ".join(f"{value:.3f}" for value in values) + ")"
