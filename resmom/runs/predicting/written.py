"""What all predictions have in common: how far they are, what came of them, and the images that could not be read."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from resmom.data.loader import workers_here
from resmom.ondisk import write_whole
from resmom.runs.predicting.images import Made, Pictures, Unread
from resmom.runs.predicting.names import place_for

QUALITY = 90
"""Of pictures, as JPEG counts it."""
SECONDS = 20.0
"""Least time between two words on how far it is."""


@dataclass(frozen=True)
class Written:
    """Images that were read, those that were not, and how often each class was said."""

    images: int
    unread: tuple[Unread, ...]
    counts: dict[str, int]


@dataclass
class Told:
    """Says from time to time how far it is."""

    total: int
    say: Callable[[str], None]
    _done: int = 0
    _last: float = field(default_factory=time.monotonic)

    def image(self, count: int = 1) -> None:
        """So many more are done."""
        self._done += count
        if time.monotonic() - self._last >= SECONDS:
            self._last = time.monotonic()
            self.say(f"{self._done:,} of {self.total:,} images")


def readable(pictures: Pictures, unread: list[Unread], told: Told) -> Iterator[Made[UInt8[Tensor, "c h w"]]]:
    """The pixels of one image after the other; those that cannot be read are added to the list."""
    for made in pictures.each(lambda pixels: pixels, workers_here()):
        if isinstance(made, Unread):
            unread.append(made)
            continue
        yield made
        told.image()


def photo_of(pixels: UInt8[Tensor, "3 h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """Pixels as they are drawn on."""
    return np.ascontiguousarray(pixels.permute(1, 2, 0).numpy())


def save_picture(folder: Path, name: str, picture: Image.Image) -> None:
    """Write a picture of the image of that name below `pictures`."""
    picture.save(place_for(folder / "pictures", name, ".jpg"), quality=QUALITY)


def evenly(total: int, some: int) -> frozenset[int]:
    """The numbers of some of so many images, from the first to the last."""
    return frozenset(np.linspace(0, total - 1, min(some, total)).round().astype(int).tolist()) if total else frozenset()


def list_unread(path: Path, unread: Sequence[Unread]) -> None:
    """Write the list, if there is anything in it."""
    if unread:
        write_whole(path, "".join(json.dumps(each.plain(), ensure_ascii=False) + "\n" for each in unread))
