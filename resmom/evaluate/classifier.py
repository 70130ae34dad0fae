"""A trained classifier as it is used: images as they come out of their files in, probabilities out."""

from collections.abc import Mapping
from typing import final

import torch
from jaxtyping import Float, Float32
from torch import Tensor, nn

from resmom.nets.backbones import Backbone
from resmom.views.apply import Images, plain
from resmom.views.policy import Interpolation

NOT_FINITE = "its training has diverged: train it again with a lower learning rate"


def as_used(network: nn.Module) -> None:
    """Evaluation mode, and no gradient."""
    network.eval().requires_grad_(False)


def require_finite(network: nn.Module) -> None:
    """Raise ValueError for weights that are not finite."""
    if not all(value.isfinite().all() for value in network.state_dict().values()):
        raise ValueError(f"its weights are not finite; {NOT_FINITE}")


def device_of(network: nn.Module) -> torch.device:
    """Where its weights lie."""
    return next(network.parameters()).device


@final
class TrainedClassifier(nn.Module):
    """Images to the probability of each class: the preparation of the evaluation, a backbone, and one linear layer.

    `said` is what its file says of it: protocol, score, and where it comes from, as texts.
    """

    def __init__(
        self,
        backbone: Backbone,
        layer: nn.Linear,
        classes: tuple[str, ...],
        mean: tuple[float, ...],
        std: tuple[float, ...],
        side: int,
        resize: Interpolation,
        said: Mapping[str, str],
    ) -> None:
        """Raises ValueError for weights that are not finite, and for another number of names than the layer has."""
        super().__init__()
        if len(classes) != layer.out_features:
            raise ValueError(f"it has {len(classes)} names for {layer.out_features} classes")
        self.backbone, self.layer = backbone, layer
        self.classes, self.mean, self.std, self.side, self.resize = classes, mean, std, side, resize
        self.said = dict(said)
        require_finite(self)
        as_used(self)

    def forward(self, images: Images) -> Float32[Tensor, "n classes"]:
        """Probabilities, rows that add up to 1, for uint8 images of any size, as a tensor or a list of C x H x W.

        Raises ValueError for images of another type or other channels, and for none.
        """
        return self.of_views(self.prepared(images))

    def prepared(self, images: Images) -> Float32[Tensor, "n c side side"]:
        """The images as the network sees them: resized, cropped in the centre, normalised."""
        return plain(images, self.side, self.mean, self.std, resize=self.resize)

    @torch.no_grad()
    def of_views(self, views: Float32[Tensor, "n c side side"]) -> Float32[Tensor, "n classes"]:
        """The probabilities for images that are `prepared`."""
        votes: Float[Tensor, "n classes"] = self.layer(self.backbone(views.to(device_of(self)))[1].float())
        return votes.softmax(1)
