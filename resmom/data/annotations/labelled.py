"""What places of labelled images have in common: PATH:PART, and images none of which may be left out."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from resmom.data.errors import DataError
from resmom.data.rgb import UnreadableImage
from resmom.data.source import digest

T = TypeVar("T")


def cut(spec: str) -> tuple[Path, str]:
    """PATH:PART; a path that exists as it is written has no part."""
    if Path(spec).exists() or ":" not in spec:
        return Path(spec), ""
    path, _, part = spec.rpartition(":")
    return Path(path), part


IsPlace = Callable[[Path, str], bool]
"""Whether the part of PATH:PART says where something lies, and is no name within PATH."""


def absolute(spec: str, is_place: IsPlace) -> str:
    """The same place for whoever stands in another folder."""
    path, part = cut(spec)
    if not part:
        return str(path.resolve())
    return f"{path.resolve()}:{Path(part).resolve() if is_place(path, part) else part}"


def mended(spec: str, is_place: IsPlace) -> str:
    """A place as it was kept. Older versions took a name for a place if a folder of that name was at hand."""
    path, part = cut(spec)
    return f"{path}:{Path(part).name}" if Path(part).is_absolute() and not is_place(path, part) else spec


def short(spec: str) -> str:
    """A place by the last part of its path, for names of data."""
    path, part = cut(spec)
    return path.resolve().name + (f":{Path(part).name if '/' in part else part}" if part else "")


def files_digest(fingerprint: str, paths: Iterable[Path]) -> str:
    """16 hexadecimal digits by which images that were measured are known again, or are not: `fingerprint` of names and
    labels, and the length of every image file. Files changed under the same name and length are not seen.
    """
    return digest([fingerprint.encode(), *(str(path.stat().st_size).encode() for path in paths)])


def text_of(file: Path) -> str:
    """What a file of labels, names or a list says. Raises DataError where it cannot be read, or is no text in UTF-8."""
    try:
        return file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{file} cannot be read ({error.strerror}); make it readable or take it away") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is no text in UTF-8 ({error}); save it as UTF-8, or replace it") from error


def require_size(path: Path, there: tuple[int, int], told: tuple[int, int], labels: str) -> None:
    """Raise DataError unless the image at `path`, of the size `there`, is as large as its `labels` have it (`told`)."""
    if there != told:
        raise DataError(
            f"{path} has {there[1]} x {there[0]} pixels, but its {labels} are for {told[1]} x {told[0]} "
            "(height and width swapped: its EXIF data turn it); annotate the image as it is"
        )


def needed(read: Callable[[Path], T], path: Path) -> T:
    """What `read` makes of an image file. Raises DataError where it cannot be read: its labels would mean nothing."""
    try:
        return read(path)
    except UnreadableImage as error:
        raise DataError(f"{path} cannot be read: {error.reason}; replace it or take it out of the data") from error
