"""What places of labelled images have in common: PATH:PART, and images none of which may be left out."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from resmom.data.rgb import UnreadableImage
from resmom.data.source import DataError, digest

T = TypeVar("T")


def cut(spec: str) -> tuple[Path, str]:
    """PATH:PART; a path that exists as it is written has no part."""
    if Path(spec).exists() or ":" not in spec:
        return Path(spec), ""
    path, _, part = spec.rpartition(":")
    return Path(path), part


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


def needed(read: Callable[[Path], T], path: Path) -> T:
    """What `read` makes of an image file. Raises DataError where it cannot be read: its labels would mean nothing."""
    try:
        return read(path)
    except UnreadableImage as error:
        raise DataError(f"{path} cannot be read: {error.reason}; replace it or take it out of the data") from error
