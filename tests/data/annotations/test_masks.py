"""Images with masks: the layouts that are read, what their numbers and colours mean, and the words of refusals."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resmom.data.annotations.labelled import absolute, mended
from resmom.data.annotations.maskfiles import is_place
from resmom.data.annotations.masknames import CAMVID, VOC
from resmom.data.annotations.masks import IGNORE, labels, open_masks, require_two_classes
from resmom.data.errors import DataError


def picture(path: Path, size: tuple[int, int] = (4, 6)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size, 3), 90, dtype=np.uint8)).save(path)
    return path


def mask(path: Path, values: object, palette: bool = False) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.asarray(values, dtype=np.uint8))
    if palette:
        image.putpalette([n for colour in range(256) for n in (colour, 255 - colour, 7)])
    image.save(path)
    return path


def numbers(*special: tuple[int, int, int]) -> np.ndarray:
    """A mask of zeros, 4 x 6, with (y, x, value) changed."""
    values = np.zeros((4, 6), dtype=np.uint8)
    for y, x, value in special:
        values[y, x] = value
    return values


def voc(root: Path) -> Path:
    for number, name in enumerate(("a", "b", "c")):
        picture(root / "JPEGImages" / f"{name}.jpg")
        folder = "SegmentationClassAug" if name == "c" else "SegmentationClass"
        mask(root / folder / f"{name}.png", numbers((0, 0, number + 1), (1, 2, 255)), palette=True)
    picture(root / "JPEGImages/boxes-only.jpg")
    lists = root / "ImageSets/Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("a\nb\n")
    (lists / "aug.txt").write_text("c\n")
    (lists / "trainaug.txt").write_text(
        "/JPEGImages/a.jpg /SegmentationClass/a.png\n/JPEGImages/c.jpg /SegmentationClassAug/c.png\n"
    )
    return root


def test_voc_folders(tmp_path: Path) -> None:
    root = voc(tmp_path / "VOC")
    data = open_masks(f"{root}:train")
    assert data.classes == tuple(VOC.split()) and len(data.classes) == 21
    assert [image.path.name for image in data.images] == ["a.jpg", "b.jpg"]
    # The palette's numbers, not its colours; 255 counts for nothing.
    np.testing.assert_array_equal(labels(data.images[1]), numbers((0, 0, 2), (1, 2, IGNORE)))
    both = open_masks([f"{root}:train", f"{root}:aug"])
    assert [image.mask.parent.name for image in both.images] == ["SegmentationClass"] * 2 + ["SegmentationClassAug"]
    assert both.name == "VOC:train+VOC:aug" and both.fingerprint() != data.fingerprint()
    assert [i.path.name for i in open_masks(f"{root}:trainaug").images] == ["a.jpg", "c.jpg"]
    # Without a list: whatever has a mask.
    assert [i.path.name for i in open_masks(str(root)).images] == ["a.jpg", "b.jpg"]
    with pytest.raises(DataError, match=r"no list .*val\.txt; lists there: aug, train, trainaug"):
        open_masks(f"{root}:val")
    (root / "SegmentationClass/b.png").unlink()
    with pytest.raises(DataError, match=r"train\.txt names b, which has no mask"):
        open_masks(f"{root}:train")


def test_camvid_as_segnet_has_it(tmp_path: Path) -> None:
    root = tmp_path / "CamVid"
    picture(root / "train/x.png")
    mask(root / "trainannot/x.png", numbers((0, 0, 10), (0, 1, 11)))
    (root / "train.txt").write_text("/SegNet/CamVid/train/x.png /SegNet/CamVid/trainannot/x.png\n")
    by_list, by_part = open_masks(str(root / "train.txt")), open_masks(f"{root}:train")
    assert by_list.classes == by_part.classes == tuple(CAMVID.split()[:-1]) and len(by_list.classes) == 11
    assert by_list.fingerprint() == by_part.fingerprint()
    np.testing.assert_array_equal(labels(by_list.images[0]), numbers((0, 0, 10), (0, 1, IGNORE)))
    (root / "train.txt").write_text("/SegNet/CamVid/train/y.png /SegNet/CamVid/trainannot/y.png\n")
    with pytest.raises(DataError, match=r"line 1: /SegNet/CamVid/train/y\.png is not there"):
        open_masks(str(root / "train.txt"))


def segnet(root: Path) -> Path:
    """SegNet's layout with two parts and a list each: numbers 0 to 11, nothing that says what they mean."""
    for part in ("train", "val"):
        for name in ("0001TP_006690", "Seq05VD_f00000"):
            picture(root / part / f"{name}.png")
            mask(root / f"{part}annot" / f"{name}.png", numbers((0, 0, 10), (0, 1, 11)))
        lines = [
            f"/SegNet/CamVid/{part}/{name}.png /SegNet/CamVid/{part}annot/{name}.png" for name in ("0001TP_006690",)
        ]
        (root / f"{part}.txt").write_text("\n".join(lines) + "\n")
    return root


@pytest.mark.parametrize("spec", ["{}:val", "{}/val.txt", "{}/val:{}/valannot"])
def test_camvid_is_known_however_it_is_named(spec: str, tmp_path: Path) -> None:
    data = open_masks(spec.format(*[segnet(tmp_path / "camvid")] * 2))
    assert data.classes == tuple(CAMVID.split()[:-1]) and not data.numbered
    assert int((labels(data.images[0]) == IGNORE).sum()) == 1
    assert str(tmp_path) not in data.name  # it stands in protocols, which are passed on


def test_camvid_under_another_name(tmp_path: Path) -> None:
    """Its lists still say what it is; its folders do not, so void is a class until a file of names is there."""
    root = segnet(tmp_path / "streets")
    assert open_masks(f"{root}/val.txt").classes == tuple(CAMVID.split()[:-1])
    data = open_masks(f"{root}:val")
    assert data.numbered and data.classes[-1] == "11" and data.name == "streets:val"
    (root / "classes.txt").write_text("\n".join(CAMVID.split()) + "\n")
    named = open_masks(f"{root}:val")
    assert not named.numbered and named.classes == tuple(CAMVID.split()[:-1])


def test_a_folder_without_its_part_says_which_there_are(tmp_path: Path) -> None:
    root = segnet(tmp_path / "CamVid")
    for spec in (str(root), f"{root}:test"):
        with pytest.raises(DataError, match=r"say which part as .*CamVid:PART; there are train, val$"):
            open_masks(spec)
    with pytest.raises(DataError, match=r"it is a part of the folder above, give .*CamVid:val$"):
        open_masks(str(root / "val"))


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("class_dict.csv", "name,r,g,b\nsky,1,2,3\nVoid,0,0,0\nroad,0,0,9\n"),
        ("label_colors.txt", "1 2 3\tsky\n0 0 0\tVoid\n0 0 9\t\troad\n"),
        ("labelmap.txt", "# label:color_rgb:parts:actions\nsky:1,2,3::\nVoid:0,0,0::\nroad:0,0,9::\n"),
    ],
)
def test_colours(file: str, text: str, tmp_path: Path) -> None:
    picture(tmp_path / "train/x.png")
    colours = np.zeros((4, 6, 3), dtype=np.uint8)
    colours[0, 0], colours[1, 1] = (1, 2, 3), (0, 0, 9)
    mask(tmp_path / "train_labels/x_L.png", colours)
    (tmp_path / file).write_text(text)
    data = open_masks(f"{tmp_path}:train")
    assert data.classes == ("sky", "road")
    expected = np.full((4, 6), IGNORE, dtype=np.uint8)
    expected[0, 0], expected[1, 1] = 0, 1
    np.testing.assert_array_equal(labels(data.images[0]), expected)
    colours[2, 3] = (5, 5, 5)
    mask(tmp_path / "train_labels/x_L.png", colours)
    with pytest.raises(DataError, match=r"x_L\.png: the colour \(5, 5, 5\) at x 3, y 2 \(1 such .*\(1, 2, 3\) sky"):
        open_masks(f"{tmp_path}:train")
    (tmp_path / file).unlink()
    with pytest.raises(DataError, match=r"class_dict\.csv"):
        open_masks(f"{tmp_path}:train")


def test_numbers_without_names_and_any_two_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture(tmp_path / "photos/x.jpg")
    mask(tmp_path / "truth/x.png", numbers((0, 0, 3), (0, 1, 255)))
    data = open_masks(f"{tmp_path / 'photos'}:{tmp_path / 'truth'}")
    assert data.classes == ("0", "1", "2", "3")
    monkeypatch.chdir(tmp_path)
    assert open_masks("photos:./truth").fingerprint() == data.fingerprint()
    # Test data may lack a class, but not have one more.
    mask(tmp_path / "truth/x.png", numbers((0, 0, 2)))
    assert open_masks("photos:./truth", data.classes).classes == data.classes
    mask(tmp_path / "truth/x.png", numbers((0, 0, 4)))
    with pytest.raises(DataError, match=r"x\.png: the value 4 at x 0, y 0 .*allowed are 0 to 3"):
        open_masks("photos:./truth", data.classes)


def test_cityscapes(tmp_path: Path) -> None:
    picture(tmp_path / "leftImg8bit/val/ulm/ulm_0_1_leftImg8bit.png")
    with pytest.raises(DataError, match="labelTrainIds"):
        open_masks(f"{tmp_path}:val")
    mask(tmp_path / "gtFine/val/ulm/ulm_0_1_gtFine_labelTrainIds.png", numbers((0, 0, 18), (0, 1, 255)))
    data = open_masks(f"{tmp_path}:val")
    assert len(data.classes) == 19 and data.classes[18] == "bicycle" and len(data.images) == 1
    with pytest.raises(DataError, match="there are val"):
        open_masks(str(tmp_path))


def test_refusals(tmp_path: Path) -> None:
    picture(tmp_path / "images/x.png")
    with pytest.raises(DataError, match="holds no masks in a form that is known"):
        open_masks(str(tmp_path))
    with pytest.raises(DataError, match="does not exist"):
        open_masks(str(tmp_path / "nowhere"))
    (tmp_path / "masks").mkdir()
    with pytest.raises(DataError, match=r"x\.png has no mask"):
        open_masks(str(tmp_path))
    mask(tmp_path / "masks/x.png", np.zeros((6, 4)))
    with pytest.raises(DataError, match=r"x\.png has 4 x 6 pixels, but its image x\.png has 6 x 4"):
        open_masks(str(tmp_path))
    (tmp_path / "masks/x.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"masks/x\.png cannot be read: not an image"):
        open_masks(str(tmp_path))
    mask(tmp_path / "masks/x.png", numbers())
    (tmp_path / "images/x.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"images/x\.png cannot be read: the file is empty"):
        open_masks(str(tmp_path))
    (tmp_path / "classes.txt").write_text("a\na\n")
    with pytest.raises(DataError, match=r"classes\.txt has 'a' twice"):
        open_masks(str(tmp_path))
    (tmp_path / "classes.txt").unlink()
    (tmp_path / "class_dict.csv").write_text("name,r,g,b\na,1,2\n")
    with pytest.raises(DataError, match=r"class_dict\.csv: '1 2' is no colour"):
        open_masks(str(tmp_path))


def test_numbers_beside_named_classes_must_be_named_too(tmp_path: Path) -> None:
    """Where void is 0, the number 1 is the first class; without the names it would be the second."""
    for place in ("one", "two"):
        picture(tmp_path / place / "images/x.png")
        mask(tmp_path / place / "masks/x.png", numbers((0, 0, 1)))
    known = open_masks(str(tmp_path / "two")).classes
    assert known == ("0", "1") and open_masks(str(tmp_path / "one"), known).classes == known
    (tmp_path / "one/classes.txt").write_text("void\nroad\ncar\n")
    assert open_masks(str(tmp_path / "one")).seen == {0}
    for specs, classes in (([str(tmp_path / "one"), str(tmp_path / "two")], ()), ([str(tmp_path / "two")], ("a", "b"))):
        with pytest.raises(DataError, match=r"two does not say what the numbers of its masks mean.*classes\.txt"):
            open_masks(specs, classes)


def test_masks_of_one_class_teach_nothing(tmp_path: Path) -> None:
    """Masks of 0 and 255, object or not, have a void that nobody meant."""
    picture(tmp_path / "images/x.png")
    mask(tmp_path / "masks/x.png", numbers((0, 0, 255)))
    with pytest.raises(DataError, match=r"show one class at most \('0'\).*255.*must be made such of 0 and 1$"):
        require_two_classes(open_masks(str(tmp_path)))
    (tmp_path / "classes.txt").write_text("ground\nobject\n")
    with pytest.raises(DataError, match="'ground'"):
        require_two_classes(open_masks(str(tmp_path)))
    mask(tmp_path / "masks/x.png", numbers((0, 0, 1)))
    require_two_classes(open_masks(str(tmp_path)))


def test_the_classes_of_two_places_must_agree(tmp_path: Path) -> None:
    for place, names in (("one", "a\nb\n"), ("two", "b\na\n")):
        picture(tmp_path / place / "images/x.png")
        mask(tmp_path / place / "masks/x.png", numbers())
        (tmp_path / place / "classes.txt").write_text(names)
    with pytest.raises(DataError, match="in another order: b, a instead of a, b"):
        open_masks([str(tmp_path / "one"), str(tmp_path / "two")])


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("labelmap.txt", "sky\nroad\n", "'sky' has no colour; .*labelmap.txt lines name:r,g,b"),
        ("labelmap.txt", "", "labelmap.txt names no classes"),
        ("class_dict.csv", "name\nsky\n", "'sky' has no colour; class_dict.csv has lines name,r,g,b"),
        ("class_dict.csv", "", "class_dict.csv names no classes"),
        ("label_colors.txt", "1 2\n", "'1 2' is no colour"),
        ("classes.txt", "caf\udce9", "can't decode"),
    ],
)
def test_files_of_names_without_what_they_need(file: str, text: str, words: str, tmp_path: Path) -> None:
    picture(tmp_path / "images/x.png")
    mask(tmp_path / "masks/x.png", numbers())
    (tmp_path / file).write_text(text, errors="surrogateescape")
    with pytest.raises(DataError, match=words):
        open_masks(str(tmp_path))


def test_a_list_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(DataError, match=r"train\.txt is no text in UTF-8"):
        open_masks(str(tmp_path / "train.txt"))


def test_a_part_is_a_place_where_it_is_the_folder_of_the_masks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("data/images/test", "data/labels/test", "test", "masks", "photos"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "photos/a.png").touch()
    monkeypatch.chdir(tmp_path)
    assert absolute("data:test", is_place) == f"{tmp_path}/data:test"
    assert absolute("photos:./masks", is_place) == f"{tmp_path}/photos:{tmp_path}/masks"
    assert mended(f"{tmp_path}/data:{tmp_path}/test", is_place) == f"{tmp_path}/data:test"
    kept = f"{tmp_path}/photos:{tmp_path}/masks"
    assert mended(kept, is_place) == kept
    (tmp_path / "photos/SegmentationClass").mkdir()
    assert mended(kept, is_place) == f"{tmp_path}/photos:masks"
