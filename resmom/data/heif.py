"""Photos as phones take them: AVIF by way of Pillow, HEIC by way of pillow-heif (extra `heif`), told by their content.

Both lie in the boxes of ISO's media files, whose first names brands. What reads them is imported when the first such
file is met: nobody else waits for it.
"""

from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from threading import Lock

from packaging.version import Version
from PIL import ImageFile

from resmom.data.rgb import UnreadableImage
from resmom.extras import importable


@dataclass(frozen=True)
class _Kind:
    name: str
    suffixes: tuple[str, ...]
    brands: frozenset[bytes]
    module: str
    package: str
    least: str
    """What reads it, and the oldest version of it that does."""
    install: str


_KINDS = (
    _Kind(
        "AVIF",
        (".avif",),
        frozenset({b"avif", b"avis"}),
        "PIL._avif",
        "pillow",
        "11.3",
        "pip install --upgrade 'pillow>=11.3'",
    ),
    _Kind(
        "HEIC",
        (".heic", ".heif", ".hif"),
        frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}),
        "pillow_heif",
        "pillow-heif",
        "1.8",  # older ones bring the interpreter down on damaged files: seen with all that were tried, .16 to 1.7
        "pip install 'pillow-heif>=1.8'",
    ),
)
NAMES = tuple(kind.name for kind in _KINDS)
SUFFIXES = tuple(suffix for kind in _KINDS for suffix in kind.suffixes)

_START = 4096
"""Bytes that the box of brands is looked for in; it takes some tens."""
_ONE_AT_A_TIME = Lock()


def readable() -> tuple[str, ...]:
    """The suffixes whose files can be read with what is installed, by looking for it alone: nothing is imported."""
    return tuple(suffix for kind in _KINDS if _there(kind) for suffix in kind.suffixes)


def _there(kind: _Kind) -> bool:
    try:
        return find_spec(kind.module) is not None and Version(version(kind.package)) >= Version(kind.least)
    except PackageNotFoundError:
        return False


@cache
def _usable(kind: _Kind) -> bool:
    return _there(kind) and importable(kind.module)


def remedies(suffixes: set[str]) -> list[str]:
    """How files that end so, and cannot be read, could be: a sentence's part for each kind of them."""
    return [
        f"{kind.install} reads {' and '.join(named)}"
        for kind in _KINDS
        if (named := [suffix for suffix in kind.suffixes if suffix in suffixes])
    ]


def opened(file: Path | BytesIO) -> ImageFile.ImageFile | None:
    """A HEIC or AVIF file as an image of Pillow, its pixels not decoded yet; None where it is of another kind.

    A HEIC has the size and the pixels of the upright image; an AVIF those that are stored, and an EXIF orientation that
    says what the container does. Raises `UnreadableImage` where what reads such files is missing, and lets out what
    Pillow's own files do (OSError, SyntaxError, ValueError …) where a file is damaged.
    """
    content = _content(file)
    kind = None if content is None else _kind(content[:_START])
    if content is None or kind is None:
        return None
    if not _usable(kind):
        why = f"{kind.package} from {kind.least} on, which reads that, is not installed or cannot be imported"
        raise UnreadableImage(f"it is {kind.name}, and {why}: {kind.install}")
    try:
        return _avif(content) if kind.name == "AVIF" else _heic(content)
    except RuntimeError as error:  # pillow-heif's word for what libheif has none for
        raise UnreadableImage(f"the file is damaged ({str(error).strip()})") from error


def _content(file: Path | BytesIO) -> bytes | None:
    """All of the file, if its beginning looks like a box of brands: both libraries take a file as a whole."""
    if isinstance(file, BytesIO):
        return file.getvalue()
    with file.open("rb") as stream:
        start = stream.read(_START)
        return start + stream.read() if start[4:8] == b"ftyp" else None


def _kind(start: bytes) -> _Kind | None:
    """By the major brand, else by the first kind that the others name: mif1, which says little, is in both."""
    if start[4:8] != b"ftyp":
        return None
    end = min(int.from_bytes(start[:4], "big"), len(start))
    major, others = start[8:12], {start[at : at + 4] for at in range(16, end, 4)}
    if major not in (b"mif1", b"msf1"):
        for kind in _KINDS:
            if major in kind.brands:
                return kind
    return next((kind for kind in _KINDS if kind.brands & {major, *others}), None)


def _avif(content: bytes) -> ImageFile.ImageFile:
    """Images are decoded by several threads already, so that each takes one: Pillow would start one for every core
    (twice the work for a small photo and 64 of them). It can only be told for all files at once; it is told back.
    """
    from PIL import AvifImagePlugin

    with _ONE_AT_A_TIME:
        before = AvifImagePlugin.DEFAULT_MAX_THREADS
        AvifImagePlugin.DEFAULT_MAX_THREADS = 1
        try:
            return AvifImagePlugin.AvifImageFile(BytesIO(content))
        finally:
            AvifImagePlugin.DEFAULT_MAX_THREADS = before


def _heic(content: bytes) -> ImageFile.ImageFile:
    from pillow_heif import HeifImageFile

    image: ImageFile.ImageFile = HeifImageFile(BytesIO(content))  # type: ignore[no-untyped-call]
    return image
