"""Lists as spreadsheets and other tools write them: separators, words for no label, names without folders."""

import os
from pathlib import Path

import pytest

from resmom.data.errors import DataError
from resmom.data.labelwords import missing_among
from resmom.data.open import open_data
from tests.data.test_folder import labels, plant


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return plant(tmp_path, "a.png", "b.png", "c, d.png", "p1/x.png", "p1/y.png", "p2/y.png", "p2/deep/z.png")


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("suffix", ["csv", "tsv", "txt", "CSV"])
def test_a_table_is_read_by_the_separator_of_its_first_line(photos: Path, separator: str, suffix: str) -> None:
    rows = [["ID", "Filename", "Class"], ["1", "a.png", "dog"], ["2", '"c, d.png"', "cat"], ["3", "b.png", ""]]
    (photos / f"t.{suffix}").write_text("\ufeff" + "\r\n".join(separator.join(row) for row in rows))
    data = open_data(photos / f"t.{suffix}")
    assert data.train.names() == ["a.png", "c, d.png", "b.png"]
    assert data.train.classes == ("cat", "dog") and labels(data.train) == [1, 0, -1]
    assert data.labels_from == f"the column Class of t.{suffix}" and data.notes == ()


def test_of_two_separators_that_one_counts_by_which_a_column_is_a_paths(photos: Path) -> None:
    (photos / "t.csv").write_text("path;note, more;label\na.png;x, y;dog\nc, d.png;z;cat\n")
    assert open_data(photos / "t.csv").train.names() == ["a.png", "c, d.png"]


def test_a_separator_may_be_declared_and_lines_are_counted_with_that(photos: Path) -> None:
    (photos / "t.csv").write_text("sep=;\r\npath;note, more;label\r\na.png;x;dog\r\n")
    train = open_data(photos / "t.csv").train
    assert train.names() == ["a.png"] and train.classes == ("dog",)
    (photos / "t.csv").write_text("sep=;\npath;label\na.png\n")
    with pytest.raises(DataError, match=r"line 3 of .* has 1 columns, its first line 2, separated by semicolons"):
        open_data(photos / "t.csv")


@pytest.mark.parametrize(
    ("heading", "words"),
    [
        ("name;what, else;label", "has commas and semicolons, and which .* cannot be told: by none of them"),
        ("path,a;file", "has commas and semicolons, .* by several of them a column is a path's"),
        ("a\tb;c,d", "has commas and semicolons and tabs"),
        ("name;label", "names the columns name, label, and none of them is a path's"),
    ],
)
def test_separators_that_cannot_be_told_apart_are_named(photos: Path, heading: str, words: str) -> None:
    (photos / "t.csv").write_text(f"{heading}\na.png;dog\n")
    with pytest.raises(DataError, match=words):
        open_data(photos / "t.csv")


@pytest.mark.parametrize("name", ["File Name", "file-name", "FILE  PATH", "Image Path", "imagepath", "filePath"])
@pytest.mark.parametrize("suffix", ["csv", "txt"])
def test_columns_are_known_however_their_names_are_written(photos: Path, name: str, suffix: str) -> None:
    (photos / f"t.{suffix}").write_text(f"No.,{name},Class Name\n1,a.png,dog\n2,b.png,cat\n")
    data = open_data(photos / f"t.{suffix}")
    assert data.train.names() == ["a.png", "b.png"] and data.train.classes == ("cat", "dog")


def test_a_name_as_it_is_counts_before_one_in_another_way_of_writing(photos: Path) -> None:
    (photos / "t.csv").write_text("File Name,path,class\nx,a.png,dog\n")
    assert open_data(photos / "t.csv").train.names() == ["a.png"]
    (photos / "t.csv").write_text("File Name,Image Path\nx,a.png\n")
    with pytest.raises(DataError, match="several columns that could be meant: File Name, Image Path"):
        open_data(photos / "t.csv")


def test_a_text_of_paths_is_no_table(photos: Path) -> None:
    """Its first line is an image, also where that is called as a column is."""
    plant(photos, "file, image.png")
    (photos / "t.txt").write_text("file, image.png\tdog\na.png\tcat\n")
    data = open_data(photos / "t.txt")
    assert data.train.names() == ["file, image.png", "a.png"] and data.labels_from == "the lines of t.txt"


def listed(photos: Path, *words: str) -> Path:
    names = ("a.png", "b.png", "p1/x.png", "p1/y.png", "p2/y.png", "p2/deep/z.png")
    rows = [f"{name}\t{word}\n" for name, word in zip(names, words, strict=False)]
    (photos / "t.tsv").write_text("path\tlabel\n" + "".join(rows))
    return photos / "t.tsv"


@pytest.mark.parametrize("word", ["NA", "na", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "null", "NULL", "-", "?"])
def test_words_for_no_label_are_none_and_are_counted(photos: Path, word: str) -> None:
    data = open_data(listed(photos, "cat", word, "", "dog", word))
    assert data.train.classes == ("cat", "dog") and labels(data.train) == [0, -1, -1, 1, -1]
    assert data.notes == (
        f"labels: '{word}' (2) in the column label of t.tsv means no label, as an empty one does (1)",
    )


def test_a_class_of_sodium_is_one(photos: Path) -> None:
    data = open_data(listed(photos, "Na", "K"))
    assert data.train.classes == ("K", "Na") and data.notes == ()


def test_minus_is_a_class_beside_plus(photos: Path) -> None:
    data = open_data(listed(photos, "+", "-", "NA", "N/A"))
    assert data.train.classes == ("+", "-") and labels(data.train) == [0, 1, -1, -1]
    assert data.notes == ("labels: 'NA' (1) and 'N/A' (1) in the column label of t.tsv mean no label",)


@pytest.mark.parametrize("word", ["none", "None", "NONE"])
def test_none_is_no_label_among_numbers_and_else_asked_about(photos: Path, word: str) -> None:
    data = open_data(listed(photos, "10", "9", word, "9"))
    assert data.train.classes == ("9", "10") and labels(data.train) == [1, 0, -1, 0]
    assert data.notes[0].startswith(f"labels: '{word}' (1) in")
    words = rf"the label '{word}' in .* \(2 times, first on line 3\) may be a class or mean .* write NA, where"
    with pytest.raises(DataError, match=words):
        open_data(listed(photos, "scratch", word, "", word))


def test_none_is_no_label_beside_a_negative_number_too(photos: Path) -> None:
    """That one may be a class, as any number, which is said."""
    data = open_data(listed(photos, "0", "-1", "none", "1"))
    assert data.train.classes == ("-1", "0", "1") and labels(data.train) == [1, 0, -1, 2]
    (note,) = data.notes
    assert "'none' (1) in the column label of t.tsv means no label" in note and "-1 is a class" in note


def test_labels_that_are_all_none(photos: Path) -> None:
    data = open_data(listed(photos, "none", "NA"))
    assert data.train.labels is None and data.train.classes == () and len(data.notes) == 1


def test_minus_one_is_a_class_and_that_is_said(photos: Path) -> None:
    data = open_data(listed(photos, "1", "-1"))
    assert data.train.classes == ("-1", "1") and "-1 is a class as any other number" in data.notes[0]
    assert open_data(listed(photos, "cat", "-1")).notes == ()


def test_the_words_that_are_missing_labels() -> None:
    assert missing_among(["a", "NA", "NA", "", "-"]) == {"NA": 2, "-": 1}
    assert missing_among(["none", "none"]) == {"none": 2}
    with pytest.raises(ValueError, match="None"):
        missing_among(["a", "None"])


def test_names_without_folders_are_found_below(photos: Path) -> None:
    (photos / "t.csv").write_text("path,label\nx.png,cat\na.png,dog\nz.png,cat\nnowhere.png,dog\n")
    data = open_data(photos / "t.csv")
    assert data.train.names() == ["p1/x.png", "a.png", "p2/deep/z.png"] and labels(data.train) == [0, 1, 0]
    assert data.train.unreadable == [("nowhere.png", "it cannot be opened: No such file or directory")]
    (note,) = data.notes
    assert note.startswith("paths: 2 of 4 are names without folders, found in folders below")
    assert "such as x.png in p1/" in note or "such as z.png in p2/deep/" in note


def test_files_that_are_called_otherwise_by_case_alone_are_named(photos: Path) -> None:
    """They are not read: on another machine they would not be there."""
    (photos / "t.txt").write_text(f"A.png\nP1/Y.PNG\nX.PNG\nnowhere.png\n../{photos.name}/B.png\n")
    with pytest.raises(DataError, match=r"4 paths are no files, such as A\.png, but a\.png is one; write upper and"):
        open_data(photos / "t.txt")
    (photos / "t.txt").write_text("b.png\nP1/Y.PNG\n")
    data = open_data(photos / "t.txt")
    assert data.train.names() == ["b.png"] and [name for name, _ in data.train.unreadable] == ["P1/Y.PNG"]
    assert data.notes == (
        "paths: P1/Y.PNG is no file, but p1/y.png is one; write upper and lower case as the files have it",
    )
    (photos / "t.txt").write_text(f"b.png\n{photos}/A.PNG\nZ.png\n")
    assert f"2 paths are no files, such as {photos}/A.PNG"[:60] in open_data(photos / "t.txt").notes[0]


def test_of_several_files_that_differ_by_case_none_is_named(photos: Path) -> None:
    plant(photos, "A.png")
    (photos / "t.txt").write_text("b.png\na.PNG\nP1\n")
    assert open_data(photos / "t.txt").notes == ()


def test_a_file_beside_the_list_counts_before_those_below(photos: Path) -> None:
    plant(photos, "y.png")
    (photos / "t.txt").write_text("y.png\n")
    data = open_data(photos / "t.txt")
    assert data.train.names() == ["y.png"] and data.notes == ()


def test_a_name_that_lies_in_two_folders_is_refused_with_both(photos: Path) -> None:
    (photos / "t.csv").write_text("path\nx.png\ny.png\n")
    with pytest.raises(
        DataError, match=r"line 3 of .* names y\.png without a folder, .* p1/y\.png or p2/y\.png; write"
    ):
        open_data(photos / "t.csv")
    plant(photos, "p2/x.png")
    with pytest.raises(DataError, match=r"line 2 of .* p1/x\.png or p2/x\.png, and so may 1 more of its names; write"):
        open_data(photos / "t.csv")


def test_an_image_that_is_named_in_two_ways_is_named_twice(photos: Path) -> None:
    (photos / "t.csv").write_text("path\nx.png\np1/x.png\n")
    with pytest.raises(DataError, match=r"names p1/x\.png on line 2 and on line 3"):
        open_data(photos / "t.csv")


def test_hidden_files_and_pipes_are_not_what_a_name_means(photos: Path) -> None:
    plant(photos, ".old/x.png")
    os.mkfifo(photos / "p2/x.png")
    (photos / "t.txt").write_text("x.png\n")
    assert open_data(photos / "t.txt").train.names() == ["p1/x.png"]


def test_a_folder_that_may_not_be_listed_is_passed_by(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list of files that are there, but for one, must not end for a lost+found beside it."""
    plant(photos, "locked/x.png")
    scandir = os.scandir

    def denied(folder: Path) -> object:
        if Path(folder).name == "locked":
            raise PermissionError(13, "Permission denied")
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", denied)
    (photos / "t.txt").write_text("x.png\n")
    assert open_data(photos / "t.txt").train.names() == ["p1/x.png"]
    with pytest.raises(DataError, match="locked cannot be listed"):
        open_data(photos)


def test_paths_that_count_from_elsewhere(photos: Path) -> None:
    (photos / "lists").mkdir()
    (photos / "lists/t.csv").write_text("path;label\nx.png;cat\n")
    with pytest.raises(
        DataError, match=r"none of the 1 images .* Paths count from the folder of the list, .*/lists, and"
    ):
        open_data(photos / "lists/t.csv")
