"""Lists of images: paths on lines, and tables of paths, classes and splits."""

import os
from pathlib import Path

import pytest
import torch

from resmom.data.decode import decode
from resmom.data.errors import DataError, UnreadableData
from resmom.data.listpaths import asked
from resmom.data.open import open_data
from resmom.data.packing import pack
from tests.data.test_folder import LIMITS, draw, every, labels


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Six images in a folder beside the lists, one in another place, one with no suffix."""
    for seed, name in enumerate(("a/0.png", "a/1.jpg", "b/2.webp", "b/3, 4.png", "x y.png", "é.png")):
        draw(tmp_path / "photos" / name, seed, 8 + seed)
    draw(tmp_path / "else.png", 7)
    (tmp_path / "else.png").rename(tmp_path / "else")
    return tmp_path


@LIMITS
def test_a_path_on_each_line_in_the_order_of_the_list(photos: Path, ram_limit: int) -> None:
    names = ["photos/b/2.webp", "photos/x y.png", str(photos / "else"), "photos/é.png"]
    (photos / "list.txt").write_bytes("\ufeff".encode() + "\r\n\n".join([*names, ""]).encode())
    data = open_data(photos / "list.txt", ram_limit)
    assert data.test is None and data.train.labels is None and data.train.name == "list.txt"
    assert data.train.names() == names
    for name, image in zip(names, every(data.train), strict=True):
        assert torch.equal(image, decode(photos / name))


def test_classes_behind_a_tab(photos: Path) -> None:
    (photos / "list.txt").write_text("photos/a/0.png\t10\nphotos/a/1.jpg\nphotos/b/2.webp\t9\n")
    train = open_data(photos / "list.txt").train
    assert train.classes == ("9", "10") and labels(train) == [1, -1, 0]


def test_a_table_with_classes_and_splits(photos: Path) -> None:
    """Columns in any order; a name with a comma in quotes; test goes before val, but has no class."""
    (photos / "t.csv").write_text(
        "Label,note,Filename,split\n"
        "dog,x,photos/a/0.png,train\n"
        'cat,,"photos/b/3, 4.png",\n'
        ",y,photos/a/1.jpg,test\n\n"
        "cat,,photos/x y.png,valid\n"
    )
    data = open_data(photos / "t.csv")
    assert data.train.classes == ("cat", "dog") and labels(data.train) == [1, 0]
    assert data.test is not None and data.test.names() == ["photos/x y.png"] and labels(data.test) == [0]
    assert data.outside == "1 images of other splits" and "train and validation" in data.origin
    assert (data.train.name, data.test.name) == ("t.csv/train", "t.csv/validation")


def test_a_table_without_classes(photos: Path) -> None:
    (photos / "t.tsv").write_text("path\tsplit\nphotos/a/0.png\ttrain\nphotos/a/1.jpg\ttest\n")
    data = open_data(photos / "t.tsv")
    assert data.train.labels is None and data.test is not None and data.test.labels is None


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("t.txt", "\n\n", "names no images"),
        ("t.txt", "a\0b", "is no text"),
        ("t.txt", "photos/a/0.png\nx\nphotos/a/0.png\n", r"names photos/a/0\.png on line 1 and on line 3"),
        ("t.txt", "nowhere.png\n", "none of the 1 images of t.txt can be read"),
        ("t.csv", "a,b\n1,2\n", r"columns a, b, and none of them is a path's; call that one path"),
        ("t.csv", "photos/a/0.png\n", "none of them is a path's"),
        ("t.csv", "path,file\n1,2\n", "several columns that could be meant: path, file"),
        ("t.csv", "path,label\nphotos/a/0.png\n", "line 2 of .* has 1 columns, its first line 2"),
        ("t.csv", "path,label\n,dog\n", "line 2 of .* has no path"),
        (
            "t.csv",
            "path,split\nphotos/a/0.png,held\n",
            "line 2 of .* has the split 'held'; splits are train, test,",
        ),
        ("t.csv", "path,split\nphotos/a/0.png,val\n", r"no images of the split train \(val alone\)"),
        ("t.csv", "", "the first line of .* names the columns"),
        ("t.csv", 'path,label\n"photos/a/0.png,dog\n', r"line 2 of .* has 1 columns"),
        (
            "t.csv",
            "path,label,split\nphotos/a/0.png,dog,train\nphotos/a/1.jpg,cow,val\n",
            "in its split val have 1 classes that no training image has: cow",
        ),
    ],
)
def test_what_is_refused(photos: Path, name: str, text: str, words: str) -> None:
    (photos / name).write_text(text)
    with pytest.raises(DataError, match=words):
        open_data(photos / name)


def test_modifiers_and_packs(photos: Path) -> None:
    draw(photos / "photos/large.jpg", 9, 80, 120)
    (photos / "list.txt").write_text("photos/large.jpg\nphotos/a/0.png\n")
    data = open_data(f"{photos / 'list.txt'}@shorter-side=20")
    assert data.train.sizes.tolist() == [[20, 30], [8, 10]] and data.train.name == "list.txt@shorter-side=20"
    assert pack(photos / "list.txt", photos / "out").images == {"train": 2}
    (photos / "labelled.txt").write_text("".join(f"photos/{n}\t{n[0]}\n" for n in ("a/0.png", "a/1.jpg", "b/2.webp")))
    assert len(open_data(f"{photos / 'labelled.txt'}@held-out=0.4").train) < 3


def test_two_lists_are_told_apart(photos: Path) -> None:
    prints = []
    for text in ("photos/a/0.png\n", "photos/a/1.jpg\n", "photos/a/0.png\tdog\n"):
        (photos / "list.txt").write_text(text)
        prints.append(open_data(photos / "list.txt").train.fingerprint())
    assert len(set(prints)) == 3


def test_a_test_split_alone_may_have_classes(photos: Path) -> None:
    """As in a folder: nothing can be compared with it, and it keeps nobody from training."""
    (photos / "list.csv").write_text("path,label,split\nphotos/a/0.png,,train\nphotos/a/1.jpg,dog,test\n")
    data = open_data(photos / "list.csv")
    assert data.train.labels is None and data.test is not None and labels(data.test) == [0]


def test_a_wave_that_is_no_users_home(photos: Path) -> None:
    draw(photos / "~no-such-user.png", 1)
    (photos / "list.txt").write_text("~no-such-user.png\n~no-such-user/x.png\n")
    train = open_data(photos / "list.txt").train
    assert train.names() == ["~no-such-user.png"] and train.unreadable[0][0] == "~no-such-user/x.png"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("photos/x y.png 3", "A class stands behind a tab"),
        ("photos/x y.png, dog", "A class stands behind a tab"),
        (" photos/x y.png ", "spaces before or behind"),
        ('"photos/x y.png"', "stand in quotes"),
        (".\\photos\\x y.png", "write / there"),
    ],
)
def test_lists_as_other_tools_write_them_are_known(photos: Path, line: str, words: str) -> None:
    (photos / "list.txt").write_text(f"{line}\n")
    with pytest.raises(DataError, match=f"none of the 1 images .*{words}"):
        open_data(photos / "list.txt")


def test_of_a_list_that_leads_to_files_its_form_is_not_blamed(photos: Path) -> None:
    for name in ("x.png", "y.png"):
        (photos / name).write_text("no image")
    (photos / "list.txt").write_text("x.png\ny.png\n")
    with pytest.raises(UnreadableData, match=rf"such as x.png: not an image.*looked for in {photos}; ") as told:
        open_data(photos / "list.txt")
    assert "quotes" not in str(told.value) and [name for name, _ in told.value.images] == ["x.png", "y.png"]
    (photos / "list.txt").write_text("/nowhere/at/all.png\n")
    with pytest.raises(UnreadableData, match=r"No such file or directory\. .* that you may read them$"):
        open_data(photos / "list.txt")


def test_a_pipe_is_not_waited_for(photos: Path) -> None:
    os.mkfifo(photos / "pipe.png")
    (photos / "list.txt").write_text("photos/a/0.png\nphotos\npipe.png\n")
    with pytest.raises(DataError, match=r"line 3 of .* names pipe\.png, which is a pipe"):
        open_data(photos / "list.txt")


def test_one_image_written_in_two_ways_is_named_twice(photos: Path) -> None:
    (photos / "l.csv").write_text("path,label\nphotos/é.png,x\n./photos/é.png,y\n")
    with pytest.raises(DataError, match=r"names photos/é\.png on line 2 and on line 3"):
        open_data(str(photos / "l.csv"))


def test_a_link_to_nothing_beside_a_list_is_no_file_below_it(photos: Path) -> None:
    (photos / "é.png").symlink_to("nowhere")
    (photos / "l.txt").write_text("é.png\n")
    assert open_data(str(photos / "l.txt")).train.names() == ["photos/é.png"]


def test_a_line_too_long_for_a_name_is_no_bare_error(photos: Path) -> None:
    (photos / "l.txt").write_text("a" * 300 + "\n")
    with pytest.raises(DataError, match="Paths count from the folder of the list"):
        open_data(str(photos / "l.txt"))


def test_a_folder_that_may_not_be_entered_leaves_its_files_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a folder can be listed and not entered: that a file is called otherwise cannot be asked there."""

    def refused(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    assert asked((tmp_path / "a.png").is_file) is False
    (tmp_path / "a.png").touch()
    assert asked((tmp_path / "a.png").is_file) is True
    monkeypatch.setattr(Path, "is_file", refused)
    assert asked((tmp_path / "a.png").is_file) is False
