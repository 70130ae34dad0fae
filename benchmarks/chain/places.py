"""Where the images of a chain are: photos to pretrain on, without labels, and images with boxes."""

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resmom.data.annotations.boxes import BoxData, open_boxes
from resmom.data.errors import DataError
from resmom.data.files import FileSource
from resmom.data.folder import SUFFIXES
from resmom.data.source import Data
from resmom.data.store import Files


@dataclass(frozen=True)
class Places:
    """The photos to pretrain on, and the images with boxes to learn from and to test on: as named, and opened."""

    photos: Data
    train: tuple[str, ...]
    test: tuple[str, ...]
    boxes: tuple[BoxData, BoxData]

    def written(self) -> dict[str, Any]:
        """What a line says of the images with boxes."""
        return {
            part: {"name": data.name, "images": len(data.images), "fingerprint": data.fingerprint()}
            for part, data in zip(("train", "test"), self.boxes, strict=True)
        }


def open_places(photos: Sequence[str], train: Sequence[str], test: Sequence[str]) -> Places:
    """Raises DataError for anything that cannot be used, and for test images that are learned from."""
    learned = open_boxes(train)
    boxes = learned, open_boxes(test, learned.classes)
    both = {image.path.resolve() for image in boxes[0].images} & {image.path.resolve() for image in boxes[1].images}
    if both:
        raise DataError(f"{len(both)} images are in --train and in --test ({min(both).name} …); give parts without any")
    return Places(open_photos(photos), tuple(train), tuple(test), boxes)


def open_photos(folders: Sequence[str]) -> Data:
    """All images below the folders, each folder's sorted by path; of a VOC folder those in JPEGImages/ alone, which
    leaves its masks out. Raises DataError for a folder without images.
    """
    files: list[Path] = []
    for folder in folders:
        place = Path(folder).expanduser().resolve()
        below = place / "JPEGImages" if (place / "JPEGImages").is_dir() else place
        its = sorted(path for path in below.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
        if not its:
            raise DataError(f"{folder} holds no photos; give --photos folders of images, or VOC folders")
        files += its
    if len(set(files)) < len(files):
        raise DataError(f"--photos {' '.join(folders)}: some photos are named twice; give folders that do not overlap")
    root = Path(os.path.commonpath([file.parent for file in files]))
    store = Files(root, (file.relative_to(root).as_posix() for file in files))
    named = "+".join(Path(folder).resolve().name for folder in folders)
    return Data(FileSource(named, store), None, "photos without labels")


def add_places(parser: argparse.ArgumentParser, required: bool = True) -> None:
    """The options that say where the images are."""
    parser.add_argument("--photos", nargs="+", required=required, default=[], help="folders of photos, VOC or other")
    parser.add_argument("--train", nargs="+", required=required, default=[], help="boxes to learn from")
    parser.add_argument("--test", nargs="+", required=required, default=[], help="boxes to test on, never learned from")
