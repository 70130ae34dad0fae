"""Folders of image files: what is found, what is labelled, what is left out, in RAM and outside of it."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from resmom.data.decode import decode
from resmom.data.errors import DataError
from resmom.data.files import RAM_LIMIT
from resmom.data.folder import open_folder
from resmom.data.pieces import in_pieces
from resmom.data.source import Source, labels_read

LIMITS = pytest.mark.parametrize("ram_limit", [RAM_LIMIT, 0], ids=["in RAM", "lazy"])


def draw(path: Path, seed: int = 0, height: int = 8, width: int = 10) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def plant(root: Path, *names: str) -> Path:
    for seed, name in enumerate(names):
        draw(root / name, seed)
    return root


def every(source: Source) -> list[torch.Tensor]:
    return list(source.read(np.arange(len(source))))


def labels(source: Source) -> list[int] | None:
    return None if source.labels is None else source.labels.tolist()


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """500 photos of mixed sizes in two folders; the text, the empty file and the broken link fail at the header, the
    two cut short only when decoded."""
    root = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for number in range(500):
        suffix = ("jpg", "png", "webp", "JPEG")[number % 4]
        draw(root / f"{'ab'[number % 2]}/{number:03}.{suffix}", number, *rng.integers(20, 60, 2).tolist())
    (root / "a/000.jpg").write_text("not an image, whatever its name says")
    (root / "b/001.png").write_bytes(b"")
    (root / "a/002.webp").unlink()
    (root / "a/002.webp").symlink_to(root / "nowhere.webp")
    for name in ("b/003.JPEG", "b/499.JPEG"):
        whole = (root / name).read_bytes()
        (root / name).write_bytes(whole[: len(whole) - 100])
    return root


BROKEN = {
    "a/000.jpg": "not an image",
    "a/002.webp": "cannot be opened",
    "b/001.png": "file is empty",
    "b/003.JPEG": "cut short",
    "b/499.JPEG": "cut short",
}


def told(source: Source) -> list[str]:
    assert all(BROKEN[name] in reason for name, reason in source.unreadable)
    return [name for name, _ in source.unreadable]


def test_in_ram_all_broken_files_are_left_out_at_the_start(photos: Path) -> None:
    source = open_folder(photos).train
    assert len(source) == 495 and told(source) == sorted(BROKEN)
    names = sorted(f"{'ab'[n % 2]}/{n:03}.{('jpg', 'png', 'webp', 'JPEG')[n % 4]}" for n in range(500))
    names = [name for name in names if name not in BROKEN]
    for at, (name, image) in enumerate(zip(names, every(source), strict=True)):
        assert torch.equal(image, decode(photos / name)) and tuple(image.shape[1:]) == tuple(source.sizes[at])
    assert labels(source) == [int(name[0] == "b") for name in names] and source.classes == ("a", "b")


def test_lazily_a_broken_file_is_replaced_by_the_next(photos: Path) -> None:
    source = open_folder(photos, ram_limit=0).train
    assert len(source) == 497 and told(source) == ["a/000.jpg", "a/002.webp", "b/001.png"]
    first, last = 248, 496  # b/003 comes after the 248 readable ones of a/; b/499 is the last of all
    for _ in range(2):
        around = source.read(np.array([first, first + 1, last, 0]))
        assert torch.equal(around[0], around[1]) and torch.equal(around[2], around[3])
        assert told(source) == sorted(BROKEN)
    assert len(source) == 497 and source.subset(np.array([5])).unreadable == source.unreadable


def test_lazy_reading_by_many_threads_is_the_same(photos: Path) -> None:
    source, held = open_folder(photos, ram_limit=0).train, open_folder(photos).train
    with ThreadPoolExecutor(4) as pool:
        chunks = [np.arange(start, start + 60) for start in range(0, 300, 60)]
        images = [image for chunk in pool.map(source.read, chunks) for image in chunk]
    del images[248]  # the stand-in
    assert all(torch.equal(one, other) for one, other in zip(images, every(held)[:299], strict=True))


def test_the_limit_counts_decoded_bytes(tmp_path: Path) -> None:
    plant(tmp_path, "a.png", "b.png")
    assert isinstance(open_folder(tmp_path, 2 * 3 * 8 * 10).train.read(np.array([0])), torch.Tensor)
    assert isinstance(open_folder(tmp_path, 2 * 3 * 8 * 10 - 1).train.read(np.array([0])), list)


def test_images_of_one_size_come_as_one_tensor_even_with_gaps(tmp_path: Path) -> None:
    plant(tmp_path, *(f"{n}.jpg" for n in range(6)))
    kept = [decode(tmp_path / f"{n}.jpg") for n in (0, 1, 3, 5)]
    for n in (2, 4):
        (tmp_path / f"{n}.jpg").write_bytes((tmp_path / f"{n}.jpg").read_bytes()[:-60])
    source = open_folder(tmp_path).train
    images = source.read(np.array([3, 0, 2, 1]))
    assert isinstance(images, torch.Tensor) and torch.equal(images, torch.stack([kept[at] for at in (3, 0, 2, 1)]))
    assert [name for name, _ in source.unreadable] == ["2.jpg", "4.jpg"]


@LIMITS
def test_no_readable_image_is_an_error(tmp_path: Path, ram_limit: int) -> None:
    (tmp_path / "a.jpg").write_text("text")
    (tmp_path / "b.jpg").touch()
    with pytest.raises(DataError, match=r"none of the 2 images .*a.jpg: not an image.*b.jpg: the file is empty"):
        open_folder(tmp_path, ram_limit)


def test_those_that_fail_after_their_header_are_counted_with_the_others(tmp_path: Path) -> None:
    plant(tmp_path, "a.jpg")
    (tmp_path / "a.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:-60])
    (tmp_path / "b.jpg").touch()
    with pytest.raises(DataError, match="none of the 2 images"):
        open_folder(tmp_path)


def test_files_that_vanish_later(tmp_path: Path) -> None:
    plant(tmp_path, "a.png", "b.png", "c.png")
    source = open_folder(tmp_path, 0).train
    draw(tmp_path / "c.png", 9, height=9)
    (tmp_path / "b.png").unlink()
    first, second = source.read(np.array([1, 0]))
    assert torch.equal(first, second)
    assert "header said 8 x 10" in dict(source.unreadable)["c.png"]
    (tmp_path / "a.png").unlink()
    with pytest.raises(DataError, match="can be read any more"):
        source.read(np.array([0]))
    with pytest.raises(IndexError):
        source.read(np.array([3]))


def test_suffixes_hidden_files_and_order(tmp_path: Path) -> None:
    plant(tmp_path, "b/2.PNG", "b/10.jpeg", "B/1.tiff", "a.bmp", "b.c/1.gif", "x/y/z/1.webp", "x/y/1.ppm")
    plant(tmp_path, ".hidden.png", ".cache/1.png", "__MACOSX/1.png", "x/.DS/1.png")
    (tmp_path / "notes.txt").write_text("no image")
    source = open_folder(tmp_path).train
    wanted = ["B/1.tiff", "a.bmp", "b.c/1.gif", "b/10.jpeg", "b/2.PNG", "x/y/1.ppm", "x/y/z/1.webp"]
    assert all(torch.equal(image, decode(tmp_path / name)) for image, name in zip(every(source), wanted, strict=True))
    assert source.name == tmp_path.name and source.channels == 3


@LIMITS
@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (("cat/1.png", "cat/old/2.png", "dog/1.png"), [0, 0, 1]),
        (("cat/1.png", "cat/2.png"), None),
        (("1.png", "2.png"), None),
        (("cat/1.png", "dog/1.png", "stray.png"), None),
        (("bus/1.png", "train/1.png"), [0, 1]),
    ],
)
def test_labels_are_the_first_folders(
    tmp_path: Path, names: tuple[str, ...], wanted: list[int] | None, ram_limit: int
) -> None:
    data = open_folder(plant(tmp_path, *names), ram_limit)
    assert labels(data.train) == wanted and data.test is None and data.origin == "no test split"
    assert data.train.classes == (tuple(sorted({name.split("/")[0] for name in names})) if wanted else ())


@pytest.mark.parametrize("held_out", ["test", "val", "validation"])
def test_train_and_test_folders_are_the_splits(tmp_path: Path, held_out: str) -> None:
    plant(tmp_path, "train/cat/1.png", "train/dog/1.png", "train/hen/1.png", f"{held_out}/hen/1.png", "extra/1.png")
    data = open_folder(tmp_path)
    assert data.test is not None and labels(data.train) == [0, 1, 2] and labels(data.test) == [2]
    assert data.train.classes == data.test.classes == ("cat", "dog", "hen")
    assert data.origin == f"train/ and {held_out}/ folders (1 images outside of them left out)"
    assert (data.train.name, data.test.name) == (f"{tmp_path.name}/train", f"{tmp_path.name}/{held_out}")


def test_of_several_test_folders_the_labelled_one_is_taken(tmp_path: Path) -> None:
    plant(tmp_path, "train/cat/1.png", "train/dog/1.png", "test/1.png", "val/dog/1.png")
    data = open_folder(tmp_path)
    assert data.test is not None and labels(data.test) == [1] and "train/ and val/" in data.origin
    plant(tmp_path, "test2/1.png", "validation/dog/2.png", "test/cat/1.png")
    (tmp_path / "test/1.png").unlink()
    assert "train/ and test/" in open_folder(tmp_path).origin


def test_a_train_folder_alone_is_the_split(tmp_path: Path) -> None:
    data = open_folder(plant(tmp_path, "train/cat/1.png", "train/dog/1.png"))
    assert labels(data.train) == [0, 1] and data.test is None and data.origin == "train/ folder, no test split"


def test_splits_without_labels(tmp_path: Path) -> None:
    data = open_folder(plant(tmp_path, "train/1.png", "train/2.png", "test/cat/1.png", "test/dog/1.png"))
    assert data.test is not None and data.train.labels is None and data.test.labels is None
    plant(tmp_path, "other/train/cat/1.png", "other/train/dog/1.png", "other/test/1.png")
    data = open_folder(tmp_path / "other")
    assert data.test is not None and labels(data.train) == [0, 1] and data.test.labels is None


def test_a_test_class_that_training_lacks_is_named(tmp_path: Path) -> None:
    plant(tmp_path, "train/cat/1.png", "train/dog/1.png", "test/cow/1.png", "test/dog/1.png")
    with pytest.raises(DataError, match=r"1 folders that the training split has not: cow\."):
        open_folder(tmp_path)


def test_a_folder_without_images_is_described(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no images: it holds no files"):
        open_folder(tmp_path)
    for name in ("a.txt", "b.TXT", "c.npz", "README"):
        (tmp_path / name).touch()
    with pytest.raises(DataError, match=r"it holds 4 files \(2 .txt, 1 .*\.jpg, \.jpeg"):
        open_folder(tmp_path)


def test_pictures_that_are_not_used_are_told(tmp_path: Path) -> None:
    plant(tmp_path / "a", "one.jpg", "two.jfif")
    assert open_folder(tmp_path / "a").passed_over == "" and len(open_folder(tmp_path / "a").train) == 2
    for name in ("three.jxl", "b/four.JXL", "five.dng", "notes.txt"):
        (tmp_path / "a" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "a" / name).write_bytes(b"x")
    told = "pictures of formats that are not read (2 .jxl, 1 .dng): convert them, for instance to JPEG"
    assert open_folder(tmp_path / "a").passed_over == told

    plant(tmp_path / "b", "train/x/1.png", "train/y/1.png", "val/x/1.png", "val/y/1.png", "rest/1.png", "2.png")
    (tmp_path / "b" / "3.jxl").write_bytes(b"x")
    told = "2 images outside of the train/ and val/ folders; pictures of formats that are not read (1 .jxl): "
    assert open_folder(tmp_path / "b").passed_over.startswith(told)


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    plant(tmp_path, "photos/cat/1.png", "elsewhere/2.png")
    (tmp_path / "photos/cat/up").symlink_to(tmp_path / "photos")
    (tmp_path / "photos/dog").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/back").symlink_to(tmp_path / "elsewhere")
    data = open_folder(tmp_path / "photos")
    assert labels(data.train) == [0, 1] and data.train.classes == ("cat", "dog")


def test_links_in_circles_and_to_what_is_no_file(tmp_path: Path) -> None:
    """A pipe would be waited for without end."""
    os.mkfifo(tmp_path / "pipe")
    root = plant(tmp_path / "photos", "good.png", "far/away.png").resolve()
    (tmp_path / "photos/far").rename(tmp_path / "far")
    for link, to in (("loop", "loop"), ("loop.png", "loop.png"), ("pipe.png", "../pipe"), ("b.png", "../far/away.png")):
        (root / link).symlink_to(to)
    os.mkfifo(root / "bare.png")
    source = open_folder(root).train
    assert source.names() == ["b.png", "good.png"]
    assert [name for name, _ in source.unreadable] == ["loop.png"]
    assert "cannot be opened" in source.unreadable[0][1]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list every folder")
def test_a_folder_that_may_not_be_listed(tmp_path: Path) -> None:
    plant(tmp_path, "a/1.png", "b/1.png")
    (tmp_path / "a").chmod(0)
    with pytest.raises(DataError, match="cannot be listed"):
        open_folder(tmp_path)
    (tmp_path / "a").chmod(0o700)


def test_fingerprints_follow_names_sizes_and_labels(tmp_path: Path) -> None:
    root = plant(tmp_path / "photos", "a/1.png", "b/2.png")
    prints = [open_folder(root, limit).train.fingerprint() for limit in (RAM_LIMIT, 0)]
    assert prints[0] == prints[1]
    draw(root / "b/2.png", 5, height=9)
    prints.append(open_folder(root).train.fingerprint())
    draw(root / "b/3.png")
    prints.append(open_folder(root).train.fingerprint())
    (root / "b/3.png").rename(root / "b/4.png")
    prints.append(open_folder(root).train.fingerprint())
    draw(root / "stray.png")
    prints.append(open_folder(root).train.fingerprint())
    assert len(set(prints)) == len(prints) - 1


def halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("size", [(8, 4), (33, 33), (1, 1)])
def test_broken_files_of_other_sizes_leave_no_holes(tmp_path: Path, size: tuple[int, int]) -> None:
    names = [f"{name}.png" for name in "bcdefg"]
    for seed, name in enumerate(names):
        draw(tmp_path / name, seed, 8, 8)
    for name in ("a.png", "d0.png", "z.png"):
        draw(tmp_path / name, 9, *size)
        halve(tmp_path / name)
    source = open_folder(tmp_path).train
    assert len(source.unreadable) == 3 and source.names() == names
    read = source.read(np.arange(6))
    assert isinstance(read, torch.Tensor)
    assert all(torch.equal(image, decode(tmp_path / name)) for image, name in zip(read, names, strict=True))
    assert torch.equal(source.read(np.array([4]))[0], decode(tmp_path / "f.png"))


def test_broken_files_among_images_of_several_sizes(tmp_path: Path) -> None:
    names = ["b.png", "c.png", "d.png"]
    for seed, name in enumerate(names):
        draw(tmp_path / name, seed, 8, 5 + seed)
    draw(tmp_path / "a.png", 9, 7, 3)
    halve(tmp_path / "a.png")
    source = open_folder(tmp_path).train
    assert all(torch.equal(a, decode(tmp_path / b)) for a, b in zip(source.read(np.arange(3)), names, strict=True))


def test_a_part_stands_in_for_its_own_images_alone(tmp_path: Path) -> None:
    for seed, name in enumerate("abcdef"):
        draw(tmp_path / name / "x.png", seed)
    source = open_folder(tmp_path, ram_limit=0).train
    halve(tmp_path / "c" / "x.png")
    part = source.subset(np.array([0, 2, 5]))
    assert torch.equal(part.read(np.array([1]))[0], decode(tmp_path / "f" / "x.png"))  # d was left out of the part
    within = part.subset(np.array([1, 0]))
    assert torch.equal(within.read(np.array([0]))[0], decode(tmp_path / "a" / "x.png"))
    assert labels_read(part).tolist() == [0, -1, 5] and labels_read(within).tolist() == [-1, 0]
    with pytest.raises(DataError, match="none of 1 images"):
        source.subset(np.array([2])).read(np.array([0]))


def test_photos_are_decoded_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed, name in enumerate("abcdef"):
        draw(tmp_path / f"{name}.png", seed, 8, 10 if seed != 3 else 100)
    monkeypatch.setattr("resmom.data.files.DECODED", 2 * 240 + 100)
    source = open_folder(tmp_path, ram_limit=0).train
    assert [piece.tolist() for piece in source.pieces(np.array([5, 0, 3, 1, 2, 4]))] == [[5, 0], [3], [1, 2], [4]]
    part = source.subset(np.array([3, 1, 2, 0]))
    assert [piece.tolist() for piece in part.pieces(np.array([1, 2, 0, 3]))] == [[1, 2], [0], [3]]
    (made,) = in_pieces(
        part.pieces(np.arange(4)), lambda piece: (torch.stack([image[:, :, :10] for image in part.read(piece)]),)
    )
    assert torch.equal(made, torch.stack([image[:, :, :10] for image in part.read(np.arange(4))]))
    assert [piece.tolist() for piece in open_folder(tmp_path).train.pieces(np.arange(6))] == [[0, 1, 2, 3, 4, 5]]
