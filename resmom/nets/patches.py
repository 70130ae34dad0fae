"""Linear classifiers of a frozen backbone's places: the patches of a Vision Transformer, or the places of a map."""

import copy

import torch
import torch.nn.functional as F
from jaxtyping import Float
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from resmom.nets.backbones import Backbone


class PatchProbe(nn.Module):
    """A frozen backbone and one linear classifier for each learning rate that is tried, and one more for the chosen."""

    chosen: Tensor
    """The number of the chosen learning rate; -1 before the choice."""
    judged: Tensor
    """Each classifier's mIoU on the held-out images, in percent."""
    mean: Tensor
    deviation: Tensor

    def __init__(
        self, backbone: Backbone, classes: int, tried: int, mean: tuple[float, ...], std: tuple[float, ...]
    ) -> None:
        """Classifiers start at 0. Raises ValueError for a backbone whose output is neither map nor patches."""
        super().__init__()
        self.backbone = copy.deepcopy(backbone).requires_grad_(False)
        self.classes, self.tried = classes, tried
        self.patch = _patch(self.backbone)
        self.register_buffer("pixel_mean", torch.tensor(mean)[:, None, None], persistent=False)
        self.register_buffer("pixel_std", torch.tensor(std)[:, None, None], persistent=False)
        width = self._width()
        self.heads = nn.ParameterList([nn.Parameter(torch.zeros(classes, width + 1)) for _ in range(tried + 1)])
        self.register_buffer("chosen", torch.tensor(-1))
        self.register_buffer("judged", torch.zeros(tried, dtype=torch.float64))
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("deviation", torch.ones(width))
        self.train()

    def train(self, mode: bool = True) -> "PatchProbe":
        """The backbone stays in evaluation mode."""
        super().train(mode)
        self.backbone.eval()
        return self

    @torch.no_grad()
    def features(self, image: Float[Tensor, "3 _ _"]) -> Float[Tensor, "d rows columns"]:
        """What the backbone says of the places of one whole image in [0, 1].

        For patches the image is filled up with the mean, on the right and below, to whole patches.
        """
        assert isinstance(self.pixel_mean, Tensor) and isinstance(self.pixel_std, Tensor)
        x = (image - self.pixel_mean) / self.pixel_std
        if self.patch is None:
            found: Tensor = self.backbone(x[None])[0][0]
            return found
        rows, columns = (-(-side // self.patch) for side in x.shape[1:])
        x = F.pad(x, (0, columns * self.patch - x.shape[2], 0, rows * self.patch - x.shape[1]))
        tokens: Tensor = self.backbone(x[None])[0][0]
        return tokens[tokens.shape[0] - rows * columns :].T.reshape(-1, rows, columns)

    def votes(
        self,
        features: Float[Tensor, "d rows columns"],
        image: tuple[int, int],
        size: tuple[int, int],
        heads: list[int],
    ) -> Float[Tensor, "heads classes _ _"]:
        """The votes of some classifiers on the places of an image of size `image`, bilinearly brought to `size`."""
        d, rows, columns = features.shape
        x = (features.reshape(d, -1) - self.mean[:, None]) / self.deviation[:, None]
        weights = torch.cat([self.heads[head] for head in heads])
        votes = torch.addmm(weights[:, -1:], weights[:, :-1], x).view(len(heads), self.classes, rows, columns)
        if self.patch is None:
            return F.interpolate(votes, size, mode="bilinear", align_corners=False)
        # The patches reach beyond the image; what they say of there is cut off again.
        whole = [round(size[i] * count * self.patch / image[i]) for i, count in enumerate((rows, columns))]
        return F.interpolate(votes, whole, mode="bilinear", align_corners=False)[..., : size[0], : size[1]]

    def _width(self) -> int:
        """The features' number of channels, tried on an image that is no square."""
        side = self.patch or 32
        try:
            found = self.features(torch.zeros(3, 2 * side, 3 * side))
        except (AssertionError, RuntimeError) as error:
            raise ValueError(
                f"it takes images of one size only ({error}), but whole images of any are shown"
            ) from error
        return found.shape[0]


def _patch(backbone: Backbone) -> int | None:
    """The side of a Vision Transformer's patches; None for a backbone that makes maps."""
    if isinstance(backbone.body, VisionTransformer):
        side: int = backbone.body.patch_embed.patch_size[0]
        return side
    was = backbone.training
    with torch.no_grad():
        found = backbone.eval()(torch.zeros(1, 3, 64, 64))[0]
    backbone.train(was)
    if found.ndim != 4 or found.shape[2] != found.shape[3] or found.shape[2] > 64:
        raise ValueError(
            f"its output has the shape {tuple(found.shape)}; a map (N x C x H x W) or a Vision Transformer's tokens "
            "are known"
        )
    return None
