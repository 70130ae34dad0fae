"""A data set on which naming pixels is right for good reason: coloured areas on noise, in several layouts."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from resmom.evaluate.fcn import Fcn
from resmom.evaluate.patchlinear import PatchLinear
from resmom.nets.segmenter import Segmenter

NAMES = ("ground", "red", "green", "void")


def scene(rng: np.random.Generator, height: int = 48, width: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """An image and the numbers of its classes by `NAMES`: a red and a green area, and a void stripe at the border."""
    pixels = rng.integers(60, 130, (height, width, 3)).astype(np.uint8)
    truth = np.zeros((height, width), dtype=np.uint8)
    for number, colour in ((1, (220, 30, 30)), (2, (30, 200, 30))):
        y, x, h, w = rng.integers(0, 20), rng.integers(0, 30), rng.integers(16, 28), rng.integers(16, 34)
        pixels[y : y + h, x : x + w] = colour
        truth[y : y + h, x : x + w] = number
    truth[:, -2:] = 3
    return pixels, truth


def write_scenes(root: Path, part: str, images: int, seed: int) -> str:
    """A part in SegNet's layout, with a file of names; returns how it is named."""
    rng = np.random.default_rng(seed)
    (root / part).mkdir(parents=True)
    (root / f"{part}annot").mkdir()
    (root / "classes.txt").write_text("\n".join(NAMES) + "\n")
    for number in range(images):
        pixels, truth = scene(rng)
        Image.fromarray(pixels).save(root / part / f"{number:03d}.png")
        Image.fromarray(truth).save(root / f"{part}annot" / f"{number:03d}.png")
    return f"{root}:{part}"


def tiny_fcn(**changes: object) -> Fcn:
    """An FCN that trains in seconds."""
    base = Fcn(
        segmenter=Segmenter("fcn", dilated=1, width=8),
        steps=6,
        batch=4,
        lr=0.05,
        clip=10.0,
        side=0,
        crop=40,
        line_steps=2,
        save_steps=2,
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def tiny_linear(**changes: object) -> PatchLinear:
    """A linear probe that trains in seconds."""
    base = PatchLinear(lrs=(0.03, 0.3), steps=4, batch=4, held_out=0.2, line_steps=2, save_steps=2)
    return replace(base, **changes)  # type: ignore[arg-type]
