"""What a user may write after `--data`, and the public data sets without a network."""

from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import datasets

from resmom.data.errors import DataError
from resmom.data.named import default_root, open_named
from resmom.data.open import open_data, short_name

CLASSES = ["plane", "car", "bird"]


class Cifar:
    """What torchvision's classes for CIFAR hold once they have loaded, at the scale of a test."""

    def __init__(self, root: str, train: bool, download: bool) -> None:
        assert download
        n = 6 if train else 3
        self.root, self.classes, self.targets = root, CLASSES, [at % 3 for at in range(n)]
        self.data = np.random.default_rng(n).integers(0, 256, (n, 32, 32, 3), dtype=np.uint8)


class Stl:
    """The same for STL-10, which is stored N x C x H x W and has images without a label."""

    def __init__(self, root: str, split: str, download: bool) -> None:
        assert download and split in ("train+unlabeled", "test")
        self.classes, self.labels = CLASSES, np.array([0, 2, -1, -1] if split != "test" else [1, 1])
        self.data = np.arange(len(self.labels) * 3 * 96 * 96).astype(np.uint8).reshape(-1, 3, 96, 96)


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_cifar_by_name(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, name.upper(), Cifar)
    data = open_data(name)
    assert data.test is not None and data.train.labels is not None and data.origin == f"{name}'s own splits"
    assert (len(data.train), len(data.test), data.train.name) == (6, 3, f"{name}/train")
    assert data.train.labels.tolist() == [0, 1, 2, 0, 1, 2] and data.train.classes == tuple(CLASSES)
    wanted = torch.from_numpy(Cifar("", train=False, download=True).data).permute(0, 3, 1, 2)
    assert torch.equal(data.test.read(np.arange(3)), wanted)


def test_stl_keeps_the_unlabelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "STL10", Stl)
    data = open_data("stl10")
    assert data.test is not None and data.train.labels is not None
    assert data.train.labels.tolist() == [0, 2, -1, -1] and data.train.labels.dtype == np.int64
    assert data.train.sizes[0].tolist() == [96, 96] and len(data.test) == 2


def test_where_the_files_are_looked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    roots: list[str] = []

    def cifar(root: str, train: bool, download: bool) -> Cifar:
        roots.append(root)
        return Cifar(root, train, download)

    monkeypatch.setattr(datasets, "CIFAR10", cifar)
    monkeypatch.delenv("RESMOM_DATA", raising=False)
    assert default_root() == Path.home() / ".cache/resmom/data"
    open_data(f"cifar10:{tmp_path}/there")
    monkeypatch.setenv("RESMOM_DATA", str(tmp_path / "here"))
    open_data("cifar10")
    assert roots == [f"{tmp_path}/there"] * 2 + [f"{tmp_path}/here"] * 2


@pytest.mark.parametrize("error", [URLError("no route to host"), RuntimeError("File not found or corrupted.")])
def test_without_a_network_the_ways_out_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception
) -> None:
    def offline(**_: Any) -> None:
        raise error

    monkeypatch.setattr(datasets, "CIFAR100", offline)
    with pytest.raises(DataError) as caught:
        open_data(f"cifar100:{tmp_path}")
    for words in ("no route" if isinstance(error, URLError) else "corrupted", str(tmp_path), "cifar100:FOLDER", ".npz"):
        assert words in str(caught.value)


def test_a_name_that_is_none() -> None:
    with pytest.raises(DataError, match="known are cifar10, cifar100, stl10"):
        open_named("mnist")


def test_folders_and_arrays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("cifar10").mkdir()
    Image.new("RGB", (5, 4)).save("cifar10/1.png")
    np.savez("toy.NPZ", train_images=np.zeros((2, 4, 5, 3), dtype=np.uint8))
    Path("toy.NPZ.npz").rename("toy.NPZ")
    for spec in ("./cifar10", Path("cifar10"), "toy.NPZ", tmp_path / "toy.NPZ"):
        opened = open_data(spec)
        assert opened.train.sizes[0].tolist() == [4, 5] and open_data(opened) is opened
    assert isinstance(open_data("./cifar10", ram_limit=0).train.read(np.array([0])), list)


def test_what_cannot_be_opened_is_explained(tmp_path: Path) -> None:
    (tmp_path / "list.dat").touch()
    with pytest.raises(DataError, match=r"list.dat is a file of none of these kinds. Data is a folder"):
        open_data(tmp_path / "list.dat")
    with pytest.raises(DataError, match=r"none does not exist.*NAME:FOLDER"):
        open_data(tmp_path / "none")
    with pytest.raises(DataError, match=r"`resmom demo --out OUT` draws its digits to OUT/images"):
        open_data("digits")
    with pytest.raises(DataError, match=r"Did you mean cifar100\?"):
        open_data("CIFAR-100:/data")


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ("cifar100", "cifar100"),
        ("cifar10:/home/me/data@held-out=0.1", "cifar10@held-out=0.1"),
        ("/home/me/my photos@shorter-side=448", "my photos@shorter-side=448"),
        ("/mnt/cifar10.npz", "cifar10.npz"),
        ("/home/me", "a home folder"),
        ("/Users/me@held-out=0.1", "a home folder@held-out=0.1"),
        (str(Path.home()), "a home folder"),
        ("given in Python: an array", "given in Python: an array"),
    ],
)
def test_data_in_a_word_that_tells_no_folder(spec: str, name: str) -> None:
    assert short_name(spec) == name
