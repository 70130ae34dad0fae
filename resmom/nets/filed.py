"""What the tensors of a file say of the Vision Transformer that they were made with."""

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from resmom.nets.grids import CLASS, POSITIONS
from resmom.nets.layouts import renamed
from resmom.nets.positions import is_sincos, square_side
from resmom.nets.weightfile import read_weights, uncompiled

_CUT = "patch_embed.proj.weight"


@dataclass(frozen=True)
class FiledViT:
    """A Vision Transformer by the shapes of its tensors: what no shape tells, heads among it, is not here.

    `grid`: patches a side of the image that its positions are of; `fixed`: these are MoCo-v3's; `scaled`: its blocks
    scale what they add, as DINOv2's do; `registers`: tokens beside the class token.
    """

    width: int
    depth: int
    patch: int
    grid: int
    fixed: bool
    scaled: bool
    registers: int

    @property
    def image(self) -> int:
        """The side of the image that its positions are of, in pixels."""
        return self.grid * self.patch

    def __str__(self) -> str:
        tokens = f", {self.registers} registers" if self.registers else ""
        return (
            f"a Vision Transformer of width {self.width}, {self.depth} blocks, patches of {self.patch} pixels and "
            f"positions for {self.grid} x {self.grid} of them{tokens}"
        )


def filed_vit(path: str | Path) -> FiledViT | None:
    """The Vision Transformer in a file of weights; None where it holds none with learned or MoCo-v3's positions.

    Raises WeightsError where the file cannot be read.
    """
    file = Path(path).expanduser()
    state = file.stat() if file.is_file() else None
    return _filed(str(file), state and (state.st_mtime_ns, state.st_size))


@functools.lru_cache(maxsize=4)  # an option is judged several times, and the file may be large
def _filed(path: str, version: tuple[int, int] | None) -> FiledViT | None:
    raw = {uncompiled(name): value for name, value in read_weights(path).items()}
    other = renamed(raw)
    return vit_of(raw if other is None else other.weights)


def vit_of(weights: Mapping[str, Tensor]) -> FiledViT | None:
    """The same of tensors under timm's names, and any prefix: the first that is found."""
    for name, cut in weights.items():
        prefix = name.removesuffix(_CUT)
        positions = weights.get(prefix + POSITIONS)
        if prefix == name or cut.ndim != 4 or positions is None or positions.ndim != 3:
            continue
        depth = len(
            {found[1] for other in weights if (found := re.match(re.escape(prefix) + r"blocks\.(\d+)\.", other))}
        )
        grid = next((side for before in (1, 0) if (side := square_side(positions.shape[1] - before))), 0)
        if depth and grid and prefix + CLASS in weights:
            registers = weights.get(prefix + "reg_token")
            return FiledViT(
                width=cut.shape[0],
                depth=depth,
                patch=cut.shape[-1],
                grid=grid,
                fixed=is_sincos(positions),
                scaled=f"{prefix}blocks.0.ls1.gamma" in weights,
                registers=0 if registers is None else registers.shape[1],
            )
    return None
