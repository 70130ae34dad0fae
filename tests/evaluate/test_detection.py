"""What is done to an image and its boxes, the schedule, and the optimiser's groups."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from resmom.data.annotations.boxes import BoxData, Boxed
from resmom.data.errors import DataError
from resmom.evaluate.average_precision import Found
from resmom.evaluate.detection import Detect, Samples, learning_rate, optimizer, resized, score
from resmom.nets.backbones import MoCoViT, SmallResNet, build_backbone
from resmom.nets.detector import Detector, build_detector
from resmom.recipes.detection import DETECTION, detection_recipe
from resmom.train.optim import set_rate


def boxed(path: Path, boxes: list[list[float]], size: tuple[int, int] = (40, 60), crowd: bool = False) -> Boxed:
    n = len(boxes)
    flags = np.zeros(n, dtype=bool)
    return Boxed(path, size, np.array(boxes, float).reshape(-1, 4), np.zeros(n, int), flags, flags | crowd)


@pytest.fixture
def data(tmp_path: Path) -> BoxData:
    """Grey pictures, 60 x 40, with one white rectangle each that the box describes."""
    images = []
    for number in range(8):
        box = [5 + number, 10, 25 + 2 * number, 30]
        pixels = np.full((40, 60, 3), 100, np.uint8)
        pixels[box[1] : box[3], box[0] : box[2]] = 255
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        images.append(boxed(tmp_path / f"{number}.png", [[float(v) for v in box]]))
    return BoxData("toy", ("white",), tuple(images))


@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_boxes_follow_their_pixels(data: BoxData, flip: float) -> None:
    samples = Samples(data, Detect(batch=8, sides=(40, 80, 120), longest=400, flip=flip))
    seen = set()
    for pixels, target in samples.batch(0):
        seen.add(pixels.shape[1])
        bright = (pixels[0] > 178).nonzero()
        (y1, x1), (y2, x2) = bright.min(0).values.tolist(), (bright.max(0).values + 1).tolist()
        factor = pixels.shape[1] / 40
        np.testing.assert_allclose(target["boxes"][0], [x1, y1, x2, y2], atol=0.01 + (factor > 1))
        assert target["labels"].tolist() == [1]
        # The pixels are those of one of the images, resized alike, and mirrored only if they should be.
        plain = [resized(image, pixels.shape[1], 400)[0] for image in data.images]
        wanted = [image.flip(2) if flip else image for image in plain]
        assert any(torch.equal(pixels, image) for image in wanted)
        assert not any(torch.equal(pixels, image.flip(2)) for image in wanted)
    assert len(seen) > 1


def test_half_of_the_images_are_mirrored(data: BoxData) -> None:
    samples = Samples(data, Detect(batch=8, sides=(40,), longest=400, flip=0.5))
    plain = [resized(image, 40, 400)[0] for image in data.images]
    mirrored = [
        not any(torch.equal(pixels, image) for image in plain)
        for step in range(50)
        for pixels, _ in samples.batch(step)
    ]
    assert len(mirrored) == 400 and 160 <= sum(mirrored) <= 240  # four deviations of a fair coin


def test_order_and_sizes_are_functions_of_seed_epoch_and_image(data: BoxData) -> None:
    config = Detect(batch=4, sides=(40, 60, 80), seed=3)
    one, other = Samples(data, config), Samples(data, config)
    for step in (5, 0, 3):
        for (a, b), (c, d) in zip(one.batch(step), other.batch(step), strict=True):
            assert torch.equal(a, c) and torch.equal(b["boxes"], d["boxes"])
    shapes = [[tuple(p.shape) for p, _ in Samples(data, replace(config, seed=s)).batch(0)] for s in range(4)]
    assert len({str(row) for row in shapes}) > 1
    # Within an epoch every image comes once.
    corners = {round(t["boxes"][0, 1].item() * 40 / p.shape[1]) for p, t in one.batch(0) + one.batch(1)}
    assert corners == {10} and len(one.batch(0) + one.batch(1)) == 8


def test_sides_and_the_longest(data: BoxData) -> None:
    assert tuple(resized(data.images[0], 80, 1000)[0].shape) == (3, 80, 120)
    pixels, factors = resized(data.images[0], 80, 90)
    assert tuple(pixels.shape) == (3, 60, 90)
    np.testing.assert_allclose(factors, 1.5)


def test_what_is_learned_from(data: BoxData, tmp_path: Path) -> None:
    path = data.images[0].path
    hard = replace(boxed(path, [[0, 0, 9, 9]]), difficult=np.array([True]))
    partly = boxed(path, [[-5, -5, 20, 90], [3, 3, 3, 9], [59.8, 0, 80, 9]])
    crowd, empty = boxed(path, [[0, 0, 9, 9]], crowd=True), boxed(path, [])
    samples = Samples(BoxData("x", ("white",), (hard, partly, crowd, empty)), Detect(batch=2, sides=(40,), flip=0))
    assert len(samples) == 2
    targets = sorted((t["boxes"].tolist() for _, t in samples.batch(0)), key=str)
    assert targets == [[[0, 0, 20, 40]], [[0, 0, 9, 9]]]


def test_images_that_are_not_what_the_boxes_speak_of(data: BoxData, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="60 x 40 pixels, but its boxes are for 40 x 60"):
        resized(replace(data.images[0], size=(60, 40)), 40, 100)
    (tmp_path / "bad.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"bad\.png cannot be read"):
        resized(boxed(tmp_path / "bad.png", []), 40, 100)


def test_the_schedule_is_that_of_the_protocol() -> None:
    voc = detection_recipe("voc0712_c4")
    rates = {step: learning_rate(voc, step) for step in (0, 50, 100, 17_999, 18_000, 21_999, 22_000, 23_999)}
    expected = [2e-5, 0.5 * (2e-5 + 0.02), 0.02, 0.02, 2e-3, 2e-3, 2e-4, 2e-4]
    np.testing.assert_allclose(list(rates.values()), expected, rtol=1e-9)
    coco = detection_recipe("coco_fpn_2x")
    steps = (119_999, 120_000, 159_999, 160_000)
    np.testing.assert_allclose([learning_rate(coco, step) for step in steps], [0.02, 2e-3, 2e-3, 2e-4])
    assert (voc.batch, voc.detector.form, voc.sides[0], voc.sides[-1], len(voc.sides)) == (16, "c4", 480, 800, 11)


def test_drops_count_in_whatever_order_they_stand() -> None:
    config = Detect(steps=1000, drops=(0.9, 0.5), warmup_steps=0)
    np.testing.assert_allclose([learning_rate(config, step) for step in (499, 600, 900)], [0.02, 2e-3, 2e-4])


def test_recipes_say_whose_they_are() -> None:
    for name, recipe in DETECTION.items():
        assert detection_recipe(name).recipe == name
        assert "Command:" in (recipe.__doc__ or "")
    with pytest.raises(ValueError, match="did you mean voc0712_c4"):
        detection_recipe("voc07_c4")


def test_what_batch_norm_learns_is_not_decayed() -> None:
    model = build_detector(Detector(width=16), build_backbone(SmallResNet((8, 16))), 2, (0.5,) * 3, (0.5,) * 3)
    decayed, free = optimizer(Detect(), model).param_groups
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert len(free["params"]) == 2 * len(norms) and free["weight_decay"] == 0
    assert len(decayed["params"]) + len(free["params"]) == len(list(model.parameters()))
    assert decayed["weight_decay"] == 1e-4


def test_blocks_of_a_transformer_learn_at_the_rates_of_vitdet() -> None:
    """Positions and patches as layer 0, block i as i + 1, all else at the full rate; what is no matrix not decayed."""
    config = Detect(optim="adamw", layer_decay=0.7, weight_decay=0.1)
    model = build_detector(Detector("mask", width=16), build_backbone(MoCoViT("tiny", 64)), 2, (0.5,) * 3, (0.5,) * 3)
    adamw = optimizer(config, model)
    assert isinstance(adamw, torch.optim.AdamW)
    set_rate(adamw, 1e-3)
    of = {id(p): group for group in adamw.param_groups for p in group["params"]}
    assert len(of) == len(list(model.parameters()))
    for name, p in model.named_parameters():
        layer = 13
        if name.startswith(("backbone.body.pos_embed", "backbone.body.patch_embed", "backbone.body.cls_token")):
            layer = 0
        elif name.startswith("backbone.body.blocks."):
            layer = int(name.split(".")[3]) + 1
        assert of[id(p)]["lr"] == pytest.approx(1e-3 * 0.7 ** (13 - layer)), name
        spared = p.ndim == 1 or name.endswith(("pos_embed", "cls_token"))
        assert of[id(p)]["weight_decay"] == (0 if spared else 0.1), name
    equal = optimizer(replace(config, layer_decay=1.0), model)
    assert {group["scale"] for group in equal.param_groups} == {1.0}


def test_perfect_detections_score_a_hundred(data: BoxData) -> None:
    found = [Found(image.boxes, np.ones(1), image.labels) for image in data.images]
    plain = score(found, data).plain()
    assert {plain[name] for name in ("ap", "ap50", "ap75", "voc07_ap", "voc07_ap50", "voc07_ap75")} == {100.0}
    assert plain["per_class"] == {"white": 100.0}
