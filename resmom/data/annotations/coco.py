"""COCO's JSON: images, annotations with boxes x, y, width, height in pixels from 0, and masks where they are wanted."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from resmom.called import setting
from resmom.data.annotations.labelled import needed
from resmom.data.annotations.object import Listed, Object
from resmom.data.annotations.runlength import from_segmentation
from resmom.data.decode import header
from resmom.data.errors import DataError

_Annotations = list[tuple[Object, dict[str, Any]]]
"""Each object, and all that the file says of it."""

_Image = tuple[int, str, tuple[int, int] | None]
"""Number, file, and height and width where the file of labels tells them."""


def coco(path: Path, part: str, masks: bool) -> tuple[list[str], list[Listed]]:
    """Names of the classes by id, and the images, in the folder `part` where they are not found without it.

    With `masks` every annotation must have its segmentation. Raises DataError for what cannot be used.
    """
    names, images, annotations = _read(path)
    if len(set(names.values())) < len(names):
        raise DataError(f"{path} has two categories of one name; give each its own")
    if not images:
        raise DataError(f"{path} lists no images")
    folder = Path(part) if part else _folder(path, images[0][1])
    found: list[Listed] = []
    for number, name, told in images:
        file = folder / name
        if not file.is_file():
            raise DataError(f"{file} is missing, which {path.name} names; give the images' folder as {path}:FOLDER")
        size = told or needed(header, file)
        its = annotations[number]
        found.append((file, size, [_masked(path, *one, size) if masks else one[0] for one in its]))
    return list(names.values()), found


def _read(path: Path) -> tuple[dict[int, str], list[_Image], dict[int, _Annotations]]:
    """The names of the categories in the order of their numbers, the images, and the annotations of each image."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        names = {int(one["id"]): str(one["name"]) for one in sorted(content["categories"], key=lambda one: one["id"])}
        images = [_image(image) for image in content["images"]]
        _require_once("category", [int(one["id"]) for one in content["categories"]])
        _require_once("image", [number for number, *_ in images])
        annotations: dict[int, _Annotations] = {number: [] for number, *_ in images}
        for one in content["annotations"]:
            if int(one["image_id"]) not in annotations:
                raise ValueError(
                    f"annotation {one.get('id', '(without id)')} is of image {one['image_id']}, not listed"
                )
            annotations[int(one["image_id"])].append((_object(one, names), one))
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        words = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise DataError(
            f"{path} is not COCO's form: {words}. It has lists images (id, file_name, height, width), annotations "
            "(image_id, category_id, bbox, iscrowd) and categories (id, name)"
        ) from error
    return names, images, annotations


def _require_once(what: str, numbers: list[int]) -> None:
    # Of two categories the second would rename the objects of the first; two images would share their objects.
    (number, times), *_ = [*Counter(numbers).most_common(1), (0, 0)]
    if times > 1:
        raise ValueError(f"it lists the {what} with the id {number} twice")


def _image(one: Any) -> _Image:
    number, name = int(one["id"]), str(one["file_name"])
    told = one.get("height") is not None and one.get("width") is not None
    return number, name, (int(one["height"]), int(one["width"])) if told else None


def _object(one: dict[str, Any], names: dict[int, str]) -> Object:
    x, y, width, height = (float(value) for value in one["bbox"])
    return Object((x, y, x + width, y + height), _category(one, names), crowd=_crowd(one))


def _crowd(one: dict[str, Any]) -> bool:
    # As a number: some tools write it as text, and the text "0" is no crowd.
    return bool(int(one.get("iscrowd") or 0))


def _category(one: dict[str, Any], names: dict[int, str]) -> str:
    if int(one["category_id"]) not in names:
        raise ValueError(f"annotation {one.get('id', '(without id)')} has category {one['category_id']}, not listed")
    return names[int(one["category_id"])]


def _masked(path: Path, one: Object, annotation: dict[str, Any], size: tuple[int, int]) -> Object:
    try:
        return replace(one, mask=from_segmentation(annotation.get("segmentation"), size))
    except (ValueError, KeyError, TypeError) as error:
        words = f"has run lengths without {error}" if isinstance(error, KeyError) else str(error)
        raise DataError(
            f"{path}: annotation {annotation.get('id', '(without id)')} of '{one.name}' on image "
            f"{annotation['image_id']} {words}. For instance masks every annotation needs a `segmentation`: a list of "
            "polygons x1, y1, x2, y2, …, or run lengths (size, counts). Mend it or take it out of the file, or train "
            f"on boxes alone with {setting('detector.form', 'fpn')}"
        ) from error


def _folder(path: Path, first: str) -> Path:
    """Where the images of a COCO file lie: beside it, in images/, or in the folder its name ends with (train2017)."""
    ending = path.stem.rpartition("_")[2]
    above = path.parent.parent
    tried = [path.parent, path.parent / "images", above / ending, above / "images" / ending, above / "images", above]
    for folder in tried:
        if (folder / first).is_file():
            return folder
    raise DataError(f"the images of {path} were not found ({first}); say where they are: {path}:FOLDER")
