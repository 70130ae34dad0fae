"""The embedded data set of the demonstration: scikit-learn's handwritten digits, drawn into coloured scenes.

1,797 real 8x8 pen strokes (Alpaydin and Kaynak, UCI 1998) become 32x32 colour images: each stroke at a random place,
size and rotation, in random colours of pen and paper. Nothing but the shape tells the digit, so raw pixels do badly.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits

SIZE = 32
COPIES = 5
"""Scenes made of each training stroke (a test stroke has one)."""


def write_digits(folder: Path, seed: int = 0, copies: int = COPIES) -> None:
    """Write FOLDER/train/<digit>/<n>.png and FOLDER/test/<digit>/<n>.png; every fifth stroke is for testing only."""
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
    ink = Image.fromarray((stroke * 255).astype(np.uint8))
    side = int(random.integers(18, 29))
    large = ink.resize((side, side), Image.Resampling.BICUBIC).rotate(
        float(random.uniform(-20, 20)), Image.Resampling.BICUBIC, expand=True
    )
    left, top = (int(random.integers(-2, SIZE - extent + 3)) for extent in large.size)
    mask = Image.new("L", (SIZE, SIZE))
    mask.paste(large, (left, top))
    pen, paper = _two_colours(random)
    amount = np.asarray(mask, dtype=np.float64)[..., None] / 255
    shade = random.uniform(0.8, 1.2, size=3) ** np.linspace(-1, 1, SIZE)[:, None, None]  # a light from one side
    grain = random.normal(0, 6, size=(SIZE, SIZE, 3))
    pixels = (amount * pen + (1 - amount) * paper) * shade + grain
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def _two_colours(random: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Pen and paper, far enough apart in brightness to be told from each other in grey too."""
    while True:
        pen, paper = random.uniform(0, 255, size=(2, 3))
        if abs(float((pen - paper) @ np.array([0.299, 0.587, 0.114]))) > 70:
            return pen, paper
