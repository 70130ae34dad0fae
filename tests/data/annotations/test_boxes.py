"""Boxes as the three forms have them, from files made here, and the words for files that cannot be used."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resmom.data.annotations.boxes import is_place, open_boxes
from resmom.data.annotations.labelled import absolute, mended
from resmom.data.annotations.runlength import decoded
from resmom.data.annotations.yolo import yolo_classes
from resmom.data.errors import DataError


def picture(path: Path, width: int = 40, height: int = 30) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, height), "grey").save(path)
    return path


def voc(root: Path, stem: str, objects: str, size: str = "<size><width>40</width><height>30</height></size>") -> None:
    picture(root / "JPEGImages" / f"{stem}.jpg")
    (root / "Annotations").mkdir(exist_ok=True)
    (root / "Annotations" / f"{stem}.xml").write_text(f"<annotation>{size}{objects}</annotation>")


def voc_object(name: str, box: tuple[float, float, float, float], difficult: str = "0") -> str:
    sides = "".join(f"<{side}>{v}</{side}>" for side, v in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
    return f"<object><name>{name}</name><difficult>{difficult}</difficult><bndbox>{sides}</bndbox></object>"


def test_voc_counts_pixels_from_one(tmp_path: Path) -> None:
    """A box from pixel 1 to 40 is the whole width of 40: 0 to 40."""
    voc(tmp_path, "b", voc_object("dog", (1, 1, 40, 30)) + voc_object("cat", (11, 6, 20, 15), "1"))
    voc(tmp_path, "a", "", size="")
    data = open_boxes(str(tmp_path))
    assert data.classes == ("cat", "dog")
    empty, full = data.images
    assert empty.path.name == "a.jpg" and empty.size == (30, 40) and empty.boxes.shape == (0, 4)
    np.testing.assert_array_equal(full.boxes, [[0, 0, 40, 30], [10, 5, 20, 15]])
    assert full.labels.tolist() == [1, 0] and full.difficult.tolist() == [False, True] and not full.crowd.any()


def test_voc_lists_and_several_places(tmp_path: Path) -> None:
    for place, name in (("07", "dog"), ("12", "cow")):
        for stem in ("x", "y"):
            voc(tmp_path / place, stem, voc_object(name, (1, 1, 9, 9)))
        (tmp_path / place / "ImageSets" / "Main").mkdir(parents=True)
        (tmp_path / place / "ImageSets" / "Main" / "trainval.txt").write_text("y\n")
    data = open_boxes([f"{tmp_path}/07:trainval", f"{tmp_path}/12"])
    assert [image.path.relative_to(tmp_path).as_posix() for image in data.images] == [
        "07/JPEGImages/y.jpg",
        "12/JPEGImages/x.jpg",
        "12/JPEGImages/y.jpg",
    ]
    assert data.classes == ("dog", "cow") and data.name == "07:trainval+12"
    with pytest.raises(DataError, match="lists there: trainval"):
        open_boxes(f"{tmp_path}/07:test")
    with pytest.raises(DataError, match="not trained on: cow"):
        open_boxes(f"{tmp_path}/12", ("dog",))


def coco(path: Path, **changes: object) -> Path:
    content = {
        "images": [
            {"id": 7, "file_name": "one.png", "height": 30, "width": 40},
            {"id": 3, "file_name": "two.png", "height": 30, "width": 40},
        ],
        "annotations": [
            {"image_id": 3, "category_id": 9, "bbox": [1.5, 2, 10, 20], "iscrowd": 1},
            {"image_id": 3, "category_id": 2, "bbox": [0, 0, 40, 30]},
        ],
        "categories": [{"id": 9, "name": "sheep"}, {"id": 2, "name": "boat"}],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content | changes))
    return path


def test_coco_has_corner_and_extent_and_crowds(tmp_path: Path) -> None:
    path = coco(tmp_path / "annotations" / "instances_train.json")
    for name in ("one.png", "two.png"):
        picture(tmp_path / "train" / name)
    data = open_boxes(str(path))
    assert data.classes == ("boat", "sheep")
    assert [len(image.boxes) for image in data.images] == [0, 2]
    image = data.images[1]
    np.testing.assert_array_equal(image.boxes, [[1.5, 2, 11.5, 22], [0, 0, 40, 30]])
    assert image.labels.tolist() == [1, 0] and image.crowd.tolist() == [True, False]
    (tmp_path / "train").rename(tmp_path / "elsewhere")
    assert open_boxes(f"{path}:{tmp_path}/elsewhere").fingerprint() == data.fingerprint()
    with pytest.raises(DataError, match="say where they are"):
        open_boxes(str(path))


def test_coco_of_another_form_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'categories' is missing"):
        path = tmp_path / "a.json"
        path.write_text('{"images": []}')
        open_boxes(str(path))
    unknown = [{"image_id": 3, "category_id": 4, "bbox": [0, 0, 1, 1]}]
    with pytest.raises(DataError, match=r"annotation \(without id\) has category 4, not listed\. It has lists images"):
        open_boxes(str(coco(tmp_path / "b.json", annotations=unknown)))
    astray = [{"id": 12, "image_id": 77, "category_id": 9, "bbox": [0, 0, 1, 1]}]
    with pytest.raises(DataError, match="annotation 12 is of image 77, not listed"):
        open_boxes(str(coco(tmp_path / "c.json", annotations=astray)))


def test_coco_images_without_what_they_need(tmp_path: Path) -> None:
    for name in ("one.png", "two.png"):
        picture(tmp_path / name)
    whole = [{"id": 7, "file_name": "one.png"}, {"id": 3, "file_name": "two.png", "height": 30, "width": 40}]
    for change, words in (
        ([{"id": 7}], "'file_name' is missing. It has lists images"),
        ([whole[0] | {"height": [30], "width": 40}], "is not COCO's form"),
        ([whole[0] | {"height": float("inf"), "width": 40}], "is not COCO's form"),
        (["one.png"], "is not COCO's form"),
    ):
        with pytest.raises(DataError, match=words):
            open_boxes(str(coco(tmp_path / "a.json", images=[*change, whole[1]])))
    for none in ({"height": None, "width": 40}, {"width": None}):  # as if it said nothing: the file tells
        data = open_boxes(str(coco(tmp_path / "a.json", images=[whole[0] | none, whole[1]])))
        assert [image.size for image in data.images] == [(30, 40)] * 2


def test_coco_with_masks(tmp_path: Path) -> None:
    annotations = [
        {"image_id": 3, "category_id": 9, "bbox": [1, 2, 10, 20], "iscrowd": 1}
        | {"segmentation": {"size": [30, 40], "counts": [32, 20, 1148]}},
        {"id": 5, "image_id": 3, "category_id": 2, "bbox": [4, 5, 10, 8]}
        | {"segmentation": [[4, 5, 14, 5, 14, 13, 4, 13]]},
    ]
    path = coco(tmp_path / "a.json", annotations=annotations)
    for name in ("one.png", "two.png"):
        picture(tmp_path / name)
    data = open_boxes(str(path), masks=True)
    assert data.images[0].masks == () and data.images[1].masks is not None
    crowd, plain = decoded(data.images[1].masks, (30, 40))
    assert crowd[2:22, 1].all() and crowd.sum() == 20
    assert plain[5:13, 4:14].all() and plain.sum() == 80
    # Without masks the same boxes, and nothing of the segmentations; and the two are not mixed up by who resumes.
    boxes = open_boxes(str(path))
    assert boxes.images[1].masks is None and boxes.fingerprint() != data.fingerprint()
    for change, words in (
        ({}, "annotation 5 of 'boat' on image 3 has no segmentation"),
        ({"segmentation": []}, "a list of polygons x1, y1, x2, y2, …, or run lengths"),
        ({"segmentation": {"counts": [1200]}}, "has run lengths without 'size'"),
        ({"segmentation": {"size": [40, 30], "counts": [1200]}}, "30 x 40 pixels, but its image has 40 x 30"),
    ):
        kept = {name: value for name, value in annotations[1].items() if name != "segmentation"}
        bad = coco(tmp_path / "b.json", annotations=[annotations[0], kept | change])
        with pytest.raises(DataError, match=words):
            open_boxes(str(bad), masks=True)
        assert len(open_boxes(str(bad)).images) == 2


def test_voc_and_yolo_have_no_instance_masks(tmp_path: Path) -> None:
    voc(tmp_path / "voc", "a", voc_object("dog", (1, 1, 9, 9)))
    picture(tmp_path / "yolo" / "images" / "a.png")
    for name in ("voc", "yolo"):
        with pytest.raises(DataError, match=rf"{name.upper()}, which holds no instance masks; give COCO's \.json"):
            open_boxes(str(tmp_path / name), masks=True)


@pytest.mark.parametrize("layout", ["images/train", "train/images"])
def test_yolo_has_centres_and_shares(tmp_path: Path, layout: str) -> None:
    picture(tmp_path / layout / "p.png")
    picture(tmp_path / layout / "q.png")
    labels = tmp_path / layout.replace("images", "labels")
    labels.mkdir(parents=True)
    (labels / "p.txt").write_text("1 0.5 0.5 0.5 0.2\n\n0 0.0 0.5 0.5 1.0\n")
    (tmp_path / "classes.txt").write_text("kite\nboat\n")
    data = open_boxes(f"{tmp_path}:train")
    assert data.classes == ("kite", "boat") and len(data.images[1].boxes) == 0
    np.testing.assert_allclose(data.images[0].boxes, [[10, 12, 30, 18], [0, 0, 10, 30]], atol=1e-12)
    assert data.images[0].labels.tolist() == [1, 0]
    (labels / "q.txt").write_text("2 0.5 0.5 0.5 0.2")
    with pytest.raises(DataError, match=r"q\.txt, line 1: class 2"):
        open_boxes(f"{tmp_path}:train")
    (labels / "q.txt").write_text("1 20 20 5 5")
    with pytest.raises(DataError, match=r"all in 0 … 1"):
        open_boxes(f"{tmp_path}:train")
    (labels / "q.txt").write_bytes(b"\xff1 0.5")
    with pytest.raises(DataError, match=r"q\.txt is no text in UTF-8"):
        open_boxes(f"{tmp_path}:train")
    (labels / "q.txt").write_bytes(b"\xef\xbb\xbf1 0.5 0.5 0.5 0.2\n")  # a byte order mark
    assert open_boxes(f"{tmp_path}:train").images[1].labels.tolist() == [1]


@pytest.mark.parametrize(
    "text",
    [
        "path: .\nnames: ['kite', \"a boat\"]\n",
        "names:\n  - kite  # the first\n  - a boat\nnc: 2\n",
        "names:\n  1: a boat\n  0: kite\n",
        "train: x\nnames:\n- kite\n- a boat",
    ],
)
def test_names_in_yaml(tmp_path: Path, text: str) -> None:
    (tmp_path / "data.yaml").write_text(text)
    assert yolo_classes(tmp_path) == ["kite", "a boat"]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("names: ['a, b', c]\n", ["a, b", "c"]),
        ("names: [ 'a]',  # the first\n  \"b # c\", d#e, ]\nnc: 3\n", ["a]", "b # c", "d#e"]),
        ("names:\n- 'b # c'\n- d # e\n- 'it''s'  # f\n", ["b # c", "d", "it's"]),
        ('names:\n  0: "caf\\xe9: \\"x\\""\n  1: don\'t\n', ['café: "x"', "don't"]),
    ],
)
def test_quotes_in_yaml_hold_a_name_together(tmp_path: Path, text: str, wanted: list[str]) -> None:
    (tmp_path / "data.yaml").write_text(text)
    assert yolo_classes(tmp_path) == wanted


@pytest.mark.parametrize("text", ["names: [a, b\n", "names: ['a, b]\n", "names: ['a' b]\n", "names: [a,, b]\n"])
def test_lists_in_brackets_that_are_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "data.yaml").write_text(text)
    with pytest.raises(DataError, match="no names of classes"):
        yolo_classes(tmp_path)


def test_names_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="names no classes"):
        yolo_classes(tmp_path)
    (tmp_path / "data.yaml").write_text("names:\n  0: kite\n  2: boat\n")
    with pytest.raises(DataError, match="no names of classes, or one twice"):
        yolo_classes(tmp_path)


@pytest.mark.parametrize(
    ("box", "words"),
    [
        ((20, 5, 10, 9), "second corner left"),
        ((float("nan"), 5, 10, 9), "not finite"),
        ((200, 5, 210, 9), "outside of its image of 40 x 30"),
        ((5, 5, 9999, 9), "reaches out of its image of 40 x 30 pixels by 9959"),
        ((-50, 5, 10, 9), "reaches out of its image of 40 x 30 pixels by 51"),  # VOC counts from 1
        ((5, 5, 10, 33), "reaches out of its image of 40 x 30 pixels by 3;"),
    ],
)
def test_boxes_that_cannot_be(tmp_path: Path, box: tuple[float, float, float, float], words: str) -> None:
    voc(tmp_path, "a", voc_object("dog", box))
    with pytest.raises(DataError, match=words):
        open_boxes(str(tmp_path))


def test_a_box_may_reach_out_by_what_annotators_round(tmp_path: Path) -> None:
    voc(tmp_path, "a", voc_object("dog", (0, 5, 42, 32)))
    assert open_boxes(str(tmp_path)).images[0].boxes.tolist() == [[-1, 4, 42, 32]]


def test_an_image_without_annotation_is_not_left_out_in_silence(tmp_path: Path) -> None:
    voc(tmp_path, "a", voc_object("dog", (1, 1, 5, 5)))
    picture(tmp_path / "JPEGImages" / "b.jpg")
    with pytest.raises(DataError, match=r"1 of the 2 images in .* the first b\.jpg: add Annotations/b\.xml"):
        open_boxes(str(tmp_path))
    (tmp_path / "ImageSets" / "Main").mkdir(parents=True)
    (tmp_path / "ImageSets" / "Main" / "some.txt").write_text("a\n")
    assert len(open_boxes(f"{tmp_path}:some").images) == 1


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist; give one of VOC"):
        open_boxes(str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match="holds no boxes in a form"):
        open_boxes(str(tmp_path))
    voc(tmp_path, "a", "")
    with pytest.raises(DataError, match="no image has a box"):
        open_boxes(str(tmp_path))
    (tmp_path / "Annotations" / "b.xml").write_text("<annotation><object><name>dog</name></object></annotation>")
    with pytest.raises(DataError, match=r"b\.xml has no image"):
        open_boxes(str(tmp_path))
    picture(tmp_path / "JPEGImages" / "b.jpg")
    with pytest.raises(DataError, match="object has no bndbox/xmin"):
        open_boxes(str(tmp_path))
    (tmp_path / "Annotations" / "b.xml").write_text("<annotation>")
    with pytest.raises(DataError, match="cannot be read as XML"):
        open_boxes(str(tmp_path))


def test_a_part_is_a_place_beside_a_json_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sub/test").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    for part, there in (("test", "test"), ("sub/test", "sub/test")):
        assert absolute(f"yolo:{part}", is_place) == f"{tmp_path}/yolo:{there}"
    assert absolute("a.json:sub", is_place) == f"{tmp_path}/a.json:{tmp_path}/sub"
    assert absolute("sub", is_place) == str(tmp_path / "sub")
    assert mended(f"/yolo:{tmp_path}/test", is_place) == "/yolo:test"
    for kept in ("/yolo:test", "/yolo", f"/a.json:{tmp_path}/sub"):
        assert mended(kept, is_place) == kept
