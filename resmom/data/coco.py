"""COCO's JSON: images, annotations with boxes x, y, width, height in pixels from 0, and masks where they are wanted."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from resmom.data.decode import header
from resmom.data.labelled import needed
from resmom.data.object import Listed, Object
from resmom.data.runlength import from_segmentation
from resmom.data.source import DataError

_Annotations = list[tuple[Object, dict[str, Any]]]
"""Each object, and all that the file says of it."""


def coco(path: Path, part: str, masks: bool) -> tuple[list[str], list[Listed]]:
    """Names of the classes by id, and the images, in the folder `part` where they are not found without it.

    With `masks` every annotation must have its segmentation. Raises DataError for what cannot be used.
    """
    content, names, annotations = _read(path)
    if len(set(names.values())) < len(names):
        raise DataError(f"{path} has two categories of one name; give each its own")
    if not content["images"]:
        raise DataError(f"{path} lists no images")
    folder = Path(part) if part else _folder(path, str(content["images"][0]["file_name"]))
    found: list[Listed] = []
    for image in content["images"]:
        file = folder / str(image["file_name"])
        if not file.is_file():
            raise DataError(f"{file} is missing, which {path.name} names; give the images' folder as {path}:FOLDER")
        told = "height" in image and "width" in image
        size = (int(image["height"]), int(image["width"])) if told else needed(header, file)
        its = annotations[int(image["id"])]
        found.append((file, size, [_masked(path, *one, size) if masks else one[0] for one in its]))
    return list(names.values()), found


def _read(path: Path) -> tuple[dict[str, Any], dict[int, str], dict[int, _Annotations]]:
    """The file, the names of its categories in the order of their numbers, and the annotations of each image."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        names = {int(one["id"]): str(one["name"]) for one in sorted(content["categories"], key=lambda one: one["id"])}
        annotations: dict[int, _Annotations] = {int(image["id"]): [] for image in content["images"]}
        for one in content["annotations"]:
            if int(one["image_id"]) not in annotations:
                raise ValueError(
                    f"annotation {one.get('id', '(without id)')} is of image {one['image_id']}, not listed"
                )
            annotations[int(one["image_id"])].append((_object(one, names), one))
    except (ValueError, KeyError, TypeError) as error:
        words = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise DataError(
            f"{path} is not COCO's form: {words}. It has lists images (id, file_name, height, width), annotations "
            "(image_id, category_id, bbox, iscrowd) and categories (id, name)"
        ) from error
    return content, names, annotations


def _object(one: dict[str, Any], names: dict[int, str]) -> Object:
    x, y, width, height = (float(value) for value in one["bbox"])
    return Object((x, y, x + width, y + height), _category(one, names), crowd=bool(one.get("iscrowd", 0)))


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
            "on boxes alone with --detector.form fpn"
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
