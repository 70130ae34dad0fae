"""Where a token lies, as a vector."""

import math

import torch
from jaxtyping import Float
from torch import Tensor


def sincos_positions(width: int, rows: int, columns: int) -> Float[Tensor, "tokens width"]:
    """Fixed 2-D positions: sine and cosine of column and row, a quarter of the width each, frequency 10000^(-4i/width).

    The layout of moco-v3: tokens column by column, as its meshgrid (w, h) makes them.
    """
    if width % 4:
        raise ValueError(f"2-D sin-cos positions need a width divisible by 4, got {width}")
    omega = 10000.0 ** (-torch.arange(width // 4, dtype=torch.float32) / (width // 4))
    column, row = torch.meshgrid(
        torch.arange(columns, dtype=torch.float32), torch.arange(rows, dtype=torch.float32), indexing="ij"
    )
    c, r = column.flatten()[:, None] * omega, row.flatten()[:, None] * omega
    return torch.cat([c.sin(), c.cos(), r.sin(), r.cos()], dim=1)


def square_side(patches: int) -> int:
    """The side of a square of so many patches; 0 where they make none."""
    side = math.isqrt(max(patches, 0))
    return side if side * side == patches else 0


def is_sincos(positions: Tensor) -> bool:
    """Whether positions (1 x tokens x width, the class token's first) are those of a square of patches, whatever the
    class token's is."""
    if positions.ndim != 3:
        return False
    side, width = square_side(positions.shape[-2] - 1), positions.shape[-1]
    if not side or width % 4:
        return False
    near = 1e-4 if positions.dtype in (torch.float32, torch.float64) else 5e-3
    return torch.allclose(positions[0, 1:].float().cpu(), sincos_positions(width, side, side), rtol=0.0, atol=near)
