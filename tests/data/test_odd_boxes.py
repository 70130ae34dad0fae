"""Files of boxes as some tools write them: what is meant is read, and what cannot be meant is refused in words."""

from pathlib import Path

import pytest

from resmom.data.annotations.boxes import open_boxes
from resmom.data.errors import DataError
from tests.data.annotations.test_boxes import coco, picture, voc, voc_object

BOX = {"image_id": 7, "category_id": 2, "bbox": [0, 0, 9, 9]}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for name in ("one.png", "two.png"):
        picture(tmp_path / name)
    return tmp_path / "a.json"


@pytest.mark.parametrize(("said", "crowd"), [("0", False), (False, False), (None, False), ("1", True), (1, True)])
def test_a_crowd_is_said_by_a_number(said: object, crowd: bool, place: Path) -> None:
    (_, image) = sorted(
        open_boxes(str(coco(place, annotations=[BOX | {"iscrowd": said}]))).images, key=lambda x: x.boxes.size
    )
    assert image.crowd.tolist() == [crowd]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"images": [{"id": 7, "file_name": name} for name in ("one.png", "two.png")]},
            "the image with the id 7 twice",
        ),
        ({"categories": [{"id": 2, "name": name} for name in ("boat", "sheep")]}, "the category with the id 2 twice"),
    ],
)
def test_one_id_for_two_is_refused(changes: dict[str, object], words: str, place: Path) -> None:
    with pytest.raises(DataError, match=words):
        open_boxes(str(coco(place, annotations=[BOX], **changes)))


def test_a_category_without_objects_is_no_hindrance(place: Path) -> None:
    data = open_boxes(str(coco(place, annotations=[BOX])), ("boat",))
    assert data.classes == ("boat",) and data.images[0].labels.tolist() == [0]
    with pytest.raises(DataError, match="not trained on: boat;"):
        open_boxes(str(place), ("sheep",))


def test_voc_of_other_tools(tmp_path: Path) -> None:
    voc(tmp_path, "a", voc_object("cat", (1, 1, 9, 9)), "<size><width>40.0</width><height>30.0</height></size>")
    assert open_boxes(str(tmp_path)).images[0].size == (30, 40)
    (tmp_path / "ImageSets/Main").mkdir(parents=True)
    (tmp_path / "ImageSets/Main/none.txt").write_text("\n")
    with pytest.raises(DataError, match=r"none\.txt lists no images"):
        open_boxes(f"{tmp_path}:none")
    voc(tmp_path, "a", voc_object(" ", (1, 1, 9, 9)))
    with pytest.raises(DataError, match=r"a\.xml: an object has an empty name"):
        open_boxes(str(tmp_path))
    voc(tmp_path, "a", voc_object("cat", (1, 1, 9, 9)), "<size><width>inf</width><height>30</height></size>")
    with pytest.raises(DataError, match=r"a\.xml: cannot convert float infinity"):
        open_boxes(str(tmp_path))
