"""Tar archives: what is found, what is labelled, which splits, and what is refused."""

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from resmom.data.archives import archives_named
from resmom.data.decode import decode
from resmom.data.errors import DataError
from resmom.data.open import absolute, open_data
from resmom.data.packing import pack
from resmom.data.store import BEGINNING
from resmom.data.tars import Archives
from tests.data.test_folder import LIMITS, draw, every, labels


def write(path: Path, members: dict[str, bytes | int], form: int = tarfile.PAX_FORMAT) -> Path:
    """An archive of members with these bytes; a number stands for an image drawn with it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=form) as tar:
        for name, content in members.items():
            if isinstance(content, int):
                drawn = path.parent / "drawn" / f"x{Path(name).suffix}"
                draw(drawn, content, 8 + content % 3, 10)
                content = drawn.read_bytes()
                drawn.unlink()
                drawn.parent.rmdir()
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return path


def sample(number: int, label: bytes | None = None, name: str = "") -> dict[str, bytes | int]:
    """One of WebDataset's."""
    name = name or f"{number:06}"
    return {
        f"{name}.json": b"{}",
        f"{name}.jpg": number,
        **({} if label is None else {f"{name}.cls": label}),
        f"{name}.seg.png": 99,
    }


@LIMITS
@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_the_pixels_are_those_of_the_members(tmp_path: Path, ram_limit: int, form: int) -> None:
    """In the order of the members; also one whose name is too long for a header."""
    long = "a" * 60 + "/" + "b" * 90 + ".png"
    path = write(tmp_path / "photos.tar", {"z/1.png": 1, long: 2, "note.txt": b"hello", "./z/0.webp": 3}, form)
    source = open_data(path, ram_limit).train
    assert source.names() == ["z/1.png", long, "z/0.webp"]
    with tarfile.open(path) as tar:
        tar.extractall(tmp_path / "out", filter="data")
    for name, image in zip(source.names() or (), every(source), strict=True):
        assert torch.equal(image, decode(tmp_path / "out" / name))


def test_samples_of_webdataset(tmp_path: Path) -> None:
    """Numbers as classes; what is called x.seg.png is no image; one without a class has no label."""
    write(tmp_path / "imagenet-train-0000.tar", sample(0, b"10") | sample(1, b"9\n"))
    write(tmp_path / "imagenet-train-0001.tar", sample(2) | sample(3, b"10", "deep/er/7"))
    write(tmp_path / "imagenet-validation-00.tar", sample(4, b"9"))
    data = open_data(tmp_path)
    assert data.train.names() == [
        "imagenet-train-0000.tar/000000.jpg",
        "imagenet-train-0000.tar/000001.jpg",
        "imagenet-train-0001.tar/000002.jpg",
        "imagenet-train-0001.tar/deep/er/7.jpg",
    ]
    assert data.train.classes == ("9", "10") and labels(data.train) == [1, 0, -1, 1]
    assert data.test is not None and labels(data.test) == [0]
    assert data.origin == "3 tar archives, train and validation"
    assert data.train.name == f"{tmp_path.name}/train"


def test_samples_without_an_image_of_their_own_name(tmp_path: Path) -> None:
    """Several images of a sample; and names with dots beside files of notes, which are no samples at all."""
    write(
        tmp_path / "a.tar",
        {"0.left.png": 0, "0.right.png": 1, "0.cls": b"dog", "1.png": 2, "1.x.png": 3, "1.cls": b"cat"},
    )
    train = open_data(tmp_path / "a.tar").train
    assert train.names() == ["0.left.png", "0.right.png", "1.png"] and labels(train) == [1, 1, 0]
    write(tmp_path / "b.tar", {"at 10.15.png": 0, "at 10.15.xmp": b"x", "at 10.16.png": 1, "at 10.16.xmp": b"x"})
    assert open_data(tmp_path / "b.tar").train.names() == ["at 10.15.png", "at 10.16.png"]


def test_of_members_of_one_name_the_last_counts(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tar", {"0.png": 0, "1.png": 1, "./0.png": 2, "0.cls": b"old", "./0.cls": b"new"})
    train = open_data(path).train
    assert train.names() == ["0.png", "1.png"] and train.classes == ("new",)
    write(tmp_path / "b.tar", {"2.png": 2})
    assert torch.equal(every(train)[0], every(open_data(tmp_path / "b.tar").train)[0])


def test_a_hard_link_is_an_image_of_the_same_bytes(tmp_path: Path) -> None:
    """Tar writes one itself where a file has two names; what a symbolic one leads to may lie anywhere."""
    path = write(tmp_path / "a.tar", {"./a/0.png": 0, "b/1.png": 1})
    with tarfile.open(path, "a") as tar:
        for name, kind, target in (
            ("b/2.png", tarfile.LNKTYPE, "./a/0.png"),
            ("b/3.png", tarfile.SYMTYPE, "1.png"),
            ("b/4.png", tarfile.LNKTYPE, "gone.png"),
        ):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = kind, target
            tar.addfile(link)
    train = open_data(path).train
    assert train.names() == ["a/0.png", "b/1.png", "b/2.png"] and labels(train) == [0, 1, 1]
    assert torch.equal(every(train)[0], every(train)[2])


@pytest.mark.parametrize("above", ["home/me/photos/", "/home/me/", "../", "./set/"])
def test_folders_above_all_images_are_no_classes(tmp_path: Path, above: str) -> None:
    """However deep: an archive may have been made from anywhere."""
    names = ("train/a/0.png", "train/b/1.png", "val/b/2.png")
    data = open_data(write(tmp_path / "set.tar", {above + name: seed for seed, name in enumerate(names)}))
    assert labels(data.train) == [0, 1] and data.test is not None and labels(data.test) == [1]
    write(tmp_path / "apart/train.tar", {above + name: seed for seed, name in enumerate(names[:2])})
    write(tmp_path / "apart/val.tar", {above + names[2]: 2})
    data = open_data(tmp_path / "apart")
    assert labels(data.train) == [0, 1] and data.test is not None and labels(data.test) == [1]


def test_classes_may_be_words_and_test_archives_may_have_none(tmp_path: Path) -> None:
    write(tmp_path / "train.tar", sample(0, b"dog") | sample(1, b"cat"))
    write(tmp_path / "test.tar", sample(2))
    write(tmp_path / "val.tar", sample(3, b"dog"))
    data = open_data(tmp_path)
    assert data.train.classes == ("cat", "dog") and labels(data.train) == [1, 0]
    assert data.test is not None and data.test.names() == ["val.tar/000003.jpg"]  # test.tar goes before, without labels
    assert data.outside == "1 images of other splits"
    (tmp_path / "val.tar").unlink()
    tests = open_data(tmp_path).test
    assert tests is not None and labels(tests) is None


def test_folders_in_an_archive_are_classes_and_splits(tmp_path: Path) -> None:
    names = (
        "train/a/0.png",
        "train/b/1.png",
        "val/b/2.png",
        "val/b/.hidden.png",
        "__MACOSX/val/b/._2.png",
        "other.png",
    )
    write(tmp_path / "set.tar", {f"set/{name}": seed for seed, name in enumerate(names)})
    data = open_data(tmp_path / "set.tar")
    assert data.train.classes == ("a", "b") and labels(data.train) == [0, 1]
    assert data.test is not None and labels(data.test) == [1] and data.test.names() == ["set/val/b/2.png"]
    assert data.outside == "1 images of other splits"
    write(tmp_path / "plain.tar", {"photos/cat/0.png": 0, "photos/dog/1.png": 1})
    assert open_data(tmp_path / "plain.tar").train.classes == ("cat", "dog")
    write(tmp_path / "bare.tar", {"0.png": 0, "dog/1.png": 1})
    assert labels(open_data(tmp_path / "bare.tar").train) is None


def test_archives_apart_by_their_names_have_classes_in_folders(tmp_path: Path) -> None:
    write(tmp_path / "train/000.tar", {"train/a/0.png": 0, "train/b/1.png": 1})
    write(tmp_path / "val/000.tar", {"val/b/0.png": 2})
    data = open_data(tmp_path)
    assert labels(data.train) == [0, 1] and data.test is not None and labels(data.test) == [1]
    write(tmp_path / "val/001.tar", {"val/c/0.png": 2})
    with pytest.raises(DataError, match="1 folders that the training split has not: c"):
        open_data(tmp_path)


def test_a_row_of_archives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(8, 12):
        write(tmp_path / f"s-{number:03}.tar", sample(number))
    assert [Path(name).name for name in archives_named(tmp_path / "s-{009..011}.tar")] == [
        *("s-009.tar", "s-010.tar", "s-011.tar")
    ]
    assert archives_named(tmp_path / "{s,s}-{008,011}.tar") == ["s-008.tar", "s-011.tar"] * 2
    assert len(open_data(f"{tmp_path}/s-{{009..011}}.tar").train) == 3
    monkeypatch.chdir(tmp_path)
    assert absolute("s-{009..011}.tar@held-out=0.5") == f"{tmp_path.resolve()}/s-{{009..011}}.tar@held-out=0.5"
    with pytest.raises(DataError, match=r"2 of the 5 archives of .* are not there, the first is s-012.tar"):
        open_data(str(tmp_path / "s-{009..013}.tar"))
    with pytest.raises(DataError, match="does not exist"):
        open_data(str(tmp_path / "s-009-.tar"))


def test_images_in_a_folder_go_before_archives(tmp_path: Path) -> None:
    write(tmp_path / "a.tar", sample(0))
    draw(tmp_path / "b.png")
    data = open_data(tmp_path)
    assert data.train.names() == ["b.png"]
    assert "1 tar archives" in data.not_read


@pytest.mark.parametrize("cut", [100, 700, 1100, 1600])
def test_an_archive_cut_short_is_refused(tmp_path: Path, cut: int) -> None:
    path = write(tmp_path / "a.tar", {"0.png": b"x" * 700, "1.png": b"y" * 100})
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(DataError, match=r"a\.tar cannot be read as a tar archive"):
        open_data(path)


def test_a_damaged_header_hides_nothing(tmp_path: Path) -> None:
    """Nor does an archive behind another, of which only the first would be seen."""
    path = write(tmp_path / "a.tar", {f"{number}.png": b"x" * 600 for number in range(4)})
    whole = path.read_bytes()
    damaged = bytearray(whole)
    damaged[2 * 1536 + 150] ^= 255  # in the third header's checksum
    for content in (bytes(damaged), whole + whole):
        path.write_bytes(content)
        with pytest.raises(DataError, match="something lies behind its end"):
            open_data(path)


def test_what_is_no_archive(tmp_path: Path) -> None:
    for name, content in (("a.tar", b""), ("b.tar", b"PK\3\4" * 400)):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match="cannot be read as a tar archive"):
            open_data(tmp_path / name)
    (tmp_path / "c.tar.gz").write_bytes(b"\x1f\x8b")
    with pytest.raises(DataError, match=r"is compressed, .* \(a \.tar\.gz by gunzip\)"):
        open_data(tmp_path / "c.tar.gz")
    with pytest.raises(DataError, match=r"d\.tar in .* has no images"):
        open_data(write(tmp_path / "d.tar", {"x.txt": b"x"}))


@pytest.mark.parametrize("change", ["shorter", "gone", "broken"])
def test_an_image_that_cannot_be_had_later_is_replaced(tmp_path: Path, change: str) -> None:
    path = write(tmp_path / "a.tar", {"0.png": 0, "1.jpg": 3, "2.png": 6})
    source = open_data(path, ram_limit=0).train
    first = every(source)[0]
    content = path.read_bytes()
    if change == "gone":
        path.unlink()
    elif change == "shorter":
        path.write_bytes(content[: content.index(b"2.png") + 520])
    else:
        at = content.index(b"IDAT", content.index(b"2.png"))
        path.write_bytes(content[: at + 8] + bytes(8) + content[at + 16 :])
    if change == "gone":
        with pytest.raises(DataError, match="its archive cannot be opened"):
            source.read(np.array([0]))
        return
    assert torch.equal(source.read(np.array([2]))[0], first)
    assert source.unreadable[0][0] == "2.png"


def test_two_archives_are_told_apart(tmp_path: Path) -> None:
    one, other = (write(tmp_path / name / "a.tar", {"0.png": seed}) for seed, name in ((0, "one"), (1, "other")))
    prints = [open_data(path).train.fingerprint() for path in (one, other, one)]
    assert prints[0] == prints[2] != prints[1]


def test_a_pack_of_archives(tmp_path: Path) -> None:
    write(tmp_path / "in/train.tar", sample(0, b"1") | sample(3, b"0"))
    write(tmp_path / "in/val.tar", sample(6, b"1"))
    made = pack(tmp_path / "in", tmp_path / "out")
    assert made.images == {"train": 2, "test": 1}
    packed, whole = open_data(tmp_path / "out"), open_data(tmp_path / "in")
    assert labels(packed.train) == labels(whole.train) == [1, 0]
    for one, other in zip(every(packed.train), every(whole.train), strict=True):
        assert torch.equal(one, other)


def test_jpegs_in_archives_are_decoded_smaller(tmp_path: Path) -> None:
    drawn = tmp_path / "x.jpg"
    draw(drawn, 0, 80, 120)
    write(tmp_path / "a.tar", {"x.jpg": drawn.read_bytes()})
    source = open_data(f"{tmp_path / 'a.tar'}@shorter-side=20").train
    assert source.sizes.tolist() == [[20, 30]] and source.name == "a.tar@shorter-side=20"
    assert torch.equal(every(source)[0], decode(drawn, 20))


@pytest.mark.parametrize(("suffix", "where"), [("jpg", 3_000), ("jpg", 30_000), ("png", 3_000)])
def test_of_an_image_the_beginning_is_read_when_it_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, where: int
) -> None:
    """All of it only where its header lies further on: behind a long comment."""
    drawn = tmp_path / f"x.{suffix}"
    pixels = np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(drawn, **({"comment": b"x" * where} if suffix == "jpg" else {}))
    content = drawn.read_bytes()
    write(tmp_path / "a.tar", {drawn.name: content})
    asked: list[int] = []
    read = Archives.content
    monkeypatch.setattr(Archives, "content", lambda store, at, most=-1: (asked.append(most), read(store, at, most))[1])
    source = open_data(tmp_path / "a.tar", ram_limit=0).train
    assert source.sizes.tolist() == [[200, 300]] and len(content) > BEGINNING
    assert asked == ([BEGINNING] if where < BEGINNING else [BEGINNING, -1])
