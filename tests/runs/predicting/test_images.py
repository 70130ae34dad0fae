"""All images of a place, whatever it is: their names, few of them at a time, and those that cannot be read."""

import tarfile
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from resmom.data.errors import DataError
from resmom.data.files import FileSource
from resmom.data.open import open_data
from resmom.data.source import ArraySource, Data
from resmom.runs.predicting.images import Made, Pictures, Unread, open_pictures, require_whole
from resmom.runs.predicting.names import place_for


def draw(root: Path, *names: str) -> Path:
    for at, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 9, 3), at, np.uint8)).save(root / name)
    return root


def names(pictures: Pictures) -> list[str]:
    return [pictures.name(at) for at in range(len(pictures))]


def test_names_are_paths_from_the_place_that_was_named(tmp_path: Path) -> None:
    flat = draw(tmp_path / "flat", "b.png", "a/b.png")
    assert names(open_pictures(str(flat))) == ["a/b.png", "b.png"]
    split = draw(tmp_path / "split", "train/x/1.png", "train/y/1.png", "val/x/1.png")
    assert names(open_pictures(str(split))) == ["train/x/1.png", "train/y/1.png", "val/x/1.png"]
    classed = draw(tmp_path / "classed", "x/1.png", "x/2.png", "y/1.png", "y/2.png")
    parts = open_pictures(f"{classed}@held-out=0.5")
    assert sorted(names(parts)) == ["x/1.png", "x/2.png", "y/1.png", "y/2.png"] != names(parts)
    only = draw(tmp_path / "only", "train/1.png", "train/2.png")
    assert names(open_pictures(str(only))) == ["train/1.png", "train/2.png"]
    listed = tmp_path / "list.csv"
    listed.write_text(f"path,split\nflat/b.png,train\n{flat / 'a/b.png'},test\n")
    assert names(open_pictures(str(listed))) == ["flat/b.png", str(flat / "a/b.png")]


def test_images_without_names_are_called_by_split_and_number(tmp_path: Path) -> None:
    images = np.zeros((2, 8, 8, 3), np.uint8)
    np.savez(tmp_path / "i.npz", train_images=images, test_images=images[:1])
    assert names(open_pictures(str(tmp_path / "i.npz"))) == ["train/0", "train/1", "test/0"]
    draw(tmp_path / "in", "train/1.png", "test/1.png")
    with tarfile.open(tmp_path / "t.tar", "w") as archive:
        archive.add(tmp_path / "in", "x")
    assert names(open_pictures(str(tmp_path / "t.tar"))) == ["train/x/train/1.png", "test/x/test/1.png"]


def test_each_is_made_in_order_and_few_are_there_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw(tmp_path / "many", *(f"{at:03d}.png" for at in range(60)))
    alive: weakref.WeakSet[torch.Tensor] = weakref.WeakSet()
    most = 0
    decode = FileSource.decode

    def watched(self: FileSource, at: int) -> torch.Tensor:
        nonlocal most
        alive.add(image := decode(self, at))
        most = max(most, len(alive))
        return image

    monkeypatch.setattr(FileSource, "decode", watched)
    monkeypatch.setattr(FileSource, "_hold", lambda *_: pytest.fail("all were held"))
    pictures = open_pictures(str(tmp_path / "many"))
    seen = []
    for made in pictures.each(lambda pixels: pixels, workers=2):
        assert isinstance(made, Made)
        seen.append((made.number, made.name, int(made.content[0, 0, 0])))
        del made
    assert seen == [(at, f"{at:03d}.png", at) for at in range(60)] and most <= 7


def test_what_cannot_be_read_is_told_once_with_its_place(photos: Path) -> None:
    (photos.parent / "above").mkdir()
    (photos.parent / "above" / "train").symlink_to(photos)
    for place, start in ((photos, ""), (photos.parent / "above", "train/")):
        pictures = open_pictures(str(place))
        found = list(pictures.each(lambda pixels: tuple(pixels.shape), workers=1))
        late = [each for each in found if isinstance(each, Unread)]
        assert [each.name for each in pictures.unread] == [f"{start}early.png"]
        assert [(each.name, each.reason) for each in late] == [(f"{start}late.jpg", "the file is cut short")]
        assert len(found) == 6


def test_pixels_must_be_those_of_the_files(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((80, 90, 3), np.uint8)).save(tmp_path / "a.jpg")
    with pytest.raises(DataError, match="@shorter-side decodes photos at a part of their size, and boxes are told"):
        require_whole(open_pictures(f"{tmp_path}@shorter-side=32"), "boxes")
    grey = Data(ArraySource("grey", torch.zeros(2, 1, 8, 8, dtype=torch.uint8)), None, "given in Python")
    with pytest.raises(DataError, match=r"1 channel\(s\), and masks need colour"):
        require_whole(Pictures(grey), "masks")
    require_whole(Pictures(open_data(str(tmp_path))), "boxes")


def test_files_lie_in_the_folder_whatever_an_image_is_called(tmp_path: Path) -> None:
    out, made = tmp_path / "out", []
    odd = (
        "a.jpg",
        "a.webp",
        "a.gif",
        "/etc/a.jpg",
        "../../up.jpg",
        "..",
        "x/./y.png",
        "n" * 300 + ".jpg",
        "\udcff.jpg",
    )
    for name in odd:
        made.append(place_for(out, name, ".png"))
        made[-1].write_text("")
    inside = [str(path.relative_to(out)) for path in made]
    assert inside[:7] == ["a.png", "a.webp.png", "a.gif.png", "etc/a.png", "up.png", "image.png", "x/y.png"]
    assert inside[8] == "\udcff.png" and len(inside[7]) == 244
    # A file stands where a folder of that name is asked for, and numbers where the image's own ending does not help.
    for name, there in (("a.png/b.jpg", "a.png-2/b.png"), ("a.png/c.jpg", "a.png-2/c.png"), ("a.jpg", "a.jpg.png")):
        path = place_for(out, name, ".png")
        path.write_text("")
        assert str(path.relative_to(out)) == there
    assert place_for(out, "a.jpg", ".png").name == "a-2.png"
