"""A data set on which instance masks are right for good reason: coloured shapes on noise, in COCO's form."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from resmom.evaluate.detection import Detect
from tests.runs.rectangles import tiny

COLOURS = {"disc": (220, 30, 30), "triangle": (30, 200, 30)}


def write_shapes(root: Path, images: int, seed: int) -> str:
    """`images` pictures of 64 x 64 with one or two shapes each: discs as run lengths, triangles as polygons."""
    rng = np.random.default_rng(seed)
    root.mkdir(parents=True)
    names = list(COLOURS)
    content: dict[str, list[dict[str, object]]] = {
        "images": [],
        "annotations": [],
        "categories": [{"id": n + 1, "name": name} for n, name in enumerate(names)],
    }
    for number in range(images):
        pixels = rng.integers(60, 130, (64, 64, 3)).astype(np.uint8)
        content["images"].append({"id": number, "file_name": f"{number:03d}.png", "height": 64, "width": 64})
        for left in rng.permutation([2, 34])[: int(rng.integers(1, 3))]:
            name = str(rng.choice(names))
            side = int(rng.integers(20, 29))
            x, y = int(left + rng.integers(0, 30 - side + 1)), int(rng.integers(0, 64 - side))
            inside, segmentation = disc(x, y, side) if name == "disc" else triangle(x, y, side)
            pixels[inside] = COLOURS[name]
            content["annotations"].append({
                "id": len(content["annotations"]),
                "image_id": number,
                "category_id": names.index(name) + 1,
                "bbox": [x, y, side, side],
                "segmentation": segmentation,
                "iscrowd": 0,
            })  # fmt: skip
        Image.fromarray(pixels).save(root / f"{number:03d}.png")
    (root / "shapes.json").write_text(json.dumps(content))
    return str(root / "shapes.json")


def disc(x: int, y: int, side: int) -> tuple[np.ndarray, object]:
    rows, columns = np.mgrid[:64, :64] + 0.5
    inside = (rows - y - side / 2) ** 2 + (columns - x - side / 2) ** 2 <= (side / 2) ** 2
    flat = inside.ravel(order="F")
    changes = np.flatnonzero(np.diff(np.concatenate([[0], flat, [not flat[-1]]]).astype(int)))
    return inside, {"size": [64, 64], "counts": np.diff(np.concatenate([[0], changes])).tolist()}


def triangle(x: int, y: int, side: int) -> tuple[np.ndarray, object]:
    """The lower left half of a square."""
    rows, columns = np.mgrid[:64, :64] + 0.5
    inside = (columns >= x) & (rows <= y + side) & (columns - x <= rows - y)
    return inside, [[x, y, x + side, y + side, x, y + side]]


def tiny_masks(**changes: object) -> Detect:
    """A Mask R-CNN that trains in seconds."""
    return tiny(detector=replace(tiny().detector, form="mask"), **changes)
