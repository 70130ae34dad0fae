"""The body of Vision Transformers that take views of several sizes, and patches that are hidden from them."""

import math
from typing import Any

import torch
from jaxtyping import Bool, Float
from timm.layers.drop import DropPath
from timm.layers.pos_embed import resample_abs_pos_embed
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from resmom.nets.positions import sincos_positions


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


def takes_hidden(body: nn.Module) -> bool:
    """Whether `hidden_tokens` takes a body: a Vision Transformer of ours or timm's, for views of several sizes, whose
    class token is h."""
    return isinstance(body, VisionTransformer) and body.dynamic_img_size and body.global_pool == "token"


def hidden_tokens(
    body: VisionTransformer,
    view: Float[Tensor, "n c height width"],
    hidden: Bool[Tensor, "n rows columns"],
    token: Float[Tensor, "1 d"],
) -> Float[Tensor, "n tokens d"]:
    """The tokens where `token` stands in place of every hidden patch; its position is still told."""
    x = body.patch_embed(view)
    x = torch.where(hidden[..., None], token.to(x.dtype), x)
    tokens: Tensor = body.norm(body.blocks(body.norm_pre(body._pos_embed(x))))
    return tokens


def moco_body(image: int, patch: int, width: int, depth: int, heads: int, freeze_patch: bool) -> ViTBody:
    """MoCo-v3's: fixed sin-cos positions; the start of its linear layers, class token and patch projection."""
    body = ViTBody(image, patch, width, depth, heads)
    grid = image // patch
    positions = torch.cat([torch.zeros(1, width), sincos_positions(width, grid, grid)])
    body.pos_embed = nn.Parameter(positions[None], requires_grad=False)
    for name, module in body.named_modules():
        if isinstance(module, nn.Linear):
            # Query, key and value are one matrix but start as three (moco-v3, vits.py).
            fan_out = module.out_features // 3 if name.endswith("qkv") else module.out_features
            bound = math.sqrt(6.0 / (module.in_features + fan_out))
            nn.init.uniform_(module.weight, -bound, bound)
            nn.init.zeros_(module.bias)
    assert body.cls_token is not None
    nn.init.normal_(body.cls_token, std=1e-6)
    projection = body.patch_embed.proj
    bound = math.sqrt(6.0 / (3 * patch**2 + width))
    nn.init.uniform_(projection.weight, -bound, bound)
    nn.init.zeros_(projection.bias)
    projection.requires_grad_(not freeze_patch)
    return body


def dino_body(
    image: int, patch: int, width: int, depth: int, heads: int, drop: float, even_drop: bool, gains: float
) -> ViTBody:
    """DINO's: learned positions; all start as normal of deviation .02, the class token too.

    DINOv2's class token starts with 1e-6, but its position, which is added to it, with .02 all the same. `drop`,
    `even_drop` and `gains` are `drop_path`, `even_drop` and `layer_scale` of a DinoViT.
    """
    body = ViTBody(image, patch, width, depth, heads, drop_path_rate=drop, init_values=gains or None)
    if even_drop and drop > 0:
        for block in body.blocks:
            block.drop_path1, block.drop_path2 = DropPath(drop), DropPath(drop)
    assert body.cls_token is not None
    torch.nn.init.normal_(body.cls_token, std=0.02)
    return body
