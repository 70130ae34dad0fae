"""What is done to a training image, loss and schedule of the fully convolutional network."""

import colorsys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from resmom.data.annotations.masks import IGNORE, MaskData, open_masks
from resmom.evaluate.fcn import Crops, Fcn, distorted, learning_rate, loss_terms, sample, saturated
from resmom.evaluate.pixels import factor, read_labels
from resmom.nets.backbones import SmallResNet, build_backbone
from resmom.nets.segmenter import FcnNetwork, Segmenter
from resmom.recipes.segmentation import SEGMENTATION, segmentation_recipe
from tests.runs.scenes import tiny_fcn, write_scenes

HALF = (0.5, 0.5, 0.5)
MIDDLE = np.full(31, 0.5)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> MaskData:
    return open_masks(write_scenes(tmp_path_factory.mktemp("scenes"), "train", 6, 0))


def test_crops_depend_on_seed_epoch_and_image_alone(data: MaskData) -> None:
    config = tiny_fcn(batch=2, scales=(0.5, 1.0))
    one, other = Crops(data, config), Crops(data, config)
    late = other.batch(7)  # asked for first, and alone
    for (a, truth), (b, again) in zip(one.batch(7), late, strict=True):
        assert torch.equal(a, b) and torch.equal(truth, again)
    # The same image in another batch of the epoch, under another seed, and in another epoch.
    assert one.per_epoch == 3
    shapes = {tuple(pixels.shape) for step in range(9) for pixels, _ in one.batch(step)}
    assert len(shapes) > 3 and max(max(shape[1:]) for shape in shapes) == 40
    whole = torch.cat([pixels.flatten() for pixels, _ in one.batch(0)])
    changed = torch.cat([pixels.flatten() for pixels, _ in Crops(data, replace(config, seed=1)).batch(0)])
    assert whole.shape != changed.shape or not torch.equal(whole, changed)


def test_image_and_labels_stay_together(data: MaskData) -> None:
    """Red pixels are red's wherever scale, crop and mirror have brought them."""
    config = tiny_fcn(distort=0.0, scales=(1.5, 1.5))
    for image in data.images:
        for u in (np.full(31, 0.1), np.full(31, 0.9)):
            pixels, truth = sample(image, u, config)
            assert pixels.shape[1:] == truth.shape == (40, 40)
            red = (pixels[0] > 200) & (pixels[1] < 60)
            assert (truth[red] == 1).float().mean() > 0.97 or not red.any()


def test_a_crop_that_is_nearly_all_one_class_is_drawn_anew(tmp_path: Path) -> None:
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    values = np.zeros((40, 200), dtype=np.uint8)
    values[:, 150:], values[:, 180:] = 1, 255
    Image.fromarray(values).save(tmp_path / "masks/x.png")
    Image.fromarray(np.zeros((40, 200, 3), dtype=np.uint8)).save(tmp_path / "images/x.png")
    (image,) = open_masks(str(tmp_path)).images
    config = tiny_fcn(scales=(1.0, 1.0), flip=0.0, distort=0.0)
    u = np.zeros(31)
    u[5] = 110 / 161 + 1e-9  # the second place: x from 110, all of class 0
    u[7] = 130 / 161 + 1e-9  # the third: halves of 0 and 1
    truth = sample(image, u, config)[1]
    assert (truth[0] == 0).sum() == 20 and (truth[0] == 1).sum() == 20
    assert (sample(image, u, tiny_fcn(scales=(1.0, 1.0), flip=0.0, distort=0.0, most=1.0))[1] == 0).all()


def test_saturation_is_that_of_hsv() -> None:
    rng = np.random.default_rng(0)
    for by in (0.5, 1.3):
        for r, g, b in rng.random((20, 3)):
            h, s, v = colorsys.rgb_to_hsv(r, g, b)
            expected = colorsys.hsv_to_rgb(h, min(1.0, s * by), v)
            got = saturated(torch.tensor([r, g, b]).view(3, 1, 1), by).flatten()
            np.testing.assert_allclose(got.numpy(), expected, atol=1e-6)
    grey = torch.full((3, 1, 1), 0.4)
    assert torch.equal(saturated(grey, 1.5), grey)


def test_distortion_at_its_ends() -> None:
    pixels = torch.tensor([100, 150, 200], dtype=torch.uint8).view(3, 1, 1)
    off = np.array([1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.0])
    assert torch.equal(distorted(pixels, off, 0.5), pixels)
    brighter = np.array([0, 1, 1, 1, 1.0, 0.5, 0.5, 0.5, 0.0])
    assert distorted(pixels, brighter, 0.5).flatten().tolist() == [132, 182, 232]
    contrast = np.array([1, 0, 1, 1, 0.5, 0.9, 0.5, 0.5, 0.0])
    assert distorted(pixels, contrast, 0.5).flatten().tolist() == [140, 210, 255]
    every = np.array([0, 0, 0, 0, 0.5, 0.5, 0.5, 0.5, 0.9])
    assert (distorted(pixels, every, 0.5).int() - pixels.int()).abs().max() <= 1
    assert distorted(pixels, np.zeros(9), 0.0) is pixels


def test_the_loss_counts_void_pixels_as_nothing_of_the_mean(data: MaskData) -> None:
    """As mmsegmentation's: the sum over pixels that count, divided by all of the crop."""
    torch.manual_seed(0)
    config = tiny_fcn(segmenter=Segmenter(dilated=1, width=4, dropout=0.0, auxiliary=0.25), crop=32)
    model = FcnNetwork(config.segmenter, build_backbone(SmallResNet((4, 8))), 3, HALF, HALF)
    torch.nn.init.zeros_(model.head.classifier.weight)
    pixels = torch.zeros(3, 32, 16, dtype=torch.uint8)
    truth = torch.zeros(32, 16, dtype=torch.uint8)
    truth[:8] = IGNORE
    terms = loss_terms(model, [(pixels, truth)], config, torch.device("cpu"), 0)
    # 24 x 16 pixels at chance, of 32 x 32.
    assert terms["votes"].item() == pytest.approx(np.log(3) * 24 * 16 / 1024, rel=1e-6)
    empty = loss_terms(model, [(pixels, torch.full_like(truth, IGNORE))], config, torch.device("cpu"), 0)
    assert empty["votes"].item() == 0


def test_sizes() -> None:
    assert factor((360, 480), 0, 10) == 1
    assert factor((360, 480), 180, 2048) == 0.5
    assert factor((100, 1000), 512, 2048) == 2.048


def test_labels_are_resized_to_the_nearest(data: MaskData) -> None:
    small = read_labels(data.images[0], 0.5)
    assert small.shape == (24, 32) and set(small.unique().tolist()) <= {0, 1, 2, IGNORE}


def test_the_schedules_are_those_of_the_protocols() -> None:
    poly = segmentation_recipe("voc12aug_fcn")
    assert isinstance(poly, Fcn)
    expected = [0.01, 0.0099 * 0.5**0.9 + 1e-4, 0.0099 * (1 / 20_000) ** 0.9 + 1e-4]
    np.testing.assert_allclose([learning_rate(poly, step) for step in (0, 10_000, 19_999)], expected, rtol=1e-12)
    assert (poly.batch, poly.crop, poly.side, poly.longest, poly.weight_decay) == (16, 512, 512, 2048, 5e-4)
    assert poly.segmenter == Segmenter("fcn", 2, 512, dropout=0.1, auxiliary=0.4)
    moco = segmentation_recipe("voc12aug_moco")
    assert isinstance(moco, Fcn)
    rates = [learning_rate(moco, step) for step in (0, 20_999, 21_000, 26_999, 27_000)]
    np.testing.assert_allclose(rates, [3e-3, 3e-3, 3e-4, 3e-4, 3e-5])


def test_recipes_say_whose_they_are() -> None:
    for name, recipe in SEGMENTATION.items():
        assert segmentation_recipe(name).recipe == name
        assert "Command:" in (recipe.__doc__ or "")
    with pytest.raises(ValueError, match="did you mean voc12aug_fcn"):
        segmentation_recipe("voc12_fcn")
