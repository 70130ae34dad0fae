"""Gradients shortened part by part, or each by itself."""

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

_BACKBONE = ("backbone.", "mask_token")
_OF_PLACES = ("patch_", "dense.")


def clip_parts(network: nn.Module, most: float) -> None:
    """Shorten the gradient of each part of an encoder to the norm `most`: backbone, heads, heads of patches or places.

    DINOv2 clips so (facebookresearch/dinov2, train/train.py): a long gradient of the prototypes does not shorten that
    of the backbone, to which the mask token belongs. A network that is no encoder is one part.
    """
    parts: dict[str, list[Tensor]] = {}
    for name, p in network.named_parameters():
        part = "backbone" if name.startswith(_BACKBONE) else "places" if name.startswith(_OF_PLACES) else "head"
        parts.setdefault(part, []).append(p)
    for parameters in parts.values():
        clip_grad_norm_(parameters, most)


def clip_each(gradients: list[Tensor], most: float) -> None:
    """Shorten every gradient whose norm is above `most` to that norm."""
    norms = torch.stack(torch._foreach_norm(gradients))
    # As in torch's own clipping, which the authors' has too: a hair shorter, so that nothing is divided by 0.
    torch._foreach_mul_(gradients, list((most / (norms + 1e-6)).clamp(max=1.0).unbind()))
