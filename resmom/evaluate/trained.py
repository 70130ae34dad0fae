"""Trained detectors and segmentation networks as they are used: images as they come out of their files in, boxes and
classes of pixels out."""

from collections.abc import Sequence
from typing import final

import torch
from jaxtyping import Bool, Int64, UInt8
from torch import Tensor, nn

from resmom.data.annotations.runlength import decoded
from resmom.evaluate.average_precision import Found
from resmom.evaluate.classifier import NOT_FINITE, as_used, device_of, require_finite
from resmom.evaluate.detection import Detect, detected
from resmom.evaluate.pixels import Votes, by_factor, factor, most_votes


def _require_pixels(images: Sequence[Tensor]) -> None:
    """Raise ValueError unless all are uint8 and 3 x H x W."""
    for image in images:
        if image.dtype != torch.uint8 or image.ndim != 3 or image.shape[0] != 3:
            raise ValueError(
                f"an image is a uint8 tensor 3 x H x W, pixels 0 to 255, as torchvision.io.decode_image(file, "
                f"mode='RGB') reads it; got {image.dtype} of shape {tuple(image.shape)}"
            )


@final
class TrainedDetector(nn.Module):
    """Images to boxes, and masks where it has any, in pixels of these images; labels are numbers into `classes`."""

    def __init__(self, model: nn.Module, config: Detect, classes: tuple[str, ...], network: str, step: int) -> None:
        """`network` and `step`: which of a folder's, and after how many of its steps. Raises ValueError for weights
        that are not finite."""
        super().__init__()
        self.model, self.config, self.classes, self.network, self.step = model, config, classes, network, step
        require_finite(self)
        as_used(self)

    def forward(self, images: Sequence[Tensor]) -> list[dict[str, Tensor]]:
        """For each image a dictionary as torchvision's detectors have it, on the CPU, the best detection first: `boxes`
        N x 4 (x1, y1, x2, y2), `labels` N, from 0, `scores` N, and of Mask R-CNN `masks` N x H x W, booleans.

        Images are seen one by one. Raises ValueError for images of another type.
        """
        _require_pixels(images)
        return [self._as_tensors(self.found(image), (image.shape[1], image.shape[2])) for image in images]

    def found(self, image: UInt8[Tensor, "3 _ _"]) -> Found:
        """The detections in one image as arrays, masks as run lengths."""
        return detected(self.model, image, self.config, device_of(self), with_masks=True)

    def _as_tensors(self, found: Found, size: tuple[int, int]) -> dict[str, Tensor]:
        said = {
            "boxes": torch.from_numpy(found.boxes).float(),
            "labels": torch.from_numpy(found.labels),
            "scores": torch.from_numpy(found.scores).float(),
        }
        if found.masks is None:
            return said
        masks: Bool[Tensor, "n h w"] = torch.from_numpy(decoded(found.masks, size)).bool()
        return said | {"masks": masks}


@final
class TrainedSegmenter(nn.Module):
    """Images to the class of each of their pixels, numbers into `classes`."""

    def __init__(
        self,
        model: nn.Module,
        votes: Votes,
        sides: tuple[int, int],
        classes: tuple[str, ...],
        network: str,
        step: int,
    ) -> None:
        """`votes` asks `model`, which is shown images of these `sides` (shorter, and longest at most; a shorter one of
        0 is their own). `network` and `step` as for a detector.
        """
        super().__init__()
        self.model, self.classes, self.network, self.step = model, classes, network, step
        self._votes, self._sides = votes, sides
        # Not all weights need be finite: those of a learning rate that was tried and not chosen may have diverged.
        as_used(self)

    def forward(self, images: Sequence[Tensor]) -> list[Int64[Tensor, "_ _"]]:
        """For each image H x W numbers of classes, at its own size, on the CPU; images are seen one by one.

        Raises ValueError for images of another type, and for votes that are not finite.
        """
        _require_pixels(images)
        return [self._named(image) for image in images]

    def _named(self, image: UInt8[Tensor, "3 h w"]) -> Int64[Tensor, "h w"]:
        size = (image.shape[1], image.shape[2])
        shown = by_factor(image, factor(size, *self._sides))
        said = most_votes(self._votes, shown, size, device_of(self))
        if said is None:
            raise ValueError(f"its votes are not finite; {NOT_FINITE}")
        return torch.from_numpy(said)
