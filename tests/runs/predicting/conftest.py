"""Trained networks to predict with, made once for all files, and photos that nobody has labelled."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resmom.nets.backbones import SmallResNet
from resmom.runs.finetuned.detect import detect_train
from resmom.runs.finetuned.segment import segment_train
from resmom.runs.origin import Origin
from resmom.runs.pretrain import pretrain
from tests.runs.crash import QUIET, small_run, write_images
from tests.runs.rectangles import tiny, write_rectangles
from tests.runs.scenes import tiny_fcn, tiny_linear, write_scenes
from tests.runs.shapes import tiny_masks, write_shapes
from tests.runs.stops import MACHINE

RANDOM = Origin(backbone=SmallResNet((8, 16)))


@pytest.fixture(scope="package")
def detectors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Student and teacher of a run after two steps, measured; beside the folder the test images, VOC's form."""
    root = tmp_path_factory.mktemp("detectors")
    data, test = write_rectangles(root / "train", 8, 0), write_rectangles(root / "test", 5, 1)
    run = pretrain(small_run(epochs=1, warmup_epochs=0), str(write_images(root / "images.npz")), root / "run", QUIET)
    config = tiny(steps=2)
    return detect_train(config, Origin(run.path), [str(data)], [str(test)], root / "det", MACHINE).path


@pytest.fixture(scope="package")
def mask_detector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Mask R-CNN from random weights, not measured; beside the folder images in shapes/."""
    root = tmp_path_factory.mktemp("masks")
    return detect_train(
        tiny_masks(steps=1), RANDOM, [write_shapes(root / "shapes", 6, 0)], [], root / "det", MACHINE
    ).path


@pytest.fixture(scope="package")
def segmenter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An FCN from random weights that has learned a little; beside the folder its test images in scenes/test."""
    root = tmp_path_factory.mktemp("segmenter")
    places = [[write_scenes(root / "scenes", part, 8, seed)] for part, seed in (("train", 0),)]
    config = replace(tiny_fcn(steps=12), lr=0.1, save_steps=12)
    return segment_train(config, RANDOM, places[0], [], root / "seg", MACHINE).path


@pytest.fixture(scope="package")
def patches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A linear layer on the places of a random backbone, shown images at another size than their own."""
    root = tmp_path_factory.mktemp("patches")
    data = write_scenes(root / "scenes", "train", 8, 0)
    return segment_train(tiny_linear(side=32, longest=80), RANDOM, [data], [], root / "seg", MACHINE).path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Six photos in two folders, of several sizes and formats, one of them turned by its EXIF data; two of which cannot
    be read, one by its header and one only when it is decoded."""
    root, random = tmp_path / "photos", np.random.default_rng(0)
    names = ("b.jpg", "a/c.png", "a/b.jpg", "a/b.png", "turned.jpg", "late.jpg")
    for at, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(random.integers(0, 256, (40 + at, 70, 3), dtype=np.uint8))
        exif = Image.Exif()
        if name == "turned.jpg":
            exif[0x0112] = 6
        image.save(root / name, exif=exif)
    late = root / "late.jpg"
    late.write_bytes(late.read_bytes()[:-200])
    (root / "early.png").write_bytes(b"no image")
    return root
