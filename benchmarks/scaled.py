"""Photos decoded smaller (`@shorter-side`) beside whole ones and a pack: how much faster, and how far the pixels are.

    python -m benchmarks.scaled FOLDER [FOLDER ...] [--shorter-side 448 224] [--least 600] [--rounds N] [--out DIR]

The JPEGs in the folders whose shorter side has at least --least pixels are sorted by the part of their size that they
are decoded at. For each part: batches of two views of 224 pixels of the same photos, whole, decoded smaller, and packed
with `--side`, in turns, on one core; and how many grey levels (of 255) a view that is cropped, and nothing else, from
the smaller or the packed photo is off that from the whole one. "same region": the box of the smaller photo, times what
it was divided by, in the whole one; "same numbers": each has the box that the same random numbers give at its own size,
in whole pixels, as in training. Written to scaled.json in DIR.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.peers.case import Case
from benchmarks.peers.driver import Contender, interleave, repository
from benchmarks.peers.table import row, speed_ratios
from resmom.data.decode import decode, header
from resmom.data.packing import encoded, pack
from resmom.data.rgb import UnreadableImage
from resmom.data.store import Files
from resmom.views.draw import draw
from resmom.views.policy import mocov3_imagenet
from resmom.views.resample import crop_resize

BATCH, BATCHES, DRAWS = 8, 4, 4
VIEW = mocov3_imagenet().views[0]
Box = tuple[int, int, int, int]


def by_part(folders: list[Path], least: int, shorter_side: int) -> dict[int, list[Path]]:
    """Readable JPEGs by what their sides are divided by: 1, 2, 4 or 8."""
    found: dict[int, list[Path]] = {}
    for file in sorted(file for folder in folders for file in folder.iterdir()):
        if file.suffix.lower() not in (".jpg", ".jpeg"):
            continue
        try:
            height, width = header(file)
            if min(height, width) < least:
                continue
            decode(file)
        except UnreadableImage:
            continue
        found.setdefault(round(height / header(file, shorter_side)[0]), []).append(file)
    return dict(sorted(found.items()))


def boxes(size: tuple[int, int], number: int) -> list[Box]:
    """The boxes of some views of image `number`, if it has so many pixels (height, width)."""
    drawn = [draw(VIEW, 0, epoch, np.array([number]), 0, size).box[0].tolist() for epoch in range(DRAWS)]
    return [(box[0], box[1], box[2], box[3]) for box in drawn]


def enlarged(box: Box, by: int, size: tuple[int, int]) -> Box:
    """The same region of an image whose sides are `by` times as long, and no longer than `size`."""
    top, left = box[0] * by, box[1] * by
    return top, left, min(box[2] * by, size[0] - top), min(box[3] * by, size[1] - left)


def differences(files: list[Path], by: int, shorter_side: int) -> dict[str, dict[str, float]]:
    """Mean, 99th percentile and maximum of absolute differences from views of the whole photos, in grey levels."""
    found: dict[str, list[NDArray[np.float32]]] = {"same region": [], "same numbers": [], "packed, same numbers": []}
    for number, file in enumerate(files):
        whole, smaller = decode(file), decode(file, shorter_side)
        packed = decode(BytesIO(encoded(Files(file.parent, [file.name]), 0, shorter_side, 95)[0]))

        def view(image: torch.Tensor, box: Box) -> NDArray[np.float32]:
            pixels: NDArray[np.float32] = crop_resize(image, box, False, VIEW).mul_(255.0).numpy()
            return pixels

        size = (whole.shape[1], whole.shape[2])
        sets = [boxes((image.shape[1], image.shape[2]), number) for image in (whole, smaller, packed)]
        for own, reduced, of_pack in zip(*sets, strict=True):
            reference, seen = view(whole, own), view(smaller, reduced)
            found["same region"].append(np.abs(seen - view(whole, enlarged(reduced, by, size))))
            found["same numbers"].append(np.abs(seen - reference))
            found["packed, same numbers"].append(np.abs(view(packed, of_pack) - reference))
    return {name: _summary(np.stack(parts)) for name, parts in found.items()}


def _summary(off: NDArray[np.float32]) -> dict[str, float]:
    return {
        "mean": float(off.mean(dtype=np.float64)),
        "percentile_99": float(np.percentile(off, 99)),
        "max": float(off.max()),
    }


def speeds(files: list[Path], title: str, shorter_side: int, rounds: int) -> dict[str, Any]:
    """Batches of the same photos in turns; ratios are speeds of the smaller ones over the others'."""
    with tempfile.TemporaryDirectory(prefix="resmom-photos-") as place:
        photos = Path(place) / "photos"
        photos.mkdir()
        for number, file in enumerate(files):
            (photos / f"{number:05}.jpg").symlink_to(file.resolve())
        pack(photos, Path(place) / "pack", shorter_side)
        data = {"smaller": f"{photos}@shorter-side={shorter_side}", "whole": str(photos), "packed": f"{place}/pack"}
        case = Case("images", BATCH, VIEW.size, cores=1, batches=BATCHES)
        starts = {name: partial(_start, name, case, spec) for name, spec in data.items()}
        result = interleave(starts, rounds, warm=2)
    return row(title, case, result, speed_ratios(result, "smaller"), "s")


def _start(name: str, case: Case, spec: str) -> Contender:
    own = Case(**{**vars(case), "data": spec})
    command = [sys.executable, "-m", "benchmarks.peers.worker", "resmom", own.text()]
    return Contender(name, command, {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(repository())})


def compared(folders: list[Path], least: int, shorter_side: int, rounds: int) -> Iterator[dict[str, Any]]:
    """One part of the size after the other; speeds where there are photos for a batch."""
    for by, files in by_part(folders, least, shorter_side).items():
        pixels = [int(np.prod(header(file))) for file in files]
        title = f"shorter side {shorter_side}, decoded at 1/{by}: {len(files)} photos"
        speed = speeds(files, title, shorter_side, rounds) if len(files) >= BATCH else {"title": title}
        off = differences(files, by, shorter_side)
        megapixels = {"min": min(pixels) / 1e6, "median": float(np.median(pixels)) / 1e6, "max": max(pixels) / 1e6}
        for name, levels in off.items():
            print(f"{name:<28}" + "".join(f"{level:>8.2f}" for level in levels.values()) + "   grey levels", flush=True)
        yield {**speed, "photos": len(files), "divisor": by, "megapixels": megapixels, "differences": off}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scaled", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--shorter-side", type=int, nargs="+", default=[448, 224])
    parser.add_argument("--least", type=int, default=600, help="shorter side of the smallest photos, in pixels")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--out", type=Path, default=Path("docs/results/speed"))
    options = parser.parse_args()
    from resmom.runs.environment import environment, without_folders

    torch.set_num_threads(1)
    command = ["python", "-m", "benchmarks.scaled", *map(without_folders, sys.argv[1:])]
    content: dict[str, Any] = {"what": "scaled", "environment": environment() | {"command": command}}
    content["settings"] = {
        "view": VIEW.size,
        "draws": DRAWS,
        "rounds": options.rounds,
        "images_per_round": BATCH * BATCHES,
    }
    content["comparisons"] = []
    options.out.mkdir(parents=True, exist_ok=True)
    for side in options.shorter_side:
        for comparison in compared(options.folders, options.least, side, options.rounds):
            content["comparisons"].append({"shorter_side": side, **comparison})
            (options.out / "scaled.json").write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
