"""One word or path, as a user writes it after `--data`, to images."""

import difflib
import re
from dataclasses import replace
from pathlib import Path, PurePath

from resmom.data.archives import COMPRESSED, archives_among, archives_named, open_archives
from resmom.data.arrays import open_arrays
from resmom.data.errors import DataError
from resmom.data.files import RAM_LIMIT
from resmom.data.folder import files_below, images_among, open_folder, suffix_of
from resmom.data.huggingface import SUFFIX as PARQUET
from resmom.data.huggingface import is_saved, open_parquet, open_saved
from resmom.data.jpeg import LEAST_SIDE
from resmom.data.lists import SUFFIXES as LISTS
from resmom.data.lists import open_list
from resmom.data.named import NAMES, open_named
from resmom.data.packed import is_pack, open_pack
from resmom.data.source import Data
from resmom.data.split import held_out
from resmom.norun import PICTURES

_MODIFIER = re.compile(r"(?P<place>.+)@(?P<name>held-out|shorter-side)=(?P<value>[^@/]*)")
"""What may stand behind the images, as often as one likes: another split, smaller photos."""


def open_data(spec: str | Path | Data, ram_limit: int = RAM_LIMIT, download: bool = True, threads: int = 0) -> Data:
    """What `spec` stands for: a folder of images, a pack of one, tar archives (one, a folder of them, or a row such as
    `train-{000..127}.tar`), a list of images (`.txt`, `.csv`, `.tsv`), Hugging Face's parquet files or a Dataset that
    it saved, an `.npz` file, or `cifar10`, `cifar100`, `stl10`. Images that are open already
    are returned as they are.

    A name may be followed by the folder to look in and download to, as in `cifar100:/data`. A name goes before a folder
    called alike; write `./cifar10` for that. With `@held-out=0.1` behind it, a stratified tenth of the training images
    is tested on and not trained on, and the test split is left alone. With `@shorter-side=448`, JPEGs in
    files are decoded at 1/2, 1/4 or 1/8 of their size as long as the shorter side keeps 448 pixels, see `decode`.
    `ram_limit`: decoded bytes up to which a split of files is held in RAM. `download`: whether a public data set that
    is not there is fetched. `threads`: those that read what there is of files, see `FileSource`; 0: as many as pay.

    Raises `DataError` if there is no such thing or it cannot be used; see `open_folder`, `open_pack`, `open_archives`,
    `open_list`, `open_parquet`, `open_saved`, `open_arrays`, `open_named`, `held_out`.
    """
    if isinstance(spec, Data):
        return spec
    if spec == "":  # as a path it would be the working directory
        raise DataError(
            "the name of the data is empty; give a folder of images, a tar archive, an .npz file, or "
            f"{', '.join(NAMES)}"
        )
    # A path is no name, even where it looks like one.
    again = absolute(spec if isinstance(spec, str) else str(spec.expanduser().absolute()))
    place, modifiers = taken_apart(str(spec))
    fractions = [_fraction(value) for name, value in modifiers if name == "held-out"]
    sides = [_side(value) for name, value in modifiers if name == "shorter-side"]
    if len(sides) > 1:
        raise DataError(f"{spec} has @shorter-side {len(sides)} times; give it once")
    data = _opened(place if isinstance(spec, str) else Path(place), ram_limit, sum(sides), download, threads)
    for fraction in fractions:
        data = held_out(data, fraction)
    return replace(data, spec=again)


def _opened(place: str | Path, ram_limit: int, shorter_side: int, download: bool, threads: int) -> Data:
    if isinstance(place, str):
        name, colon, root = place.partition(":")
        if name in NAMES:
            _require_whole(place, shorter_side)
            _require_known(place, Path(root).expanduser(), "=")  # a folder to download to need not be there
            return open_named(name, Path(root).expanduser() if colon and root else None, download)
    path = Path(place).expanduser()
    if path.is_dir() and is_pack(path):
        _require_whole(str(place), shorter_side, packed=True)
        return open_pack(path, ram_limit, threads)
    if path.is_dir() and is_saved(path):
        return open_saved(path, ram_limit, shorter_side, threads)
    if path.is_dir():
        found = files_below(path)
        archives = archives_among(found)
        if not images_among(found):
            if archives:
                return open_archives(path, archives, ram_limit, shorter_side, threads)
            if tables := [name for name in found if suffix_of(name) == PARQUET]:
                return open_parquet(path, tables, ram_limit, shorter_side, threads)
        data = open_folder(path, ram_limit, shorter_side, found, threads)
        beside = f"{len(archives)} tar archives (they are read where no image file lies beside them)"
        return replace(data, not_read="; ".join(filter(None, (data.not_read, beside if archives else ""))))
    if archives := archives_named(path):
        return open_archives(path.parent, archives, ram_limit, shorter_side, threads)
    if path.is_file() and path.suffix.lower() == PARQUET:
        return open_parquet(path.parent, [path.name], ram_limit, shorter_side, threads)
    if path.is_file() and path.suffix.lower() in LISTS:
        return open_list(path, ram_limit, shorter_side, threads)
    if path.is_file() and path.suffix.lower() == ".npz":
        _require_whole(str(place), shorter_side)
        return open_arrays(path)
    _require_known(str(place), path)
    raise DataError(_unknown(str(place), path))


def absolute(spec: str) -> str:
    """The same data named so that it is found from any working directory; what is not a path stays as it is."""
    place, modifiers = taken_apart(spec)
    name, colon, root = place.partition(":")
    if name in NAMES:
        place = f"{name}:{Path(root).expanduser().resolve()}" if colon and root else place
    else:
        path = Path(place).expanduser()
        place = str(path.resolve()) if path.exists() or archives_named(path) else place
    return place + "".join(f"@{name}={value}" for name, value in modifiers)


def short_name(spec: str) -> str:
    """The data in a word that may be passed on: a path's last part, or the data set's name, and what stands behind it.

    Where that part would be somebody's home folder, it is told as one.
    """
    place, modifiers = taken_apart(spec)
    name = place.partition(":")[0]
    if name not in NAMES:
        path = PurePath(place)
        at_home = path.parent.as_posix() in ("/home", "/Users") or path == Path.home()
        name = "a home folder" if at_home else path.name or place
    return name + "".join(f"@{option}={value}" for option, value in modifiers)


def taken_apart(spec: str) -> tuple[str, list[tuple[str, str]]]:
    """The place, and (name, value) of the modifiers behind it, from left to right."""
    modifiers: list[tuple[str, str]] = []
    while part := _MODIFIER.fullmatch(spec):
        modifiers.insert(0, (part["name"], part["value"]))
        spec = part["place"]
    return spec, modifiers


def _fraction(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise DataError(f"@held-out: '{text}' is no share of the images; write @held-out=0.1 for a tenth") from error


def _side(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) >= LEAST_SIDE):
        raise DataError(
            f"@shorter-side: '{text}' is no number of pixels; write a whole number from {LEAST_SIDE} up, as in "
            "@shorter-side=448: twice the side of the views"
        )
    return int(text)


def _require_whole(place: str, shorter_side: int, packed: bool = False) -> None:
    if shorter_side:
        what = "a pack, whose sizes are fixed" if packed else "arrays, with nothing to decode"
        other = f", or pack the folder once more with --side {shorter_side}" if packed else ""
        raise DataError(
            f"@shorter-side={shorter_side} decodes JPEG files smaller, and {place} is {what}; leave it out{other}"
        )


def _require_known(place: str, path: Path, sign: str = "@") -> None:
    """Raise DataError where a place that is not there ends in something that could only be meant as a modifier."""
    _, at, modifier = path.name.rpartition("@")
    if at and sign in at + modifier and not path.exists():
        raise DataError(
            f"{place} does not exist, and @{modifier} is nothing that may stand behind images: that is @held-out=0.1, "
            "the share of the training images to test on, and @shorter-side=448, the pixels that a JPEG's shorter side "
            "keeps when it is decoded"
        )


def _unknown(spec: str, path: Path) -> str:
    if spec == "digits":
        return (
            "there is no data set 'digits'; `resmom demo --out OUT` draws its digits to OUT/images: --data OUT/images"
        )
    near = difflib.get_close_matches(spec.partition(":")[0].lower(), NAMES, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    what = "is a file of none of these kinds" if path.exists() else "does not exist"
    if path.is_file() and suffix_of(path.name) in PICTURES:
        what = f"is one image; name the folder of all of them, such as {path.parent}"
    if len(places := spec.split(",")) > 1 and all(Path(each).exists() for each in places):
        what = "names several places, and images are in one: a folder with a link to each of these, say"
    if path.is_file() and path.suffix.lower() in COMPRESSED:
        what = "is compressed, so that no image in it can be read by itself: unpack it (a .tar.gz by gunzip)"
    return (
        f"{spec} {what}. Data is a folder of images or of tar archives, a tar archive, a list of images (.txt, .csv or "
        f".tsv), a .parquet file, an .npz file with train_images, or one of {', '.join(NAMES)} "
        f"(NAME, or NAME:FOLDER to say where the files are).{hint}"
    )
