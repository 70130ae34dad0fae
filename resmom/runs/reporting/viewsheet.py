"""The views of a run that has not begun, drawn into a picture: nothing is trained or tried, and no folder is made."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from numpy.typing import NDArray
from torch import Tensor

from resmom import dist
from resmom.build import Own
from resmom.config import Run, to_json
from resmom.data.open import open_data
from resmom.data.source import Data, Source
from resmom.export import record
from resmom.recipes.automatic import LEAST_IMAGES
from resmom.report.sheet import Box, Pixels, Shown, require_place, write_sheet
from resmom.runs.device import default_device
from resmom.runs.machine import Machine
from resmom.runs.reporting.pictures import DRAWS, pixels_of, some_images
from resmom.runs.settling.offer import Asked
from resmom.runs.settling.settle import untried
from resmom.runs.training.channels import require_channels
from resmom.views.apply import views
from resmom.views.draw import draw

COLUMNS = 8
"""Views of an image that are shown, unless one epoch has more."""


@dataclass(frozen=True)
class Sheet:
    """What was drawn, and where it lies."""

    path: Path
    run: Run
    images: tuple[int, ...]
    epochs: int
    words: tuple[str, ...]

    def __str__(self) -> str:
        first = "the first epoch" if self.epochs == 1 else f"the first {self.epochs} epochs"
        head = f"views of {len(self.images)} images in {first}, as the run would train on them: {self.path}"
        return "\n".join([head, *self.words])

    def plain(self) -> dict[str, Any]:
        """The same for machines."""
        shown = {"path": str(self.path), "images": list(self.images), "epochs": self.epochs, "said": list(self.words)}
        return {"views": shown, "policy": to_json(self.run)["policy"]}


def view_sheet(asked: Asked, data: str | Data, out: Path, machine: Machine) -> Sheet:
    """Draw some training images and their views in the first epochs of the run that would be made, into `out`.

    These are the very views that the run would have at full size, with its seed. Raises ConfigError or DataError for
    what cannot be trained, and UserError for a file that would be overwritten.
    """
    require_place(out)
    opened = open_data(data)
    run = untried(asked, opened, default_device(machine.device), Own())
    require_channels(run, None, opened.train.channels)
    epochs = max(1, min(DRAWS, COLUMNS // len(run.policy.views)))
    index = some_images(opened.train)
    rows = [(name, words) for name, words in record.settings(to_json(run)) if name.startswith("view")]
    words = tuple(f"{name}: {text}" for name, text in rows)
    if dist.rank() == 0:
        write_sheet(out, _shown(run, opened.train, index, epochs), words)
    return Sheet(out, run, tuple(index.tolist()), epochs, (*words, *_lacking(asked, len(opened.train))))


def _lacking(asked: Asked, images: int) -> tuple[str, ...]:
    """That so few images are enough to be looked at alone, in words. A recipe is judged by its batch when it begins."""
    if asked.base is not None or images >= LEAST_IMAGES:
        return ()
    return (f"attention: of so few images no run is made, which needs at least {LEAST_IMAGES}",)


def _shown(run: Run, source: Source, index: NDArray[np.int64], epochs: int) -> list[Shown]:
    policy, seed = run.policy, run.train.seed
    images = source.read(index)
    sizes = np.array([image.shape[1:] for image in images])
    made = [views(images, index, policy, seed, epoch) for epoch in range(epochs)]
    boxes = [draw(view, seed, 0, index, v, sizes).box.tolist() for v, view in enumerate(policy.views)]

    def each(n: int) -> Shown:
        draws = [[_rgb(pixels_of(view[n], policy)) for view in draw] for draw in made]
        found: list[Box] = [(*box[n],) for box in boxes]
        return Shown(_rgb(images[n]), draws, found)

    return [each(n) for n in range(len(index))]


def _rgb(image: UInt8[Tensor, "c h w"]) -> Pixels:
    """C x H x W as H x W x 3; of other channels than three their mean, as grey."""
    if image.shape[0] != 3:
        image = image.float().mean(0, keepdim=True).round().to(torch.uint8).expand(3, -1, -1)
    return np.ascontiguousarray(image.permute(1, 2, 0).numpy())
