"""The body of Vision Transformers that take views of several sizes, and patches that are hidden from them."""

from typing import Any

import torch
from jaxtyping import Bool, Float
from timm.layers.pos_embed import resample_abs_pos_embed
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor


class ViTBody(VisionTransformer):
    """timm's Vision Transformer, with timm's parameter names.

    For a view of another size than `img_size` the positions are interpolated (bicubic, antialiased).
    """

    def __init__(self, image: int, patch: int, width: int, depth: int, heads: int, **options: Any) -> None:
        super().__init__(
            img_size=image,
            patch_size=patch,
            embed_dim=width,
            depth=depth,
            num_heads=heads,
            num_classes=0,
            dynamic_img_size=True,
            **options,
        )

    def forward_hidden(
        self,
        view: Float[Tensor, "n c height width"],
        hidden: Bool[Tensor, "n rows columns"],
        token: Float[Tensor, "1 d"],
    ) -> Float[Tensor, "n tokens d"]:
        """The tokens where `token` stands in place of every hidden patch; its position is still told."""
        x = self.patch_embed(view)
        x = torch.where(hidden[..., None], token.to(x.dtype), x)
        tokens: Tensor = self.norm(self.blocks(self.norm_pre(self._pos_embed(x))))
        return tokens

    def forward_map(self, image: Float[Tensor, "n c height width"], canvas: int) -> Float[Tensor, "n d rows columns"]:
        """The last map of an image, its positions being those of the upper left corner of `canvas` x `canvas` patches.

        The learned positions are spread over that square, so that a place's position depends neither on the size of
        the image nor on what it is filled up with in a batch; detectors that fill every image up to such a square
        (ViTDet, arXiv 2203.16527) have the same. The class token goes along and is left out in the end.
        """
        x = self.patch_embed(image)
        n, rows, columns, width = x.shape
        spread = resample_abs_pos_embed(self.pos_embed, [canvas, canvas], old_size=self.patch_embed.grid_size)
        places = spread[:, 1:].reshape(1, canvas, canvas, width)[:, :rows, :columns]
        first = (self.cls_token + spread[:, :1]).expand(n, -1, -1)
        tokens = torch.cat([first, (x + places).flatten(1, 2)], dim=1)
        last: Tensor = self.norm(self.blocks(self.norm_pre(self.pos_drop(tokens))))
        return last[:, 1:].transpose(1, 2).reshape(n, width, rows, columns)


def dino_body(image: int, patch: int, width: int, depth: int, heads: int, drop_path: float) -> ViTBody:
    """DINO's: learned positions; all start as normal of deviation .02, the class token too."""
    body = ViTBody(image, patch, width, depth, heads, drop_path_rate=drop_path)
    assert body.cls_token is not None
    torch.nn.init.normal_(body.cls_token, std=0.02)
    return body
