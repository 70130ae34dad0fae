"""One network of a method: backbone, projector and, for a student that predicts, a predictor."""

from jaxtyping import Float
from torch import Tensor, nn

from resmom.nets.backbones import Backbone
from resmom.types import Encoding


class Encoder(nn.Module):
    """What a view becomes: h from the backbone (kept), z from the projector, p from the predictor (student only)."""

    def __init__(self, backbone: Backbone, projector: nn.Module, predictor: nn.Module | None = None) -> None:
        super().__init__()
        self.backbone = backbone
        self.projector = projector
        self.predictor = predictor

    def forward(self, view: Float[Tensor, "n c height width"]) -> Encoding:
        _, h = self.backbone(view)
        z = self.projector(h)
        return Encoding(h, z, None if self.predictor is None else self.predictor(z))
