"""Images with boxes: the folders of Pascal VOC, the JSON of COCO, the folders of YOLO, read into one form."""

import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float64, Int64
from numpy.typing import NDArray

from resmom.called import setting
from resmom.data.annotations.coco import coco
from resmom.data.annotations.labelled import cut, needed, short, text_of
from resmom.data.annotations.object import Listed, Object
from resmom.data.annotations.yolo import yolo_classes, yolo_files
from resmom.data.decode import header
from resmom.data.errors import DataError
from resmom.data.folder import SUFFIXES
from resmom.data.source import digest

FORMS = (
    "VOC: a folder with Annotations/ and JPEGImages/, or FOLDER:LIST for a list of its ImageSets/Main/; COCO: "
    "FILE.json, or FILE.json:FOLDER where its images lie elsewhere; YOLO: a folder with images/ and labels/, or "
    "FOLDER:PART for a part such as train"
)
"""What `open_boxes` reads, in words."""

BEYOND, BEYOND_PIXELS = 0.02, 2.0
"""How far a box may reach out of its image, as a share of the longer side and at least in pixels: annotators round."""


@dataclass(frozen=True)
class Boxed:
    """One image and the objects in it.

    `boxes` are x1, y1, x2, y2 in pixels, edges of the picture at 0 and at its width and height. `difficult` objects
    count for nothing in the scores, found or not; `crowd` boxes hold any number of objects.
    """

    path: Path
    size: tuple[int, int]
    """Height and width."""
    boxes: Float64[np.ndarray, "n 4"]
    labels: Int64[np.ndarray, " n"]
    difficult: Bool[np.ndarray, " n"]
    crowd: Bool[np.ndarray, " n"]
    masks: tuple[bytes, ...] | None = None
    """The objects' masks as run lengths (`data/annotations/runlength.py`), where they were asked for."""


@dataclass(frozen=True)
class BoxData:
    """Images with boxes of `classes`; labels are numbers into these."""

    name: str
    classes: tuple[str, ...]
    images: tuple[Boxed, ...]

    def fingerprint(self) -> str:
        """16 hexadecimal digits of names, classes, boxes, flags and masks, by which a resumed run knows its data."""
        parts = ["\n".join(self.classes).encode()]
        for image in self.images:
            arrays = (image.boxes, image.labels, image.difficult, image.crowd)
            parts += [image.path.name.encode(), *(array.tobytes() for array in arrays), *(image.masks or ())]
        return digest(parts)


def open_boxes(specs: str | Sequence[str], classes: tuple[str, ...] = (), masks: bool = False) -> BoxData:
    """The images of one place or of several together, each in one of `FORMS`; with `masks` COCO's alone.

    The classes are those of the data (VOC's sorted by name, COCO's by id, YOLO's as listed) unless `classes` gives
    them, as for test data. Raises DataError for anything that cannot be used, naming the file.
    """
    specs = [specs] if isinstance(specs, str) else list(specs)
    if not specs:
        raise DataError(f"no data were given; give one or more of {FORMS}")
    found: list[Listed] = []
    known = list(classes)
    for spec in specs:
        names, its = _open(spec, masks)
        if classes:  # a category that is listed and has no object is no hindrance
            named = {one.name for _, _, objects in its for one in objects}
            names = [name for name in names if name in named]
        new = [name for name in names if name not in known]
        if new and classes:
            raise DataError(
                f"{spec} has classes that the detector was not trained on: {', '.join(new[:5])}; its classes are "
                f"{', '.join(classes[:30])}. Leave their objects out of the data, or train on them"
            )
        known += new
        found += its
    if not any(objects for _, _, objects in found):
        raise DataError(f"{' and '.join(specs)}: no image has a box; detection needs boxes ({FORMS})")
    number = {name: at for at, name in enumerate(known)}
    images = tuple(_boxed(path, size, objects, number, masks) for path, size, objects in found)
    return BoxData("+".join(short(spec) for spec in specs), tuple(known), images)


def is_place(path: Path, part: str) -> bool:
    """Whether the part of PATH:PART is a folder of images, as beside a COCO file, and no name of a list or a part."""
    return path.suffix == ".json" and not path.is_dir()


def _open(spec: str, masks: bool) -> tuple[list[str], list[Listed]]:
    """Names of the classes in their order, and the images, of one place."""
    path, part = cut(spec)
    if path.suffix == ".json" and path.is_file():
        return coco(path, part, masks)
    voc = (path / "Annotations").is_dir()
    yolo = (path / "images").is_dir() or (part != "" and (path / part / "images").is_dir())
    if (voc or yolo) and masks:
        raise DataError(
            f"{path} has boxes in the form of {'VOC' if voc else 'YOLO'}, which holds no instance masks; give COCO's "
            ".json, whose annotations have a segmentation, or train on boxes alone with "
            f"{setting('detector.form', 'fpn')}"
        )
    if voc:
        return _voc(path, part)
    if yolo:
        return _yolo(path, part)
    missing = "does not exist" if not path.exists() else "holds no boxes in a form that is known"
    raise DataError(f"{path} {missing}; give one of {FORMS}")


def _boxed(path: Path, size: tuple[int, int], objects: list[Object], number: dict[str, int], masks: bool) -> Boxed:
    boxes = np.array([one.box for one in objects], dtype=np.float64).reshape(-1, 4)
    bad = ~np.isfinite(boxes).all(1) | (boxes[:, 2:] < boxes[:, :2]).any(1)
    if bad.any():
        at = int(bad.argmax())
        raise DataError(
            f"{path}: the box {boxes[at].tolist()} of '{objects[at].name}' (x1, y1, x2, y2 in pixels) has its "
            "second corner left of or above the first, or is not finite; correct or remove it"
        )
    height, width = size
    beyond = np.concatenate([-boxes[:, :2], boxes[:, 2:] - (width, height)], axis=1).max(1, initial=-np.inf)
    outside = (boxes[:, 0] >= width) | (boxes[:, 1] >= height) | (boxes[:, 2:] <= 0).any(1)
    if outside.any():
        at = int(outside.argmax())
        raise DataError(
            f"{path}: the box {boxes[at].tolist()} of '{objects[at].name}' lies outside of its image of "
            f"{width} x {height} pixels; are its units pixels, and is it the right image?"
        )
    if (beyond > max(BEYOND_PIXELS, BEYOND * max(size))).any():
        at = int(beyond.argmax())
        raise DataError(
            f"{path}: the box {boxes[at].tolist()} of '{objects[at].name}' (x1, y1, x2, y2 in pixels) reaches out of "
            f"its image of {width} x {height} pixels by {beyond[at]:g}; correct it, or cut it to the image"
        )
    return Boxed(
        path,
        size,
        boxes,
        np.array([number[one.name] for one in objects], dtype=np.int64),
        np.array([one.difficult for one in objects], dtype=bool),
        np.array([one.crowd for one in objects], dtype=bool),
        tuple(one.mask for one in objects if one.mask is not None) if masks else None,
    )


def _voc(root: Path, part: str) -> tuple[list[str], list[Listed]]:
    """Pascal VOC: an XML file per image; pixels counted from 1, the last one included."""
    files = sorted((root / "Annotations").glob("*.xml"))
    if part:
        files = [root / "Annotations" / f"{name}.xml" for name in _listed(root / "ImageSets" / "Main", part)]
        if not files:
            raise DataError(f"{root / 'ImageSets' / 'Main' / part}.txt lists no images; put one name per line into it")
    if not files:
        raise DataError(f"{root / 'Annotations'} holds no .xml files; VOC has one per image")
    by_stem = {path.stem: path for path in sorted((root / "JPEGImages").glob("*")) if path.suffix.lower() in SUFFIXES}
    found = [_voc_image(file, by_stem) for file in files]
    if not part and (bare := sorted(by_stem.keys() - {file.stem for file in files})):
        raise DataError(
            f"{len(bare)} of the {len(by_stem)} images in {root / 'JPEGImages'} have no annotation, the first "
            f"{by_stem[bare[0]].name}: add Annotations/{bare[0]}.xml (without objects for a photo of none), take them "
            f"out, or name those that are meant in ImageSets/Main/NAME.txt and give {root}:NAME"
        )
    return sorted({one.name for _, _, objects in found for one in objects}), found


def _listed(folder: Path, part: str) -> list[str]:
    path = folder / f"{part}.txt"
    if not path.is_file():
        there = sorted(file.stem for file in folder.glob("*.txt") if "_" not in file.stem)
        raise DataError(f"there is no list {path}; lists there: {', '.join(there) or 'none'}")
    return [line.split()[0] for line in text_of(path).splitlines() if line.strip()]


def _voc_image(file: Path, by_stem: dict[str, Path]) -> Listed:
    try:
        root = ElementTree.parse(file).getroot()
    except (ElementTree.ParseError, OSError) as error:
        raise DataError(f"{file} cannot be read as XML: {error}") from error
    if file.stem not in by_stem:
        raise DataError(f"{file} has no image: JPEGImages/ holds no {file.stem}.jpg; add it or remove the annotation")
    path = by_stem[file.stem]
    try:
        objects = [_voc_object(one) for one in root.iter("object")]
        size = None
        if root.find("size") is not None:  # some tools write whole numbers as 48.0
            size = int(float(_text(root, "size/height"))), int(float(_text(root, "size/width")))
    except (ValueError, OverflowError) as error:
        raise DataError(
            f"{file}: {error}; VOC's form is object/name, object/bndbox/xmin, ymin, xmax, ymax and size/width, height"
        ) from error
    return path, size if size and min(size) > 0 else needed(header, path), objects


def _voc_object(one: ElementTree.Element) -> Object:
    x1, y1, x2, y2 = (float(_text(one, f"bndbox/{side}")) for side in ("xmin", "ymin", "xmax", "ymax"))
    difficult = one.findtext("difficult", "0").strip() == "1"
    name = _text(one, "name").strip()
    if not name:
        raise ValueError("an object has an empty name")
    return Object((x1 - 1, y1 - 1, x2, y2), name, difficult)


def _text(element: ElementTree.Element, name: str) -> str:
    text = element.findtext(name)
    if text is None:
        raise ValueError(f"{element.tag} has no {name}")
    return text


def _yolo(root: Path, part: str) -> tuple[list[str], list[Listed]]:
    """YOLO: a text file per image, each line a class number and centre x, y, width, height as shares of the image."""
    names = yolo_classes(root)
    found: list[Listed] = []
    for path, labels in yolo_files(root, part):
        height, width = size = needed(header, path)
        objects = []
        for number, line in enumerate(text_of(labels).splitlines() if labels.is_file() else [], start=1):
            if line.strip():
                label, shares = _yolo_line(f"{labels}, line {number}", line, len(names))
                box = shares * np.array([width, height, width, height])
                objects.append(Object(tuple(box.tolist()), names[label]))
        found.append((path, size, objects))
    return names, found


def _yolo_line(where: str, line: str, classes: int) -> tuple[int, NDArray[np.float64]]:
    """The class and the box x1, y1, x2, y2 as shares of the image."""
    try:
        label, values = int(line.split()[0]), np.array([float(value) for value in line.split()[1:]])
    except ValueError as error:
        raise DataError(f"{where}: '{line}' is not a class number and four numbers") from error
    if values.shape != (4,) or not ((values >= 0) & (values <= 1)).all():
        raise DataError(
            f"{where}: '{line}' should be a class number and centre x, centre y, width, height, all in 0 … 1 "
            "(shares of the image; polygons are not read)"
        )
    if not 0 <= label < classes:
        raise DataError(f"{where}: class {label}, but there are names for 0 to {classes - 1} only")
    centre, half = values[:2], values[2:] / 2
    return label, np.concatenate([np.maximum(centre - half, 0), np.minimum(centre + half, 1)])
