"""Images given in Python: what a PIL image becomes, and labels that are refused."""

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, IterableDataset, Subset

from resmom.data.dataset import as_data
from resmom.data.decode import converted, decode
from resmom.data.errors import DataError
from tests.data.test_decode import png

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 6, 8, 3), dtype=np.uint8)


@dataclass
class Listed:
    """A Dataset of what is in a list."""

    items: list[Any]
    targets: list[int] | None = field(default=None)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.items[index]


def stored(image: Image.Image, suffix: str, **options: Any) -> io.BytesIO:
    file = io.BytesIO()
    image.save(file, suffix, **options)
    return file


def turned() -> io.BytesIO:
    exif = Image.Exif()
    exif[0x0112] = 6
    return stored(Image.fromarray(IMAGES[0]), "PNG", exif=exif)


FILES = {
    "16-bit grey": lambda: stored(Image.fromarray(np.full((6, 8), 20000, dtype=np.uint16)), "PNG"),
    "transparent": lambda: stored(Image.new("RGBA", (8, 6)), "PNG"),
    "turned": turned,
    "transparent colour": lambda: io.BytesIO(png(np.array([[3, 2, 1, 0]]), 2, bytes([0, 1]))),
    "transparent deep colour": lambda: io.BytesIO(
        png(np.array([[[300, 0, 0], [301, 0, 0]]]), 16, struct.pack(">HHH", 300, 0, 0))
    ),
    "palette": lambda: stored(Image.fromarray(IMAGES[0]).quantize(8), "GIF"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_pil_image_is_what_its_file_is(name: str) -> None:
    file = FILES[name]()
    with Image.open(file) as image:
        source = as_data(Listed([(image, 3)])).train
        for _ in range(2):  # also when Pillow has loaded it
            assert torch.equal(source.read(np.array([0]))[0], decode(file))


def test_pil_images_in_memory(tmp_path: Path) -> None:
    plain = Image.fromarray(IMAGES[0])
    deep = Image.fromarray(np.full((6, 8), 20000, dtype=np.uint16))
    clear = Image.new("RGBA", (8, 6))
    read = as_data(Listed([plain, deep, clear])).train.read(np.arange(3))
    assert torch.equal(read[0], torch.from_numpy(IMAGES[0]).permute(2, 0, 1))
    assert read[1].unique().tolist() == [78] and read[2].unique().tolist() == [255]
    with Image.open(turned()) as image:
        (upright,) = as_data(Listed([image.convert("RGB")])).train.read(np.array([0]))
    assert torch.equal(upright, read[0].rot90(-1, (1, 2)))


def test_pil_images_that_are_refused() -> None:
    cut = stored(Image.fromarray(np.repeat(IMAGES, 40, axis=1)[0]), "PNG").getvalue()[:-200]
    for image, words in (
        (Image.fromarray(np.zeros((6, 8), dtype=np.float32)), "of mode F, cannot be used: .*floating-point"),
        (Image.fromarray(np.full((6, 8), 200, dtype=np.int32)), "of mode I, cannot be used: .*beyond 16 bits"),
        (Image.open(io.BytesIO(cut)), "of mode RGB, cannot be used: the file is cut short"),
    ):
        with pytest.raises(DataError, match=f"item 0 of the Dataset, a PIL image {words}.*; give it as 8-bit"):
            as_data(Listed([image]))


@pytest.mark.parametrize("label", [-2, 10**9])
def test_labels_that_are_no_classes(label: int) -> None:
    labels = [0, label, 1]
    for given in ((IMAGES, labels), Listed(list(IMAGES), labels)):
        with pytest.raises(DataError, match=r"expected are 0 … K-1 for K classes, or -1 for an image without a label"):
            as_data(given)
    source = as_data((IMAGES, [0, -1, 1])).train
    assert source.labels is not None and source.labels.tolist() == [0, -1, 1] and source.classes == ("0", "1")


def test_a_part_with_labels_of_its_own_has_those() -> None:
    pixels = [Image.new("RGB", (4, 4)) for _ in range(6)]
    whole = Listed(pixels, [7, 8, 9, 7, 8, 9])
    part = Subset(whole, [3, 4, 5])
    assert as_data(part).train.labels.tolist() == [7, 8, 9]
    part.targets = [0, 1, 2]  # type: ignore[attr-defined]
    assert as_data(part).train.labels.tolist() == [0, 1, 2]


@pytest.mark.parametrize("test", ["photos/", Path("photos")])
def test_a_path_is_no_test_split(test: object) -> None:
    with pytest.raises(DataError, match=r"^test is 'photos/?', and a path has its own test split"):
        as_data(np.zeros((4, 4, 4, 3), np.uint8), test)


def test_plain_pngs_are_loaded_once_and_closed(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4), "red").save(tmp_path / "a.png")
    image = Image.open(tmp_path / "a.png")
    converted(image)
    assert getattr(image, "fp", None) is None


@dataclass
class Named(Listed):
    """A Dataset that names its classes, as torchvision's have it."""

    classes: list[str] = field(default_factory=list)


def test_classes_of_two_datasets_are_matched_by_their_names() -> None:
    """Folders of which one lacks a class are numbered otherwise."""
    train = Named(list(IMAGES), [0, 1, 2], ["cat", "dog", "owl"])
    data = as_data(train, Named(list(IMAGES), [0, -1, 1], ["owl", "cat"]))
    assert data.test is not None and data.test.labels is not None
    assert data.test.labels.tolist() == [2, -1, 0] and data.test.classes == ("cat", "dog", "owl")

    part = as_data(Subset(train, [2, 1]), Subset(Named(list(IMAGES), [0, 1, 0], ["owl", "dog"]), [1, 2]))
    assert part.test is not None and part.test.labels is not None
    assert part.test.labels.tolist() == [1, 2]

    with pytest.raises(DataError, match="the test Dataset has classes that the training Dataset does not name: cow"):
        as_data(train, Named(list(IMAGES), [0, 1, 1], ["owl", "cow"]))


def test_names_that_are_numbers_are_names() -> None:
    """Folders 0, 1 and 2 to learn from, and 1 and 2 to test on, whose first class is number 0."""
    train = Named(list(IMAGES), [0, 1, 2], ["0", "1", "2"])
    for names, labels, here in ((["1", "2"], [0, 1, 1], [1, 2, 2]), (["2", "0", "1"], [0, 1, 2], [2, 0, 1])):
        data = as_data(train, Named(list(IMAGES), labels, names))
        assert data.test is not None and data.test.labels is not None and data.test.labels.tolist() == here
    reverse = as_data(Named(list(IMAGES), [0, 1, 2], ["2", "1", "0"]), train)
    assert reverse.test is not None and reverse.test.labels is not None and reverse.test.labels.tolist() == [2, 1, 0]


@pytest.mark.parametrize(("here", "there"), [([], ["b", "a"]), (["a", "b"], []), (["a", "b"], ["a", "a"])])
def test_classes_without_names_are_matched_by_their_numbers(here: list[str], there: list[str]) -> None:
    data = as_data(Named(list(IMAGES), [0, 1, 1], here), Named(list(IMAGES), [1, 0, 0], there))
    assert data.test is not None and data.test.labels is not None and data.test.labels.tolist() == [1, 0, 0]


def test_numbers_that_are_no_bytes_are_told_how_to_become_them() -> None:
    for given in (IMAGES.astype(np.float32), torch.from_numpy(IMAGES).permute(0, 3, 1, 2) / 255):
        with pytest.raises(DataError, match=r"from 0 to 1: \(images \* 255\)\.round\(\), as uint8"):
            as_data(given)
    with pytest.raises(DataError, match=r"got int32 of shape \(3, 6, 8, 3\)$"):
        as_data(IMAGES.astype(np.int32))


class Streamed(IterableDataset[Any]):
    """Has a length, and inherits a method for items that only raises."""

    def __len__(self) -> int:
        return len(IMAGES)

    def __iter__(self) -> Iterator[Any]:
        return iter(IMAGES)


class Unfinished(Dataset[Any]):
    def __len__(self) -> int:
        return len(IMAGES)


@pytest.mark.parametrize("dataset", [Streamed(), Unfinished(), iter(IMAGES)])
def test_what_has_no_items_by_number_is_told(dataset: object) -> None:
    told = r"^\w+ cannot be used as images; .*a map-style Dataset \(one with a length, and items by number\); .*list\("
    with pytest.raises(DataError, match=told):
        as_data(dataset)
    assert len(as_data(list(Streamed())).train) == len(IMAGES)


def test_items_of_other_channels_than_the_first_are_named() -> None:
    grey = [IMAGES[0][:, :, :1], torch.zeros(1, 6, 8, dtype=torch.uint8), IMAGES[0][:, :, 0]]
    for item in grey:
        source = as_data(Listed([*IMAGES, item])).train
        source.read(np.arange(3))
        with pytest.raises(
            DataError, match=r"item 3 of the Dataset has 1 channel\(s\), item 0 has 3; give all the same"
        ):
            source.read(np.arange(4))
    mixed = as_data(Listed([Image.fromarray(IMAGES[0][:, :, 0]), IMAGES[1]])).train.read(np.arange(2))
    assert [tuple(image.shape) for image in mixed] == [(3, 6, 8), (3, 6, 8)]


def test_items_whose_channels_stand_elsewhere_are_told_how_to_turn() -> None:
    for channels in (1, 3):
        picture = IMAGES[0][:, :, :channels]
        with pytest.raises(
            DataError, match=r"item 0 of the Dataset, an array, .*looks like C x H x W: use numpy\.move"
        ):
            as_data(Listed([np.moveaxis(picture, 2, 0)]))
        with pytest.raises(
            DataError, match=r"item 0 of the Dataset, a tensor, .*looks like H x W x C: use image\.perm"
        ):
            as_data(Listed([torch.from_numpy(picture)]))
    for item in (np.zeros((3, 8, 3), np.uint8), torch.zeros(3, 8, 3, dtype=torch.uint8)):
        as_data(Listed([item]))  # as it should be, three pixels high or wide
    late = as_data(Listed([IMAGES[0], np.moveaxis(IMAGES[0], 2, 0)])).train
    with pytest.raises(DataError, match="item 1 of the Dataset, an array"):
        late.read(np.arange(2))


@pytest.mark.parametrize("shape", [(3, 5, 64, 64), (3, 2, 40, 50), (3, 16, 20, 20)])
def test_channels_at_the_front_are_told_whatever_their_number(shape: tuple[int, ...]) -> None:
    """As microscopes write them; an array of as many channels at its end is taken."""
    images = np.zeros(shape, dtype=np.uint8)
    with pytest.raises(DataError, match="looks like N x C x H x W"):
        as_data(images)
    assert as_data(np.moveaxis(images, 1, 3)).train.channels == shape[1]
    assert as_data(torch.from_numpy(images)).train.channels == shape[1]
    with pytest.raises(DataError, match="looks like N x H x W x C"):
        as_data(torch.from_numpy(np.moveaxis(images, 1, 3).copy()))
