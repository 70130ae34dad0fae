"""What decoding HEIC and AVIF costs beside JPEG, whole photos, on one core.

    python -m benchmarks.formats PHOTOS [--photos 24] [--side 224] [--large 2] [--rounds N] [--out FILE]

Small images: photos spread over the folder, their middle square at --side pixels. Large ones: as many photos as fill
4032 x 3024 pixels, side by side. Each is written as JPEG (quality 90), HEIC and AVIF (quality 75), and decoded by
`resmom.data.decode` in every format in turn; JPEG twice, once as its own peer, whose scatter says what the machine
adds. Ratios are of the processor's seconds of all threads in the same round.
"""

import argparse
import statistics
import time
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.ended import ended
from resmom.data.decode import decode, header
from resmom.errors import UserError
from resmom.jsonfiles import write_json
from resmom.runs.environment import environment, shareable

LARGE = (4032, 3024)
"""Pixels of a phone's photo."""
OWN, PEERS = "JPEG", ("JPEG again", "HEIC", "AVIF")
ROUNDS, WARM = 24, 1


def photos_of(folder: Path, count: int) -> list[Path]:
    """So many JPEGs, spread over the folder: its first ones may all be of one class. Raises UserError for too few."""
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in (".jpg", ".jpeg"))
    if len(files) < count:
        raise UserError(f"{folder} has {len(files)} JPEGs; --photos {count} needs as many, give fewer")
    return [files[at] for at in np.linspace(0, len(files) - 1, count).astype(int)]


def small_images(files: Sequence[Path], side: int) -> list[Image.Image]:
    """The middle squares of some photos."""
    return [_square(file, side) for file in files]


def large_image(files: Sequence[Path], first: int) -> Image.Image:
    """Photos side by side, as many as it takes, from number `first` on."""
    made, side = Image.new("RGB", LARGE), 504  # which divides both sides
    for number, (top, left) in enumerate((y, x) for y in range(0, LARGE[1], side) for x in range(0, LARGE[0], side)):
        made.paste(_square(files[(first + number) % len(files)], side), (left, top))
    return made


def _square(file: Path, side: int) -> Image.Image:
    with Image.open(file) as image:
        rgb, short = image.convert("RGB"), min(image.size)
    left, top = (rgb.width - short) // 2, (rgb.height - short) // 2
    return rgb.resize((side, side), Image.Resampling.BICUBIC, (left, top, left + short, top + short))


def files_of(images: Sequence[Image.Image]) -> dict[str, list[bytes]]:
    """Every image in every format."""
    try:
        import pillow_heif
    except ImportError as error:
        raise UserError("writing HEIC needs the extra heif: pip install -e '.[heif]'") from error
    pillow_heif.register_heif_opener()
    forms: dict[str, dict[str, Any]] = {
        OWN: {"format": "JPEG", "quality": 90},
        "HEIC": {"format": "HEIF", "quality": 75},
        "AVIF": {"format": "AVIF", "quality": 75},
    }
    found: dict[str, list[bytes]] = {}
    for name, options in forms.items():
        for image in images:
            file = BytesIO()
            image.save(file, **options)
            found.setdefault(name, []).append(file.getvalue())
    return {**found, "JPEG again": found[OWN]}


def measure(images: Sequence[Image.Image], rounds: int) -> dict[str, Any]:
    """Seconds of every round and format for all images together, of headers too, and the bytes of a file."""
    files = files_of(images)
    seconds: dict[str, list[float]] = {name: [] for name in files}
    headers: dict[str, list[float]] = {name: [] for name in files}
    for number in range(WARM + rounds):
        for name, own in files.items():
            for read, kept in ((decode, seconds), (header, headers)):
                began = time.process_time()
                for content in own:
                    read(BytesIO(content))
                if number >= WARM:
                    kept[name].append(time.process_time() - began)
    size = {name: statistics.fmean(map(len, own)) for name, own in files.items()}
    return {"images": len(images), "pixels": images[0].size, "bytes": size, "seconds": seconds, "headers": headers}


def ratios(found: dict[str, Any], name: str) -> list[float]:
    """The time of a format over that of JPEG, in every round."""
    own = found["seconds"]
    return [other / base for base, other in zip(own[OWN], own[name], strict=True)]


def words(values: Sequence[float]) -> str:
    """Minimum, median and maximum."""
    low, middle, high = (f"{value:.2g}" for value in (min(values), statistics.median(values), max(values)))
    return f"{low}, **{middle}**, {high}"


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="JPEGs, at any depth")
    parser.add_argument("--photos", type=int, default=24)
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--large", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--out", type=Path, help="a JSON file for all seconds, the machine and the command")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    chosen = photos_of(options.folder, options.photos)
    groups = {"small": small_images(chosen, options.side)}
    if options.large:
        groups["large"] = [large_image(chosen, first) for first in range(options.large)]
    found = {name: measure(images, options.rounds) for name, images in groups.items()}
    print(table(found))
    if options.out is not None:
        write_json(options.out, {"what": "decoding", **found, "environment": shareable(environment())})
    return 0


def table(found: dict[str, Any]) -> str:
    """Lines of Markdown: a row for each kind of image."""
    rows = [
        "| images | rounds | HEIC / JPEG: minimum, **median**, maximum | AVIF / JPEG | JPEG / itself |",
        "|---|---|---|---|---|",
    ]
    for group in ("large", "small"):
        if group not in found:
            continue
        own = found[group]
        width, height = own["pixels"]
        what = f"{own['images']} of {width} x {height} pixels"
        told = (words(ratios(own, name)) for name in ("HEIC", "AVIF", "JPEG again"))
        rows.append(f"| {what} | {len(own['seconds'][OWN])} | {' | '.join(told)} |")
    return "\n".join(rows)


if __name__ == "__main__":
    ended("formats", main)
