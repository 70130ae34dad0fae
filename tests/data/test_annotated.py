"""The layout of Tiny-ImageNet: the test split's labels lie in a list, and a test folder without labels beside it."""

from pathlib import Path

import pytest

from resmom.data.check import check
from resmom.data.errors import DataError
from resmom.data.folder import open_folder
from tests.data.test_folder import plant

WNIDS = ("n01443537", "n01629819", "n01641577")
LIST = "val/val_annotations.txt"


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """Two training images a class, four validation images in an order that is not that of the classes, two of test."""
    train = [f"train/{wnid}/images/{wnid}_{number}.JPEG" for wnid in WNIDS for number in range(2)]
    root = plant(
        tmp_path,
        *train,
        *(f"val/images/val_{n}.JPEG" for n in range(4)),
        *(f"test/images/test_{n}.JPEG" for n in range(2)),
    )
    for wnid in WNIDS:
        (root / f"train/{wnid}/{wnid}_boxes.txt").write_text(f"{wnid}_0.JPEG\t0\t0\t9\t7\n")
    (root / "wnids.txt").write_text("\n".join(reversed(WNIDS)) + "\n")
    (root / LIST).write_text(
        "".join(f"val_{n}.JPEG\t{WNIDS[k]}\t0\t0\t9\t7\n" for n, k in ((2, 1), (0, 2), (1, 0), (3, 2)))
    )
    return root


def test_the_validation_images_have_the_labels_of_the_list(tiny: Path) -> None:
    data = open_folder(tiny)
    assert data.train.classes == WNIDS and data.train.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert data.test is not None and data.test.name.endswith("/val")
    assert list(data.test.names() or []) == [f"images/val_{n}.JPEG" for n in range(4)]
    assert data.test.labels.tolist() == [2, 0, 1, 2]
    assert "2 images outside of them left out" in data.origin


def test_data_check_finds_the_labelled_split(tiny: Path) -> None:
    train, test = check(tiny)
    assert (train.images, train.classes, train.per_class) == (6, 3, (2, 2))
    assert (test.split, test.images, test.classes, test.per_class) == ("test", 4, 3, (1, 2))


def test_without_classes_in_training_the_list_says_nothing(tiny: Path) -> None:
    plant(tiny, "train/loose.JPEG")
    data = open_folder(tiny)
    assert data.train.labels is None and data.test is not None and data.test.labels is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("val_0.JPEG\tn01443537\n", r"does not name 3 of the 4 images beside it, the first images/val_1.JPEG"),
        ("".join(f"val_{n}.JPEG\tn9\n" for n in range(4)), r"1 classes that the training split has not: n9"),
        ("val_0.JPEG n01443537\n", r"line 1 of .* has no class"),
        (b"\xff\xfe\xff", r"cannot be read"),
    ],
)
def test_a_list_that_does_not_fit_is_refused(tiny: Path, content: str | bytes, message: str) -> None:
    (tiny / LIST).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=message):
        open_folder(tiny)


def test_a_list_with_a_byte_order_mark(tiny: Path) -> None:
    (tiny / LIST).write_bytes(b"\xef\xbb\xbf" + (tiny / LIST).read_bytes())
    data = open_folder(tiny)
    assert data.test is not None and data.test.labels.tolist() == [2, 0, 1, 2]


def test_a_name_has_one_class_and_stands_for_one_image(tiny: Path) -> None:
    """Lists name images without their folders, so that two of one name cannot be told apart."""
    lines = (tiny / LIST).read_text()
    (tiny / LIST).write_text(f"{lines}\nval_0.JPEG\t{WNIDS[0]}\n")
    with pytest.raises(DataError, match=r"line 6 of .* gives val_0.JPEG the class n01443537, an earlier one n01641577"):
        open_folder(tiny)
    (tiny / LIST).write_text(lines + lines)
    assert open_folder(tiny).test is not None
    plant(tiny, "val/other/val_0.JPEG")
    with pytest.raises(DataError, match=r"val_0.JPEG may be any of images/val_0.JPEG, other/val_0.JPEG; give each"):
        open_folder(tiny)
