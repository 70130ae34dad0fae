"""Datasets of Hugging Face: in Python, as parquet files, and as save_to_disk wrote them."""

from io import BytesIO
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from PIL import Image

from resmom.data import huggingface
from resmom.data.dataset import as_data
from resmom.data.errors import DataError
from resmom.data.files import FileSource
from resmom.data.open import open_data
from resmom.data.packing import pack
from tests.data.test_folder import LIMITS, every, labels

NAMES = ["cat", "dog", "cow"]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the package keeps what it made of parquet files."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def pixels(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (8 + seed % 3, 10, 3), dtype=np.uint8)


def encoded(seed: int) -> dict[str, Any]:
    file = BytesIO()
    Image.fromarray(pixels(seed)).save(file, "PNG")
    return {"bytes": file.getvalue(), "path": f"{seed}.png"}


def made(*seeds: int, names: list[str] | None = None, **columns: Any) -> datasets.Dataset:
    """Images drawn with these seeds, of the classes of their numbers."""
    features: dict[str, Any] = {"image": datasets.Image(), "label": datasets.ClassLabel(names=names or NAMES)}
    content = {"image": [encoded(seed) for seed in seeds], "label": [seed % 3 for seed in seeds]}
    return datasets.Dataset.from_dict(content, features=datasets.Features(features))


@LIMITS
@pytest.mark.parametrize("kind", ["python", "parquet", "saved"])
def test_the_pixels_and_labels_are_those_of_the_rows(tmp_path: Path, ram_limit: int, kind: str) -> None:
    """Also where rows were taken and moved."""
    dataset = made(0, 1, 2, 3, 4, 5, 6).select([4, 0, 5])
    if kind == "python":
        data = huggingface.open_dataset(dataset, "a Dataset", Path(), ram_limit)
    elif kind == "parquet":
        dataset.to_parquet(tmp_path / "x.parquet")
        data = open_data(tmp_path / "x.parquet", ram_limit)
    else:
        dataset.save_to_disk(tmp_path / "x")
        data = open_data(tmp_path / "x", ram_limit)
    assert data.test is None and data.train.classes == tuple(NAMES) and labels(data.train) == [1, 0, 2]
    for seed, image in zip((4, 0, 5), every(data.train), strict=True):
        assert torch.equal(image.permute(1, 2, 0), torch.from_numpy(pixels(seed)))


def test_a_dataset_in_python_is_one_of_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decoded as files are, whatever format its user has set; and told apart by what is in it."""
    data = as_data(made(0, 1, 2).with_format("torch"), made(3, 4))
    assert isinstance(data.train, FileSource) and data.test is not None and labels(data.test) == [0, 1]
    prints = [as_data(made(*seeds)).train.fingerprint() for seeds in ((0, 1), (0, 4), (0, 1))]
    assert prints[0] == prints[2] != prints[1]


class InTorch:
    """A Dataset of torch, with its classes in another order."""

    classes, targets = ("cow", "cat", "dog"), (0, 1, 2)

    def __len__(self) -> int:
        return 3

    def __getitem__(self, at: int) -> np.ndarray:
        return pixels(at)


def test_classes_are_numbered_by_their_names() -> None:
    other = ["cow", "cat", "dog"]
    data = as_data(made(0, 1, 2), made(0, 1, 2, names=other))
    assert data.test is not None and data.test.classes == tuple(NAMES) and labels(data.test) == [2, 0, 1]
    with pytest.raises(DataError, match="does not name: hen"):
        as_data(made(0, 1, 2), made(1, names=["cat", "hen", "cow"]))
    of_torch = InTorch()
    data = as_data(made(0, 1, 2), of_torch)
    assert data.test is not None and data.test.classes == tuple(NAMES) and labels(data.test) == [2, 0, 1]
    data = as_data(of_torch, made(0, 1, 2))
    assert data.test is not None and data.test.classes == tuple(other) and labels(data.test) == [1, 2, 0]
    splits = datasets.DatasetDict({"train": made(0, 1), "test": made(1, names=other)})
    assert (tests := as_data(splits).test) is not None and labels(tests) == [0]


def test_splits(tmp_path: Path) -> None:
    splits = datasets.DatasetDict(
        {"train": made(0, 1, 2), "test": made(3).remove_columns("label"), "validation": made(4, 5), "extra": made(6)}
    )
    splits.save_to_disk(tmp_path / "saved")
    for name, part in splits.items():
        if name != "extra":
            part.to_parquet(tmp_path / f"data/{name}-00000-of-00001.parquet")
    for data, others in (
        (as_data(splits), 2),
        (open_data(tmp_path / "saved"), 2),
        (open_data(tmp_path / "data"), 1),
    ):
        assert data.test is not None and labels(data.test) == [1, 2]  # test goes before, and has no labels
        assert data.outside == f"{others} images of other splits"
        assert data.train.name.endswith("/train") and "train and validation" in data.origin
    assert as_data(datasets.DatasetDict({"test": made(0)})).test is None
    with pytest.raises(DataError, match="splits test, extra, and none is train"):
        as_data(datasets.DatasetDict({"test": made(0), "extra": made(1)}))
    for gone_through in (datasets.IterableDatasetDict(train=made(0).to_iterable_dataset()), dict(splits)):
        with pytest.raises(DataError, match=r"of train.*; give one of them"):
            as_data(gone_through)
    with pytest.raises(DataError, match="has splits of its own"):
        as_data(splits, made(0))
    with pytest.raises(DataError, match="test: the test Dataset has several splits"):
        as_data(made(0), splits)


def labelled(*given: int | None) -> datasets.Dataset:
    content = {"image": [encoded(seed) for seed in range(len(given))], "label": list(given)}
    return datasets.Dataset.from_dict(content, features=made(0).features)


def test_rows_without_labels_have_none() -> None:
    """They are -1 or nothing at all; the hub has such splits, whose labels it keeps to itself, as ImageNet's test."""
    assert labels(as_data(labelled(1, None, -1, 0)).train) == [1, -1, -1, 0]
    for hidden in (-1, None):
        data = as_data(datasets.DatasetDict(train=made(0, 1), test=labelled(hidden), validation=made(1)))
        assert data.test is not None and labels(data.test) == [1] and "train and validation" in data.origin
    assert as_data(labelled(None)).train.labels is None
    with pytest.raises(DataError, match="test has no labels"):
        as_data(made(0, 1), labelled(-1))


def test_a_labelled_test_split_of_unlabelled_images_keeps_its_classes(tmp_path: Path) -> None:
    for number, train in enumerate((made(3, 4).remove_columns("label"), labelled(None, -1))):
        train.save_to_disk(tmp_path / f"{number}")
        for images in (train, open_data(tmp_path / f"{number}").train):
            data = as_data(images, made(2, 0, names=["cow", "dog", "cat"]))
            assert data.train.labels is None
            assert data.test is not None and data.test.classes == ("cow", "dog", "cat") and labels(data.test) == [2, 0]


def test_a_split_called_valid_is_for_testing_and_what_is_left_out_is_told() -> None:
    data = as_data(datasets.DatasetDict(train=made(0, 1), valid=made(1)))
    assert data.test is not None and labels(data.test) == [1]
    data = as_data(datasets.DatasetDict(train=made(0, 1), unlabeled=made(1, 2)))
    assert data.test is None and data.outside == "2 images of other splits" and data.outside in data.origin


def test_the_folder_that_one_stands_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(0).save_to_disk(tmp_path / "saved")
    monkeypatch.chdir(tmp_path / "saved")
    assert open_data(".").train.name == "saved"


def test_which_column_is_meant() -> None:
    both = made(0, 1, 2).add_column("fine_label", [2, 0, 1]).cast_column("fine_label", datasets.ClassLabel(names=NAMES))
    assert labels(as_data(both).train) == [0, 1, 2]
    assert labels(as_data(both.remove_columns("label")).train) == [2, 0, 1]
    coarse = both.rename_columns({"label": "coarse", "fine_label": "other"})
    with pytest.raises(DataError, match=r"several columns of the feature ClassLabel: coarse, other; name the one"):
        as_data(coarse)
    with pytest.raises(DataError, match=r"no column of the feature Image; it has label \(ClassLabel\)"):
        as_data(made(0).remove_columns("image"))
    assert as_data(made(0).rename_column("image", "photo").remove_columns("label")).train.labels is None
    with pytest.raises(DataError, match="is empty"):
        as_data(made(0).select([]))


def test_labels_that_are_plain_values() -> None:
    """Words and numbers, numbered alike in test by what they are; captions are none."""
    bare = made(0, 1, 2, 3).remove_columns("label")
    words = bare.add_column("label", ["dog", "cat", None, "dog"])
    data = as_data(words, made(4, 5).remove_columns("label").add_column("label", ["dog", "dog"]))
    assert data.train.classes == ("cat", "dog") and labels(data.train) == [1, 0, -1, 1]
    assert data.test is not None and labels(data.test) == [1, 1]
    numbers = as_data(bare.add_column("target", [10, 9, -1, 10])).train
    assert numbers.classes == ("9", "10") and labels(numbers) == [1, 0, -1, 1]
    assert as_data(bare.add_column("label", ["a dog", "a cat", "a cow", "two dogs"])).train.labels is None
    assert as_data(bare.add_column("label", [0.5, 0.25, 0.5, 0.25])).train.labels is None


def test_images_that_are_not_there(tmp_path: Path) -> None:
    """A row without one, a path that leads nowhere, bytes that are none: left out and told, as files are."""
    Image.fromarray(pixels(1)).save(tmp_path / "1.png")
    rows = [None, {"bytes": None, "path": str(tmp_path / "1.png")}, {"bytes": None, "path": str(tmp_path / "2.png")}]
    rows.append({"bytes": b"no image", "path": None})
    features = datasets.Features({"image": datasets.Image()})
    source = as_data(datasets.Dataset.from_dict({"image": rows}, features=features)).train
    assert len(source) == 1 and torch.equal(every(source)[0].permute(1, 2, 0), torch.from_numpy(pixels(1)))
    reasons = dict(source.unreadable)
    assert reasons["0"] == "its row has no image" and "cannot be opened" in reasons["2"]
    assert "not an image" in reasons["3"]


def test_a_pack_of_parquet_files(tmp_path: Path) -> None:
    made(0, 1, 2).to_parquet(tmp_path / "in/train.parquet")
    assert pack(tmp_path / "in", tmp_path / "out").images == {"train": 3}
    packed, whole = open_data(tmp_path / "out").train, open_data(tmp_path / "in").train
    assert labels(packed) == labels(whole) and packed.classes == whole.classes
    assert all(torch.equal(one, other) for one, other in zip(every(packed), every(whole), strict=True))


def test_what_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.parquet").write_bytes(b"PAR1 and nothing")
    with pytest.raises(DataError, match="cannot be read by the package datasets"):
        open_data(tmp_path / "x.parquet")
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved/state.json").write_text("{")
    with pytest.raises(DataError, match="cannot be read by the package datasets"):
        open_data(tmp_path / "saved")
    monkeypatch.setattr(huggingface, "importable", lambda name: False)
    for place in ("x.parquet", "saved"):
        with pytest.raises(DataError, match=r"needs the package datasets.*pip install datasets"):
            open_data(tmp_path / place)


def test_nobody_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package counts the data sets that it loads on a server of its own."""
    made(0).to_parquet(tmp_path / "x.parquet")

    def called(*_: object, **__: object) -> None:
        raise AssertionError("a server was called")

    for name in ("socket.socket.connect", "socket.create_connection", "socket.getaddrinfo"):
        monkeypatch.setattr(name, called)
    assert len(open_data(tmp_path / "x.parquet").train) == 1
