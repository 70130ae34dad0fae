"""One network of a method: backbone, projector and, for a student that predicts, a predictor."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from resmom.called import setting
from resmom.nets.backbones import Backbone
from resmom.nets.given import GivenBackbone
from resmom.types import Encoding

if TYPE_CHECKING:  # most of a second that a run of a ResNet need not wait for
    from timm.models.vision_transformer import VisionTransformer


class Encoder(nn.Module):
    """What a view becomes: h from the backbone (kept), z from the projector, p from the predictor (student only).

    `prototypes`, of methods that have these, turn z into logits. `dense`, of methods that learn places, turns the
    backbone's map into a projection per place; the backbone must then return a map.
    """

    def __init__(
        self,
        backbone: Backbone,
        projector: nn.Module,
        predictor: nn.Module | None = None,
        prototypes: nn.Module | None = None,
        dense: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.projector = projector
        self.predictor = predictor
        self.prototypes = prototypes
        self.dense = dense

    def forward(self, view: Float[Tensor, "n c height width"]) -> Encoding:
        features, h = self.backbone(view)
        z = self.projector(h)
        p = None if self.predictor is None else self.predictor(z)
        logits = None if self.prototypes is None else self.prototypes(z)
        if self.dense is None:
            return Encoding(h, z, p, logits=logits)
        return Encoding(h, z, p, logits, Encoding(_by_place(features), _by_place(self.dense(features))))


def _by_place(found: Float[Tensor, "n d rows columns"]) -> Float[Tensor, "m d"]:
    """A map with a row per place, those of an image one after the other."""
    return found.flatten(2).transpose(1, 2).flatten(0, 1)


class PatchEncoder(Encoder):
    """An encoder on a Vision Transformer that, where asked, also says what each patch becomes: h, z and logits.

    The mask token stands here and not in the backbone, whose weights stay those of timm's transformer. It starts at 0,
    as the authors of iBOT have it. `patch_projector`, `patch_prototypes`: the patches' own parts of the head; None:
    those of the class token.
    """

    def __init__(
        self,
        backbone: Backbone,
        projector: nn.Module,
        prototypes: nn.Module,
        patch_prototypes: nn.Module | None = None,
        patch_projector: nn.Module | None = None,
    ) -> None:
        from resmom.nets.vit import takes_hidden

        super().__init__(backbone, projector, prototypes=prototypes)
        if isinstance(backbone, GivenBackbone) or not takes_hidden(backbone.body):
            raise ValueError(
                f"patches are hidden and compared in a Vision Transformer alone, and {type(backbone.body).__name__} is "
                "none of ours, nor, as it is here, one of timm's that takes views of several sizes and has its class "
                "token as h; choose "
                + setting("backbone", "dino-vit-small")
                + " (or -micro, -tiny, -base, -large), vit-small or timm:vit_small_patch16_224"
            )
        self.mask_token: nn.Parameter | None = nn.Parameter(torch.zeros(1, backbone.width))
        self.patch_prototypes = patch_prototypes
        self.patch_projector = patch_projector

    def forward(
        self,
        view: Float[Tensor, "n c height width"],
        hidden: Bool[Tensor, "n rows columns"] | None = None,
        patches: bool = False,
        chosen: Int[Tensor, " m"] | None = None,
    ) -> Encoding:
        """The class token's encoding; with `patches`, or where patches are `hidden`, those of the patches as `places`.

        The mask token takes the place of what is hidden. With the numbers of `chosen` patches, counted through the
        batch, these alone are compared with prototypes, as `hidden`; `places` then have h and z, and only if asked for.
        Comparing all of them would take most of the time and memory where there are many prototypes.
        """
        from resmom.nets.vit import hidden_tokens

        body = cast("VisionTransformer", self.backbone.body)
        if hidden is None:
            tokens = body.forward_features(view)
        else:
            assert self.mask_token is not None, "the teacher never sees a masked view"
            tokens = hidden_tokens(body, view, hidden, self.mask_token)
        said = self._said(body.forward_head(tokens, pre_logits=True), self.projector, self.prototypes)
        if hidden is None and not patches and chosen is None:
            return said
        rows = tokens[:, body.num_prefix_tokens :].flatten(0, 1)
        projector, prototypes = self.patch_projector or self.projector, self.patch_prototypes or self.prototypes
        if chosen is None:
            return replace(said, places=self._said(rows, projector, prototypes))
        if not patches:
            return replace(said, hidden=self._said(rows[chosen], projector, prototypes))
        assert prototypes is not None
        places = Encoding(rows, projector(rows))
        z = places.z[chosen]
        return replace(said, places=places, hidden=Encoding(rows[chosen], z, logits=prototypes(z)))

    def _said(self, h: Float[Tensor, "n d"], projector: nn.Module, prototypes: nn.Module | None) -> Encoding:
        z = projector(h)
        assert prototypes is not None
        return Encoding(h, z, logits=prototypes(z))


def encode(network: nn.Module, views: Sequence[Float[Tensor, "n c _ _"]], apart: int) -> tuple[Encoding, ...]:
    """A network on many views: the first `apart` one after the other, the rest, small and of one size, as one batch."""
    encodings = [network(view) for view in views[:apart]]
    if len(views) > apart:
        joined: Encoding = network(torch.cat(list(views[apart:])))
        n = len(views[apart])
        encodings += [joined.rows(slice(start, start + n)) for start in range(0, len(joined.h), n)]
    return tuple(encodings)
