"""A run to measure, trained once for all files."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resmom.runs.pretrain import pretrain
from tests.runs.crash import QUIET, small_run, write_images


@pytest.fixture(scope="package")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """A run of two kept checkpoints on a folder of 60 + 20 images in two classes that differ in colour."""
    root = tmp_path_factory.mktemp("few")
    arrays = np.load(write_images(root / "images.npz", n=80))
    for split, rows in (("test", range(20)), ("train", range(20, 80))):
        for at in rows:
            place = root / "images" / split / "ab"[arrays["train_labels"][at]] / f"{at:03d}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(arrays["train_images"][at]).save(place)
    run = small_run(epochs=2)
    pretrain(replace(run, log=replace(run.log, keep_epochs=1)), str(root / "images"), root / "run", QUIET)
    yield root / "run", root / "images"
    shutil.rmtree(root)
