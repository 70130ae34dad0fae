"""Masks follow their pixels when images are resized and mirrored, and come back from their boxes where they were."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.models.detection.roi_heads import project_masks_on_boxes

from resmom.data.annotations.boxes import BoxData, Boxed
from resmom.data.annotations.runlength import decoded, encoded, mask_overlaps
from resmom.evaluate.average_precision import Found
from resmom.evaluate.detection import Detect, Samples, score
from resmom.evaluate.instances import found_masks, true_masks


def ellipse(box: tuple[int, int, int, int], size: tuple[int, int]) -> np.ndarray:
    x1, y1, x2, y2 = box
    rows, columns = np.mgrid[: size[0], : size[1]] + 0.5
    a, b = (columns - (x1 + x2) / 2) / (x2 - x1), (rows - (y1 + y2) / 2) / (y2 - y1)
    return (a**2 + b**2 <= 0.25).astype(np.uint8)


def image_of(path: Path, boxes: list[tuple[int, int, int, int]], size: tuple[int, int] = (48, 64)) -> Boxed:
    """A grey picture with an ellipse of its own brightness in each box."""
    masks = np.stack([ellipse(box, size) for box in boxes])
    pixels = np.full((*size, 3), 100, np.uint8)
    for n, mask in enumerate(masks):
        pixels[mask > 0] = 255 - 40 * n
    Image.fromarray(pixels).save(path)
    none = np.zeros(len(boxes), dtype=bool)
    return Boxed(path, size, np.array(boxes, float), none.astype(int), none, none, tuple(encoded(masks)))


@pytest.fixture
def image(tmp_path: Path) -> Boxed:
    return image_of(tmp_path / "a.png", [(6, 8, 30, 40), (36, 4, 60, 24)])


@pytest.mark.parametrize("flip", [0.0, 1.0])
@pytest.mark.parametrize("side", [48, 33, 96])
def test_masks_follow_their_pixels(image: Boxed, side: int, flip: float) -> None:
    data = BoxData("toy", ("oval",), (image,))
    ((pixels, target),) = Samples(data, Detect(batch=1, sides=(side,), longest=400, flip=flip)).batch(0)
    masks = target["masks"]
    assert masks.dtype == torch.uint8 and tuple(masks.shape) == (2, *pixels.shape[1:])
    for n, brightness in enumerate((255, 215)):
        inside = masks[n].bool()
        seen = (pixels[0].float() - brightness).abs() < 30
        both = (inside & seen).sum() / (inside | seen).sum()
        assert both > (0.999 if side == 48 else 0.75)
        # The box is that of the mask.
        ys, xs = inside.nonzero().T
        around = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
        np.testing.assert_allclose(target["boxes"][n], around, atol=0.1 if side == 48 else 1.6)


def test_objects_without_a_pixel_are_not_learned_from(image: Boxed, tmp_path: Path) -> None:
    empty = encoded(np.zeros((1, *image.size), np.uint8))[0]
    assert image.masks is not None
    half = replace(image, masks=(empty, image.masks[1]))
    samples = Samples(BoxData("x", ("oval",), (half, replace(image, masks=(empty, empty)))), Detect(batch=1))
    ((_, target),) = samples.batch(0)
    assert len(samples) == 1 and len(target["masks"]) == len(target["boxes"]) == 1 and target["masks"].any()
    assert true_masks(image, np.array([False, False]), (20, 30)).shape == (0, 20, 30)


@pytest.mark.parametrize("factor", [1.0, 2.0, 0.75])
def test_what_is_learned_comes_back_where_it_was(image: Boxed, factor: float) -> None:
    """torchvision's own targets for perfect boxes, put back: the true masks, and nowhere better than where they are."""
    size = (round(48 * factor), round(64 * factor))
    boxes = torch.from_numpy(image.boxes).float() * factor
    masks = true_masks(image, np.array([True, True]), size)
    targets = project_masks_on_boxes(masks, boxes, torch.arange(2), 28)[:, None]
    scale = np.array([factor, factor])

    def overlap(shift: float) -> float:
        found = found_masks(targets, boxes + shift, scale, image.size)
        over = mask_overlaps(found, image.masks or (), np.zeros(2, bool), image.size)
        assert over[0, 1] == over[1, 0] == 0
        return float(over.diagonal().min())

    assert overlap(0) > 0.92
    assert overlap(0) > max(overlap(-0.5), overlap(0.5))


def test_masks_end_where_the_image_does(image: Boxed) -> None:
    boxes = torch.tensor([[-20.0, -20, 9.75, 9.75], [59.75, 39.75, 90, 70], [5, 5, 5, 9], [80, 5, 90, 9]])
    found = decoded(found_masks(torch.ones(4, 1, 28, 28), boxes, np.ones(2), image.size), image.size)
    assert found.sum((1, 2)).tolist() == [100, 32, 0, 0]
    assert found[0, :10, :10].all() and found[1, 40:, 60:].all()
    assert found_masks(torch.ones(0, 1, 28, 28), torch.zeros(0, 4), np.ones(2), image.size) == ()


def test_boxes_and_masks_have_scores_of_their_own(image: Boxed) -> None:
    """Perfect boxes whose masks are the whole boxes: an ellipse is pi/4 of its box, right at .5 … .75 alone."""
    whole = np.zeros((2, *image.size), np.uint8)
    for n, (x1, y1, x2, y2) in enumerate(image.boxes.astype(int)):
        whole[n, y1:y2, x1:x2] = 1
    data = BoxData("toy", ("oval",), (image,))
    said = Found(image.boxes, np.array([0.9, 0.8]), image.labels, tuple(encoded(whole)))
    plain = score([said], data).plain()
    assert plain["ap"] == plain["mask_ap50"] == plain["mask_ap75"] == 100
    assert plain["mask_ap"] == pytest.approx(60) and plain["mask_per_class"] == {"oval": pytest.approx(60)}
    right = replace(said, masks=image.masks)
    assert score([right], data).plain()["mask_ap"] == 100
    without = score([replace(said, masks=None)], data).plain()
    assert not [name for name in without if name.startswith("mask")] and without["ap"] == 100
