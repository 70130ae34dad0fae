"""A backbone of the user's own: any module that turns views into representations."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from resmom.nets.backbones import Backbone


class GivenBackbone(Backbone):
    """A module taken as it is; a map that it returns is averaged over its places."""

    def forward(self, view: Float[Tensor, "n c height width"]) -> tuple[Tensor, Float[Tensor, "n d"]]:
        features = self.body(view)
        return features, features.mean((2, 3)) if features.ndim == 4 else features


def given_backbone(module: nn.Module, view: tuple[int, int, int]) -> Backbone:
    """The module with its width found by a trial on two views of the shape C, S, S, in evaluation mode.

    Raises ValueError if it does not return one vector, or one map, per view, and if nothing of it can be trained.
    """
    frozen = [p for p in module.parameters() if not p.requires_grad]
    if frozen and len(frozen) == len(list(module.parameters())):
        raise ValueError(
            f"no parameter of {type(module).__name__} takes a gradient, so nothing of it would be trained; call "
            "requires_grad_(True) on what shall learn"
        )
    out = _tried(module, view)
    if not isinstance(out, Tensor) or out.ndim not in (2, 4) or len(out) != 2:
        found = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
        raise ValueError(
            f"{type(module).__name__} returns {found} for two views; it must return representations N x D or maps "
            "N x D x H x W, so wrap it (and take its classifier off)"
        )
    if not list(module.parameters()):
        raise ValueError(
            f"{type(module).__name__} has no parameters, so nothing of it would be trained; give a module with weights "
            "(in an nn.Module's list or dict they are not found, in an nn.ModuleList or nn.ModuleDict they are)"
        )
    return GivenBackbone(module, out.shape[1])


def require_map(backbone: Backbone, view: tuple[int, int, int]) -> None:
    """Raise ValueError for a backbone that gives no map N x width x H x W of a view of the shape C, S, S.

    Found out by a trial on two views, in evaluation mode.
    """
    features, _ = _tried(backbone, view)
    if not isinstance(features, Tensor) or features.ndim != 4 or features.shape[1] != backbone.width:
        found = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
        raise ValueError(
            f"DenseCL compares the places of a feature map N x {backbone.width} x H x W, but "
            f"{type(backbone.body).__name__} gives {found} for two views; take a convolutional backbone "
            "whose map is as wide as h, such as a ResNet"
        )


def _tried(module: nn.Module, view: tuple[int, int, int]) -> Any:
    """What a module answers to two views of zeros, in evaluation mode."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        with torch.no_grad():
            return module(torch.zeros(2, *view))
    except (RuntimeError, AssertionError, ValueError, TypeError) as error:  # whatever a module of others raises
        told = str(error) or type(error).__name__
        raise ValueError(f"{type(module).__name__} cannot take views of shape {view}: {told}") from error
    finally:
        for part, training in modes.items():
            part.training = training
