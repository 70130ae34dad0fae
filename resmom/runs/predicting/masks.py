"""A segmentation network on the images of a place: the class of every pixel as PNGs with a palette.

DIR/masks/            a PNG for every image, of its size: numbers of classes, with the colours of `classes.json`
DIR/images.jsonl      a line for every image: path, mask (below DIR), height, width
DIR/classes.json      the classes by number, their colours, and where all this comes from
DIR/classes.txt       their names, a line each, by which `resmom segment` reads the masks
DIR/unreadable.jsonl  the images that cannot be read, with the reason; only where there are any
DIR/pictures/         some photos under the colours of their classes, where these were asked for
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from resmom.errors import UserError
from resmom.evaluate.trained import TrainedSegmenter
from resmom.jsonfiles import write_json
from resmom.ondisk import encoded, write_whole
from resmom.report.drawn import palette, with_classes
from resmom.runs.predicting.images import Pictures, require_whole
from resmom.runs.predicting.names import place_for
from resmom.runs.predicting.written import Told, Written, evenly, list_unread, photo_of, readable, save_picture


def write_masks(
    folder: Path, segmenter: TrainedSegmenter, pictures: Pictures, info: Mapping[str, Any], draw: int, told: Told
) -> Written:
    """Fill a new folder. `draw`: so many pictures. `counts` of what is returned are pixels.

    Raises DataError for images whose pixels are not those of their files, UserError for votes that are not finite.
    """
    require_whole(pictures, "masks")
    classes = segmenter.classes
    colours = palette(len(classes))
    counts = np.zeros(len(classes), dtype=np.int64)
    unread, drawn, images = list(pictures.unread), evenly(len(pictures), draw), 0
    (folder / "masks").mkdir()
    with (folder / "images.jsonl").open("wb") as lines:
        for made in readable(pictures, unread, told):
            images += 1
            try:
                (said,) = segmenter([made.content])
            except ValueError as error:
                raise UserError(f"nothing can be said of {made.name}: {error}") from error
            labels = said.numpy().astype(np.uint8)
            counts += np.bincount(labels.ravel(), minlength=len(classes))
            file = place_for(folder / "masks", made.name, ".png")
            _with_palette(labels, colours).save(file, optimize=False)
            height, width = labels.shape
            where = {"path": made.name, "mask": str(file.relative_to(folder)), "height": height, "width": width}
            lines.write(encoded(json.dumps(where, ensure_ascii=False) + "\n"))
            if made.number in drawn:
                save_picture(folder, made.name, with_classes(photo_of(made.content), labels))
    named = [{"number": at, "name": name, "colour": colours[at]} for at, name in enumerate(classes)]
    write_json(folder / "classes.json", {"classes": named, **info})
    write_whole(folder / "classes.txt", "".join(f"{name}\n" for name in classes))
    list_unread(folder / "unreadable.jsonl", unread)
    return Written(images, tuple(unread), dict(zip(classes, counts.tolist(), strict=True)))


def _with_palette(labels: UInt8[np.ndarray, "h w"], colours: list[tuple[int, int, int]]) -> Image.Image:
    image = Image.fromarray(labels)
    image.putpalette(bytes(value for colour in colours for value in colour))
    return image
