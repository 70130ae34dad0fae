"""Instance masks beside boxes: those that are learned from, and those that a detector found, on their images."""

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from resmom.data.annotations.boxes import BoxData, Boxed
from resmom.data.annotations.runlength import decoded, encoded, mask_overlaps
from resmom.evaluate.average_precision import Found


def true_masks(image: Boxed, keep: Bool[np.ndarray, " n"], size: tuple[int, int]) -> UInt8[Tensor, "_ h w"]:
    """The masks of the kept objects, brought to `size` (height, width): each pixel that of the nearest place."""
    assert image.masks is not None
    masks = torch.from_numpy(decoded([image.masks[at] for at in np.flatnonzero(keep)], image.size))
    if size == image.size or len(masks) == 0:
        return masks.new_zeros((0, *size)) if len(masks) == 0 else masks
    return F.interpolate(masks[None], size, mode="nearest-exact")[0]


def found_masks(
    shares: Float[Tensor, "n 1 side side"],
    boxes: Float[Tensor, "n 4"],
    scale: Float[np.ndarray, "2"],
    size: tuple[int, int],
) -> tuple[bytes, ...]:
    """What a detector says of the insides of its boxes, as masks on the image at its own `size` (height, width).

    Boxes are in pixels of the image as the detector saw it, `scale` times as wide and high. A pixel belongs to the
    object where the value at its centre, bilinear between those of the box, is .5 or more (Detectron2's rule).
    """
    # torchvision learns masks whose pixels lie at whole coordinates, half a pixel before their centres.
    there = (boxes.double().cpu() + 0.5) / torch.from_numpy(np.concatenate([scale, scale]))
    return tuple(encoded(mask[None])[0] for mask in _pasted(shares[:, 0].double().cpu(), there, size))


def _pasted(
    shares: Float[Tensor, "n side side"], boxes: Float[Tensor, "n 4"], size: tuple[int, int]
) -> Iterator[UInt8[np.ndarray, "h w"]]:
    """One mask at a time: all of an image together would take as much memory as a hundred images."""
    height, width = size
    for share, (x1, y1, x2, y2) in zip(shares, boxes.tolist(), strict=True):
        mask = np.zeros(size, dtype=np.uint8)
        left, right = max(0, int(np.floor(x1))), min(width, int(np.ceil(x2)))
        top, bottom = max(0, int(np.floor(y1))), min(height, int(np.ceil(y2)))
        if left < right and top < bottom:
            xs = (torch.arange(left, right, dtype=torch.float64) + 0.5 - x1) / (x2 - x1) * 2 - 1
            ys = (torch.arange(top, bottom, dtype=torch.float64) + 0.5 - y1) / (y2 - y1) * 2 - 1
            grid = torch.stack(torch.meshgrid(xs, ys, indexing="xy"), dim=-1)
            values = F.grid_sample(share[None, None], grid[None], align_corners=False)[0, 0]
            mask[top:bottom, left:right] = (values >= 0.5).numpy()
        yield mask


def mask_overlap_tables(found: list[Found], data: BoxData) -> list[Float[np.ndarray, "_ _"]] | None:
    """For every image the overlaps of found masks with true ones; None where one of the two has no masks."""
    tables = []
    for said, image in zip(found, data.images, strict=True):
        if said.masks is None or image.masks is None:
            return None
        tables.append(mask_overlaps(said.masks, image.masks, image.crowd, image.size))
    return tables
