"""Images with masks that give every pixel a class, read into one form from the forms of `maskfiles.FORMS`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import numpy as np
from jaxtyping import Int64, UInt8
from numpy.typing import NDArray

from resmom.data.annotations.labelled import needed, short
from resmom.data.annotations.maskfiles import FORMS, find
from resmom.data.annotations.masknames import VOID, Names, shown
from resmom.data.decode import header, stored
from resmom.data.errors import DataError
from resmom.data.source import digest

IGNORE = 255
"""The label of pixels that count for nothing; also what masks of numbers have for them."""

MOST = 255
"""Labels are bytes, and 255 is taken."""


@dataclass(frozen=True)
class Masked:
    """One image and its mask."""

    path: Path
    mask: Path
    names: Names
    size: tuple[int, int]
    """Height and width of both."""
    sum: int
    """CRC-32 of the labels."""


@dataclass(frozen=True)
class MaskData:
    """Images with masks of `classes`; labels are numbers into these, or `IGNORE`."""

    name: str
    classes: tuple[str, ...]
    images: tuple[Masked, ...]
    seen: frozenset[int] = frozenset()
    """The labels that some pixel has."""

    @property
    def numbered(self) -> bool:
        """Whether nothing named the classes, so that they are called by their numbers."""
        return self.classes == _numbers(len(self.classes))

    def fingerprint(self) -> str:
        """16 hexadecimal digits of classes, files' names and labels, by which a resumed run knows its data."""
        parts = ["\n".join(self.classes).encode()]
        parts += [f"{image.path.name}\n{image.mask.name}\n{image.sum}".encode() for image in self.images]
        return digest(parts)


def open_masks(specs: str | Sequence[str], classes: tuple[str, ...] = ()) -> MaskData:
    """The images of one place or of several together, each in one of `FORMS`; every mask is read and checked once.

    The classes are those that the data name, or as many numbered ones as the masks have; all places must agree, and
    with `classes`, where these are given, as for test data. Raises DataError for anything that cannot be used, naming
    the file; also for a place that names no classes where they have names already: its numbers may count void.
    """
    specs = [specs] if isinstance(specs, str) else list(specs)
    if not specs:
        raise DataError(f"no data were given; give one or more of {FORMS}")
    known = classes
    images: list[Masked] = []
    seen: set[int] = set()
    for spec in specs:
        pairs, names = find(spec)
        if names is None and known and known != _numbers(len(known)):
            raise DataError(
                f"{spec} does not say what the numbers of its masks mean, and the classes known already have names "
                f"({', '.join(known[:5])}{' …' if len(known) > 5 else ''}); put the file of names that lies beside the "
                "other images (classes.txt, void included) into its folder too"
            )
        names = names or (Names(known) if known else _numbered([mask for _, mask in pairs]))
        if len(names.classes) > MOST:
            raise DataError(f"{spec} has {len(names.classes)} classes; {MOST} is the most")
        if known and names.classes != known:
            raise DataError(
                f"{spec} has other classes than are known already, or in another order: "
                f"{', '.join(names.classes[:30])} instead of {', '.join(known[:30])}; give data of the same classes"
            )
        known = names.classes
        for path, mask in pairs:
            image, its = _checked(path, mask, names)
            images.append(image)
            seen |= its
    return MaskData("+".join(short(spec) for spec in specs), known, tuple(images), frozenset(seen))


def require_two_classes(data: MaskData) -> None:
    """Raise DataError where one class is all that the masks show: whatever learned it would score 100."""
    if len(data.seen) > 1:
        return
    shown_class = f"'{data.classes[min(data.seen)]}'" if data.seen else "none"
    raise DataError(
        f"the masks of {data.name} show one class at most ({shown_class}), and nothing can be learned from that. "
        f"The number {IGNORE} stands for pixels that count for nothing: masks of 0 and {IGNORE} (object or not) must "
        "be made such of 0 and 1"
    )


def labels(image: Masked) -> UInt8[np.ndarray, "h w"]:
    """The class of every pixel. Raises DataError for a mask that cannot be read, or has what its names do not."""
    return _labels(image.mask, image.names)


def _checked(path: Path, mask: Path, names: Names) -> tuple[Masked, set[int]]:
    """The image with its mask, and the labels there."""
    size = needed(header, path)
    found = _labels(mask, names)
    if found.shape != size:
        raise DataError(
            f"{mask} has {found.shape[1]} x {found.shape[0]} pixels, but its image {path.name} has {size[1]} x "
            f"{size[0]}; a mask must have its image's size (height and width swapped: the image's EXIF data turn it)"
        )
    there = np.flatnonzero(np.bincount(found.ravel(), minlength=IGNORE + 1)[:IGNORE]).tolist()
    return Masked(path, mask, names, size, crc32(found.tobytes())), set(there)


def _labels(mask: Path, names: Names) -> UInt8[np.ndarray, "h w"]:
    values = needed(stored, mask)
    table = np.full(len(names.names), IGNORE, dtype=np.uint8)
    counting = [at for at, name in enumerate(names.names) if name.lower() not in VOID]
    table[counting] = np.arange(len(counting))
    if values.ndim == 2:
        bad = ((values < 0) | (values >= len(table))) & (values != IGNORE)
        if bad.any():
            y, x = np.argwhere(bad)[0]
            raise DataError(
                f"{mask}: the value {values[y, x]} at x {x}, y {y} ({int(bad.sum())} such pixels) stands for no class; "
                f"allowed are 0 to {len(table) - 1} ({', '.join(names.names[:3])} …) and {IGNORE}, which is left out. "
                "A file of names in the data's folder (classes.txt) says what there is"
            )
        return np.append(table, np.uint8(IGNORE))[np.minimum(values, len(table))]
    if not names.colours:
        raise DataError(
            f"{mask} holds colours, but nothing says what they mean; put class_dict.csv (name,r,g,b) or "
            "label_colors.txt (r g b name) into the data's folder, or use masks of numbers"
        )
    return _of_colours(mask, values, names, table)


def _of_colours(
    mask: Path, values: Int64[np.ndarray, "h w 3"], names: Names, table: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    colours = np.array(names.colours, dtype=np.int64)
    order = np.argsort(colours)
    wanted = values[..., 0] << 16 | values[..., 1] << 8 | values[..., 2]
    at = order[np.minimum(np.searchsorted(colours, wanted, sorter=order), len(colours) - 1)]
    bad = colours[at] != wanted
    if bad.any():
        y, x = np.argwhere(bad)[0]
        some = [f"{shown(colour)} {name}" for name, colour in list(zip(names.names, names.colours, strict=True))[:8]]
        raise DataError(
            f"{mask}: the colour {shown(int(wanted[y, x]))} at x {x}, y {y} ({int(bad.sum())} such pixels) is no "
            f"class's; known are {', '.join(some)}{' …' if len(colours) > 8 else ''}. Masks saved as JPEG or resized "
            "with smoothing have such colours"
        )
    found: NDArray[np.uint8] = table[at]
    return found


def _numbered(masks: list[Path]) -> Names:
    """As many classes as the masks have numbers."""
    most = -1
    for mask in masks:
        values = needed(stored, mask)
        counted = values[values != IGNORE]
        if values.ndim == 2 and counted.size:
            most = max(most, int(counted.max()))
    if most < 0:
        raise DataError(
            f"the masks beside {masks[0]} hold colours, or no class at all; put class_dict.csv (name,r,g,b) into the "
            "data's folder, or use masks of numbers"
        )
    return Names(_numbers(most + 1))


def _numbers(count: int) -> tuple[str, ...]:
    """What classes are called that nothing names."""
    return tuple(map(str, range(count)))
