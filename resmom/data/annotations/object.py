"""What a file with boxes says of an image, before it is put into arrays."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Object:
    """One object as a file has it."""

    box: tuple[float, float, float, float]
    """x1, y1, x2, y2 in pixels, edges of the picture at 0 and at its width and height."""
    name: str
    difficult: bool = False
    crowd: bool = False
    mask: bytes | None = None
    """Its run lengths, as `data/annotations/runlength.py` has them; None where masks were not asked for."""


Listed = tuple[Path, tuple[int, int], list[Object]]
"""An image, its height and width, and the objects in it."""
