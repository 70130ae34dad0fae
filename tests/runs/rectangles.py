"""A data set on which a detector is right for good reason: coloured rectangles on noise, as a VOC folder."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from resmom.evaluate.detection import Detect
from resmom.nets.detector import Detector

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 30)}


def write_rectangles(root: Path, images: int, seed: int) -> Path:
    """`images` pictures of 64 x 64 with one to three rectangles each."""
    rng = np.random.default_rng(seed)
    (root / "JPEGImages").mkdir(parents=True)
    (root / "Annotations").mkdir()
    for number in range(images):
        pixels = rng.integers(60, 130, (64, 64, 3)).astype(np.uint8)
        objects = ""
        for _ in range(int(rng.integers(1, 4))):
            name = str(rng.choice(list(COLOURS)))
            (x, y), (w, h) = rng.integers(0, 36, 2), rng.integers(14, 28, 2)
            pixels[y : y + h, x : x + w] = COLOURS[name]
            objects += (
                f"<object><name>{name}</name><bndbox><xmin>{x + 1}</xmin><ymin>{y + 1}</ymin>"
                f"<xmax>{x + w}</xmax><ymax>{y + h}</ymax></bndbox></object>"
            )
        Image.fromarray(pixels).save(root / "JPEGImages" / f"{number:03d}.png")
        (root / "Annotations" / f"{number:03d}.xml").write_text(
            f"<annotation><size><width>64</width><height>64</height></size>{objects}</annotation>"
        )
    return root


def tiny(**changes: object) -> Detect:
    """A detector that trains in seconds."""
    base = Detect(
        detector=Detector("fpn", width=16, hidden=32, proposals=50, samples=32, anchor=6.0),
        steps=6,
        batch=4,
        lr=0.02,
        warmup_steps=2,
        clip=10.0,
        sides=(56, 64, 72),
        test_side=64,
        longest=128,
        line_steps=2,
        save_steps=2,
    )
    return replace(base, **changes)  # type: ignore[arg-type]
