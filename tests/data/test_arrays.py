"""`.npz` files: the good ones, and a clear word about each kind of bad one."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from resmom.data.arrays import open_arrays
from resmom.data.errors import DataError

RNG = np.random.default_rng(0)
TRAIN, TEST = RNG.integers(0, 256, (12, 6, 8, 3), dtype=np.uint8), RNG.integers(0, 256, (5, 6, 8, 3), dtype=np.uint8)


def saved(folder: Path, **arrays: Any) -> Path:
    np.savez(folder / "toy.npz", **arrays)
    return folder / "toy.npz"


def test_images_alone_are_enough(tmp_path: Path) -> None:
    data = open_arrays(saved(tmp_path, train_images=TRAIN))
    assert data.test is None and data.origin == "train_images in toy.npz, no test split"
    assert data.train.labels is None and data.train.classes == () and data.train.name == "train_images in toy.npz"
    assert torch.equal(data.train.read(np.arange(12)), torch.from_numpy(TRAIN).permute(0, 3, 1, 2))


def test_both_splits_with_labels_and_names(tmp_path: Path) -> None:
    labels = np.arange(12, dtype=np.uint8) % 3
    path = saved(
        tmp_path,
        train_images=TRAIN,
        train_labels=labels[:, None],
        test_images=TEST,
        test_labels=np.array([0, 1, 2, -1, 0]),
        label_names=np.array(["cat", "dog", "cow", "hen"]),
        val_images=np.zeros(3),
    )
    data = open_arrays(path)
    assert data.test is not None and data.train.labels is not None and data.test.labels is not None
    assert data.train.labels.tolist() == labels.tolist() and data.train.labels.dtype == np.int64
    assert data.test.labels.tolist() == [0, 1, 2, -1, 0]
    assert data.train.classes == data.test.classes == ("cat", "dog", "cow", "hen")
    assert data.origin == "train_images and test_images in toy.npz"


def test_classes_without_names_are_numbers_of_both_splits(tmp_path: Path) -> None:
    path = saved(tmp_path, train_images=TRAIN, test_images=TEST, test_labels=np.full(5, 2))
    assert open_arrays(path).train.classes == ("0", "1", "2")


def test_a_test_label_that_no_training_image_has_is_refused(tmp_path: Path) -> None:
    """Nothing that is learnt could name it: accuracy would be too low, without a word."""
    known, asked = np.arange(12) % 3, np.array([0, 3, 3, -1, 7])
    path = saved(tmp_path, train_images=TRAIN, train_labels=known, test_images=TEST, test_labels=asked)
    with pytest.raises(DataError, match=r"test_labels in .*toy.npz has labels that no training image has: 3, 7; test"):
        open_arrays(path)


@pytest.mark.parametrize("shape", [(12, 6, 8), (12, 6, 8, 1)])
def test_grey_images_keep_one_channel(tmp_path: Path, shape: tuple[int, ...]) -> None:
    source = open_arrays(saved(tmp_path, train_images=TRAIN[..., 0].reshape(shape))).train
    assert source.channels == 1
    assert torch.equal(source.read(np.arange(12)), torch.from_numpy(TRAIN[..., 0])[:, None])


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"images": TRAIN, "y": TRAIN[:, 0, 0, 0]}, "no array train_images; it holds images, y. Expected are train_im"),
        ({"train_images": TRAIN.astype(np.float32)}, r"is float32 of shape \(12, 6, 8, 3\); expected are uint8"),
        ({"train_images": TRAIN[0, 0]}, r"is uint8 of shape \(8, 3\); expected"),
        ({"train_images": TRAIN[:0]}, r"shape \(0, 6, 8, 3\); expected"),
        ({"train_images": np.uint8(3)}, r"shape \(\); expected"),
        ({"train_images": TRAIN.transpose(0, 3, 1, 2)}, r"looks like N x C x H x W: use numpy.moveaxis"),
        ({"train_images": TRAIN, "test_images": TEST[..., 0]}, "3 channels, test_images 1"),
        ({"train_images": TRAIN, "test_labels": np.zeros(5, int)}, "test_labels but no test_images"),
        (
            {"train_images": TRAIN, "train_labels": np.zeros(11, int)},
            r"shape \(11,\); expected is one integer for each",
        ),
        ({"train_images": TRAIN, "train_labels": np.zeros(12)}, "float64 .*expected is one integer"),
        ({"train_images": TRAIN, "train_labels": np.full(12, -2)}, "numbers from -2 to -2; expected are 0 … K-1"),
        ({"train_images": TRAIN, "train_labels": np.full(12, 10**9)}, "return_inverse"),
        (
            {"train_images": TRAIN, "train_labels": np.full(12, 2), "label_names": np.array(["a", "b"])},
            "label_names .* has 2 names, but labels go up to 2",
        ),
        ({"train_images": TRAIN, "label_names": np.array([1, 2])}, "label_names .* is int64"),
        ({"train_images": TRAIN, "label_names": np.array([b"caf\xe9"])}, "label_names .* not UTF-8 .*give strings"),
        ({"train_images": np.array([None, "pickle"])}, "cannot be read as an .npz file .*without arrays of objects"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, arrays: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        open_arrays(saved(tmp_path, **arrays))
    assert str(tmp_path / "toy.npz") in str(caught.value)


def test_files_that_are_no_npz(tmp_path: Path) -> None:
    path = saved(tmp_path, train_images=TRAIN)
    whole = path.read_bytes()
    for data in (b"", b"text, not arrays", whole[: len(whole) // 2]):
        path.write_bytes(data)
        with pytest.raises(DataError, match=r"cannot be read as an \.npz file"):
            open_arrays(path)
    with path.open("wb") as file:
        np.save(file, TRAIN)
    with pytest.raises(DataError, match="holds a single array"):
        open_arrays(path)


def test_a_member_that_is_no_array(tmp_path: Path) -> None:
    path = saved(tmp_path, train_images=TRAIN)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("train_labels.npy", b"0 1 2")
    with pytest.raises(DataError, match=r"train_labels in .* is not an array, or its beginning is damaged"):
        open_arrays(path)
