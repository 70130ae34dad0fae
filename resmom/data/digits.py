"""The embedded data set of the demonstration: scikit-learn's handwritten digits, drawn into coloured scenes.

1,797 real 8x8 pen strokes (Alpaydin and Kaynak, UCI 1998) become 32x32 colour images: each stroke at a random place,
size and rotation, in random colours of pen and paper. Nothing but the shape tells the digit, so raw pixels do badly.
"""

import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits

SIZE = 32
COPIES = 5
"""Scenes made of each training stroke (a test stroke has one)."""


def write_digits(folder: Path, seed: int = 0, copies: int = COPIES) -> None:
    """Write FOLDER/train/<digit>/<n>.png and FOLDER/test/<digit>/<n>.png; every fifth stroke is for testing only.

    The folder is new, and there as a whole or, if this is interrupted, not at all.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(".part", dir=folder.parent) as draft:
        drawn = Path(draft) / folder.name
        _write(drawn, seed, copies)
        drawn.replace(folder)


def _write(folder: Path, seed: int, copies: int) -> None:
    digits = load_digits()
    random = np.random.default_rng(seed)
    for number, (stroke, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        split = "test" if number % 5 == 4 else "train"
        place = folder / split / str(label)
        place.mkdir(parents=True, exist_ok=True)
        for copy in range(copies if split == "train" else 1):
            scene(stroke / 16.0, random).save(place / f"{number:04d}-{copy}.png")


def scene(stroke: NDArray[np.float64], random: np.random.Generator) -> Image.Image:
    """A SIZE x SIZE picture of one 8x8 stroke (ink in [0, 1]) with everything but its shape drawn at random."""
    ink = Image.fromarray(np.pad(stroke * 255, 1).astype(np.uint8))
    side = int(random.integers(24, 33))
    large = ink.resize((side, side), Image.Resampling.BICUBIC)
    large = large.rotate(float(random.uniform(-20, 20)), Image.Resampling.BICUBIC)
    left, top = (int(position) for position in random.integers(-4, SIZE - side + 5, size=2))
    mask = Image.new("L", (SIZE, SIZE))
    mask.paste(large, (left, top))
    pen, paper = _colour(random, 190.0), _colour(random, 70.0)
    amount = np.asarray(mask, dtype=np.float64)[..., None] / 255
    pixels = amount * pen + (1 - amount) * paper
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def _colour(random: np.random.Generator, brightness: float) -> NDArray[np.float64]:
    """A random colour of a given brightness (0 to 255), as far from grey as it can be without leaving the range.

    Pen and paper differ in brightness by the same amount everywhere: a contrast of its own would tell one picture from
    another without a look at the shape, and that is all a contrastive method would then learn.
    """
    grey = np.array([0.299, 0.587, 0.114])
    tint = random.normal(size=3)
    tint -= tint @ grey
    room = np.where(tint > 0, (255 - brightness) / np.abs(tint), brightness / np.abs(tint)).min()
    colour: NDArray[np.float64] = brightness + random.uniform(0.3, 1.0) * room * tint
    return colour
