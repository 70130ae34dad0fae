"""All images of a place, one by one and by name: what is kept of one is gone when the next comes."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from jaxtyping import UInt8
from torch import Tensor

from resmom.data.errors import DataError
from resmom.data.files import FileSource
from resmom.data.loader import prefetch
from resmom.data.open import open_data, taken_apart
from resmom.data.rgb import UnreadableImage
from resmom.data.source import Data, Source
from resmom.data.store import Files

T = TypeVar("T")


@dataclass(frozen=True)
class Unread:
    """An image that cannot be read, and why."""

    name: str
    reason: str

    def plain(self) -> dict[str, str]:
        """As plain values for JSON, under the names that a run's unreadable.jsonl has."""
        return {"path": self.name, "reason": self.reason}


@dataclass(frozen=True)
class Made(Generic[T]):
    """What was made of an image, the `number`-th of all, counted from 0 over those that cannot be read too."""

    number: int
    name: str
    content: T


class Pictures:
    """The images of all splits, labelled or not, in their order: nothing is decoded before it is asked for."""

    def __init__(self, data: Data) -> None:
        self.passed_over = data.passed_over
        self._parts = _named_parts(data)
        self.channels = data.train.channels
        wholes = {id(source.root): (source.root, start) for source, start in self._parts}
        self.unread = [Unread(f"{start}{n}", why) for whole, start in wholes.values() for n, why in whole.unreadable]
        """What was left out when the images were opened."""

    def __len__(self) -> int:
        return sum(len(source) for source, _ in self._parts)

    @property
    def reduced(self) -> bool:
        """Whether files are decoded at a part of their size, so that their pixels are not those of the file."""
        wholes = [source.root for source, _ in self._parts]
        return any(isinstance(whole, FileSource) and whole.store.shorter_side > 0 for whole in wholes)

    def name(self, number: int) -> str:
        """Its path below the place that was named, where it has one; else its split and its number there."""
        source, at, start = self._at(number)
        return f"{start}{at if (name := source.name_of(at)) is None else name}"

    def pixels(self, number: int) -> UInt8[Tensor, "c h w"]:
        """Raises UnreadableImage."""
        source, at, _ = self._at(number)
        return source.pixels(at)

    def each(self, make: Callable[[UInt8[Tensor, "c h w"]], T], workers: int) -> Iterator[Made[T] | Unread]:
        """What `make` makes of every image, ahead of time by `workers` threads, of few images at a time."""

        def one(number: int) -> Made[T] | Unread:
            name = self.name(number)
            try:
                return Made(number, name, make(self.pixels(number)))
            except UnreadableImage as error:
                return Unread(name, error.reason)

        with prefetch(one, 0, len(self), workers) as made:
            yield from made

    def _at(self, number: int) -> tuple[Source, int, str]:
        for source, start in self._parts:
            if number < len(source):
                return source, number, start
            number -= len(source)
        raise IndexError(number)


def open_pictures(spec: str | Data) -> Pictures:
    """The images of a place, held nowhere. Raises DataError where there are none."""
    return Pictures(open_data(spec, ram_limit=0))


def require_whole(pictures: Pictures, what: str) -> None:
    """Raise DataError for images that are not there in their own size and colours, in which `what` are told."""
    if pictures.reduced:
        raise DataError(
            f"@shorter-side decodes photos at a part of their size, and {what} are told in the pixels of the files; "
            "leave it out"
        )
    if pictures.channels != 3:
        raise DataError(f"the images have {pictures.channels} channel(s), and {what} need colour images; convert them")


def _named_parts(data: Data) -> list[tuple[Source, str]]:
    """Every split, and what stands before the names of its images so that no two images have the same."""
    parts = data.splits
    wholes = {split: source.root for split, source in parts.items()}
    place = Path(taken_apart(data.spec)[0])
    inside = {split: _inside(whole, place) for split, whole in wholes.items()}
    # Parts of one whole, and splits of one list, have names that tell them apart; so have folders in the place.
    alike = len({id(whole) for whole in wholes.values()}) == 1 or _one_folder(list(wholes.values()))
    return [
        (source, inside[split] or ("" if alike and _has_names(source) else f"{split}/"))
        for split, source in parts.items()
    ]


def _has_names(source: Source) -> bool:
    return source.name_of(0) is not None


def _one_folder(wholes: list[Source]) -> bool:
    """Whether the names of all are paths from one folder."""
    stores = [whole.store for whole in wholes if isinstance(whole, FileSource)]
    folders = {store.where for store in stores if isinstance(store, Files)}
    return len(folders) == 1 and len(stores) == len(wholes)


def _inside(source: Source, place: Path) -> str:
    """The folder of the place in which the files lie, if that is in it."""
    if not isinstance(source, FileSource) or not isinstance(source.store, Files):
        return ""
    where = source.store.where  # a split's, which may be a link
    return f"{where.name}/" if where.resolve() != place and where.parent.resolve() == place else ""
