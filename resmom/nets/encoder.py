"""One network of a method: backbone, projector and, for a student that predicts, a predictor."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from resmom.nets.backbones import Backbone
from resmom.types import Encoding


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
        return Encoding(h, z, p, self.dense(features).flatten(2), logits, features.flatten(2))


def encode(network: nn.Module, views: Sequence[Float[Tensor, "n c _ _"]], apart: int) -> tuple[Encoding, ...]:
    """A network on many views: the first `apart` one after the other, the rest, small and of one size, as one batch."""
    encodings = [network(view) for view in views[:apart]]
    if len(views) > apart:
        joined: Encoding = network(torch.cat(list(views[apart:])))
        n = len(views[apart])
        encodings += [joined.rows(slice(start, start + n)) for start in range(0, len(joined.h), n)]
    return tuple(encodings)
