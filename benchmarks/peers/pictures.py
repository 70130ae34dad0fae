"""Images to read, and how the peers' data sets are fed: torch's DataLoader, a worker per core, as all document it."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, RandomSampler

from benchmarks.peers.case import Case
from benchmarks.peers.worker import Gate, die_with_parent

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Arrays(Dataset[Any]):
    """The images of an .npz file as Pillow images, as torchvision's CIFAR data sets hand them out."""

    def __init__(self, path: str, transform: Callable[[Any], Any]) -> None:
        self._images, self._transform = np.load(path)["train_images"], transform

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, at: int) -> tuple[Any, int]:
        return self._transform(Image.fromarray(self._images[at])), 0


def feed(dataset: Dataset[Any], case: Case, gate: Gate) -> None:
    """Batches without end, in random order, in one epoch: workers are started once."""
    order = RandomSampler(dataset, replacement=True, num_samples=10**7)  # type: ignore[arg-type]
    loader = DataLoader(
        dataset, case.batch, sampler=order, num_workers=case.cores, drop_last=True, worker_init_fn=die_with_parent
    )
    batches = iter(loader)
    while True:
        gate()
        for _ in range(case.batches):
            next(batches)


def photo(draws: np.random.Generator, height: int, width: int) -> Image.Image:
    """Something a JPEG codec takes for a photograph: large shapes, edges, and texture of several scales."""
    pixels = np.zeros((height, width, 3), dtype=np.float32)
    for side, strength in ((4, 70.0), (16, 40.0), (64, 20.0), (0, 8.0)):
        shape = (side, side, 3) if side else (height, width, 3)
        noise = torch.from_numpy(draws.normal(0, strength, shape).astype(np.float32)).permute(2, 0, 1)[None]
        pixels += torch.nn.functional.interpolate(noise, (height, width), mode="bilinear")[0].permute(1, 2, 0).numpy()
    pixels += 60.0 * np.sign(pixels[:, :, :1])
    return Image.fromarray((pixels + 128).clip(0, 255).astype(np.uint8))


@contextmanager
def folder_of_images(given: Path | None, count: int) -> Iterator[Path]:
    """A folder with one subfolder of images, which all data sets understand: the given images, or `count` made ones."""
    with tempfile.TemporaryDirectory(prefix="resmom-photos-") as place:
        images = Path(place) / "images"
        if given is not None:
            images.symlink_to(given.resolve(), target_is_directory=True)
        else:
            images.mkdir()
            draws = np.random.default_rng(0)
            for number in range(count):
                size = (375, 500) if number % 4 else (500, 375)
                photo(draws, *size).save(images / f"{number:06}.jpg", quality=92)
        yield Path(place)


@contextmanager
def file_of_arrays(given: Path | None, count: int) -> Iterator[Path]:
    """An .npz file of 32 x 32 images: the given one, or `count` made ones."""
    if given is not None:
        yield given.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="resmom-arrays-") as place:
        draws = np.random.default_rng(0)
        small = np.stack([np.asarray(photo(draws, 64, 64).resize((32, 32))) for _ in range(count)])
        np.savez(Path(place) / "images.npz", train_images=small)
        yield Path(place) / "images.npz"
