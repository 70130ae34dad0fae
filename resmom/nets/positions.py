"""Where a token lies, as a vector."""

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
