"""Learned positions of a transformer's patches, taken from another grid of patches than its own."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from resmom.nets.positions import is_sincos, square_side

POSITIONS, CLASS = "pos_embed", "cls_token"


@dataclass(frozen=True)
class Grid:
    """The patches of the image that a body is made for, and how many tokens before them have positions too."""

    rows: int
    columns: int
    before: int


@dataclass(frozen=True)
class Source:
    """The same of positions in a file, whose patches make a square."""

    side: int
    before: int


def grid_of(body: nn.Module) -> Grid | None:
    """The grid of a body whose positions may be brought to it: learned ones of timm's transformers, ours among them.

    None for MoCo-v3's fixed positions, which are computed for their grid, and for what has none, or relative ones.
    """
    positions = dict(body.named_parameters(recurse=False)).get(POSITIONS)
    if positions is None or is_sincos(positions):
        return None
    from timm.models.eva import Eva  # who has positions is built by timm, or brings seconds of imports itself
    from timm.models.vision_transformer import VisionTransformer

    if not isinstance(body, VisionTransformer | Eva):
        return None
    rows, columns = body.patch_embed.grid_size
    return Grid(rows, columns, 0 if body.no_embed_class else body.num_prefix_tokens)


def source_of(positions: Tensor, grid: Grid, width: int) -> Source | None:
    """How a file's positions (1 x tokens x width) are read for a grid. None where they cannot be.

    They have as many tokens before the patches as the grid, or one, the class token, where the grid has none:
    DINOv2's own files with registers, of which timm's have the class token's position in the class token.
    """
    if positions.ndim != 3 or positions.shape[0] != 1 or positions.shape[2] != width:
        return None
    for before in dict.fromkeys((grid.before, 1)) if grid.before == 0 else (grid.before,):
        if side := square_side(positions.shape[1] - before):
            return Source(side, before)
    return None


def brought(state: Mapping[str, Tensor], grid: Grid) -> tuple[dict[str, Tensor], str]:
    """A body's tensors with their positions on its grid, as timm resamples them: bicubic, antialiased, in float32.

    Positions of a class token that has none here are added to the token, which computes the same. Also what was done,
    in words; empty where nothing was resampled. The positions must have a source: see `source_of`.
    """
    from timm.layers.pos_embed import resample_abs_pos_embed

    positions = state[POSITIONS]
    source = source_of(positions, grid, positions.shape[-1])
    assert source is not None
    made = dict(state)
    if source.before > grid.before:
        made[CLASS] = state[CLASS] + positions[:, :1].to(state[CLASS].dtype)
        positions = positions[:, 1:]
    made[POSITIONS] = resample_abs_pos_embed(
        positions, [grid.rows, grid.columns], [source.side, source.side], grid.before
    )
    if (source.side, source.side) == (grid.rows, grid.columns):
        return made, ""
    return made, (
        f"positions of {source.side} x {source.side} patches resampled to {grid.rows} x {grid.columns} (bicubic, "
        "antialiased)"
    )


def heads_of(body: nn.Module) -> int | None:
    """The number of heads of a Vision Transformer of timm's kind; None for another body."""
    from timm.models.vision_transformer import VisionTransformer

    if not isinstance(body, VisionTransformer):
        return None
    first: Any = body.blocks[0]
    heads: int = first.attn.num_heads
    return heads
