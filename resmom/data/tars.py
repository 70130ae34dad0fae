"""What lies in tar archives, and reading images there.

An archive is looked through once; of each image its place is kept, and any can be read at any time.
"""

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import final

import numpy as np

from resmom.data.errors import UnreadableData
from resmom.data.folder import SUFFIXES, suffix_of
from resmom.data.rgb import UnreadableImage
from resmom.data.store import Names, Numbers, Store

_LONGEST_CLASS = 1024
"""Bytes of a file with a class."""


@dataclass(frozen=True, slots=True)
class Image:
    """Where an image lies: which archive, bytes there from `start` on; and the class in the file beside it, if any."""

    archive: int
    name: str
    start: int
    length: int
    label: str | None = None


def images_in(root: Path, archives: list[str]) -> tuple[list[Image], list[str]]:
    """All images, and the names of all other files. Of members of one name the last counts, as when it is unpacked.

    Where files that are none belong to one of WebDataset's samples, x.json and x.cls, and x.jpg is its image, what is
    called x.seg.png is none of its own.
    """
    images: list[Image] = []
    others: list[str] = []
    for number, name in enumerate(archives):
        found: dict[str, Image] = {}
        classes: dict[str, str] = {}
        rest: dict[str, None] = {}
        for member, content in _members(root / name):
            suffix = suffix_of(member.name)
            if member.islnk():  # another name of what came before, as tar writes a file that has several
                if suffix in SUFFIXES and (same := found.get(str(PurePosixPath(member.linkname)))):
                    found[member.name] = replace(same, name=member.name)
            elif suffix in SUFFIXES:
                found[member.name] = Image(number, member.name, member.offset_data, member.size)
            elif suffix == ".cls":
                classes[_key(member.name)] = content.decode(errors="replace").strip()
            else:
                rest[member.name] = None
        images += _of_samples(list(found.values()), classes, {_key(member) for member in rest} | classes.keys())
        others += rest
    return images, others


def _of_samples(images: list[Image], classes: dict[str, str], samples: set[str]) -> list[Image]:
    """The images of an archive with their classes; of `samples` that have one of their own name, that one."""
    own = {stem for image in images if (stem := image.name.rpartition(".")[0]) == _key(image.name)} & samples
    left = (image for image in images if _key(image.name) not in own or image.name.rpartition(".")[0] in own)
    return [replace(image, label=classes.get(_key(image.name))) for image in left]


def _members(path: Path) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
    """The files of an archive that are not hidden, further names of these, and of those with a class what they hold.

    Raises `UnreadableData`.
    """
    end = 0
    try:
        with tarfile.open(path, "r:") as tar:
            while (member := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined]  # or all would be kept
                end = tar.offset
                member.name = str(PurePosixPath(member.name))
                if not (member.isreg() or member.islnk()) or member.issparse() or _hidden(member.name):
                    continue
                content = b""
                if member.isreg() and suffix_of(member.name) == ".cls" and member.size <= _LONGEST_CLASS:
                    file = tar.extractfile(member)
                    content = b"" if file is None else file.read()
                yield member, content
    except (tarfile.TarError, OSError, EOFError) as error:
        raise _damaged(path, str(error)) from error
    # A header that is none ends the archive for tarfile, without a word.
    with path.open("rb") as file:
        file.seek(end)
        while block := file.read(2**20):
            if block.strip(b"\0"):
                raise _damaged(path, f"something lies behind its end, at byte {end} or later")


def _hidden(name: str) -> bool:
    return any(part == "__MACOSX" or (part.startswith(".") and part != "..") for part in name.split("/"))


def _damaged(path: Path, reason: str) -> UnreadableData:
    return UnreadableData(
        f"{path} cannot be read as a tar archive ({reason}): it is compressed, damaged, cut short, or several in one "
        "file",
        "Unpack a compressed one (gunzip), copy a damaged one again, or take it away",
    )


def _key(name: str) -> str:
    """What the files of one of WebDataset's samples have in common: the name up to its first dot."""
    folder, slash, base = name.rpartition("/")
    return folder + slash + base.partition(".")[0]


@final
class Archives(Store):
    """Some images in tar archives."""

    sizes = None

    def __init__(self, root: Path, archives: list[str], images: list[Image], shorter_side: int = 0) -> None:
        self.where, self._archives, self.shorter_side = root, archives, shorter_side
        several = len(archives) > 1
        self.names = Names.of(f"{archives[i.archive]}/{i.name}" if several else i.name for i in images)
        self._archive = np.array([image.archive for image in images], dtype=np.int32)
        self._place: Numbers = np.array([(image.start, image.length) for image in images], dtype=np.int64)

    def content(self, at: int, most: int = -1) -> bytes:
        start, length = self._place[at].tolist()
        length = length if most < 0 else min(most, length)
        try:
            # Opened each time: of thousands of archives not all can be open at once.
            with (self.where / self._archives[int(self._archive[at])]).open("rb") as file:
                file.seek(start)
                content = bytes(file.read(length))
        except OSError as error:
            raise UnreadableImage(f"its archive cannot be opened: {error.strerror}") from error
        if len(content) < length:
            raise UnreadableImage("its archive has become shorter")
        return content

    def place_words(self, name: str) -> str:
        if len(self._archives) > 1:  # names begin with that of their archive
            return super().place_words(name)
        return f"; they are looked for in {self.where.absolute() / self._archives[0]}"

    def fingerprint(self, rows: Numbers) -> bytes:
        """The names, and how long the images are."""
        lengths: bytes = self._place[rows, 1].tobytes()
        return self.names.joined(rows) + lengths
