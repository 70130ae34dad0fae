"""One word or path, as a user writes it after `--data`, to images."""

import difflib
import re
from dataclasses import replace
from pathlib import Path

from resmom.data.arrays import open_arrays
from resmom.data.files import RAM_LIMIT
from resmom.data.folder import open_folder
from resmom.data.named import NAMES, open_named
from resmom.data.packed import is_pack, open_pack
from resmom.data.source import Data, DataError
from resmom.data.split import held_out

HELD = re.compile(r"(?P<images>.+)@held-out=(?P<fraction>[^@/]*)")
"""How a part of the training images is named that is tested on instead of the test split."""


def open_data(spec: str | Path, ram_limit: int = RAM_LIMIT, download: bool = True) -> Data:
    """What `spec` stands for: a folder of images, a pack of one, an `.npz` file, or `cifar10`, `cifar100`, `stl10`.

    A name may be followed by the folder to look in and download to, as in `cifar100:/data`. A name goes before a folder
    called alike; write `./cifar10` for that. With `@held-out=0.1` behind it, a stratified tenth of the training images
    is tested on and not trained on, and the test split is left alone. `ram_limit`: decoded bytes up to which a folder's
    split is held in RAM. `download`: whether a public data set that is not there is fetched.

    Raises `DataError` if there is no such thing or it cannot be used; see `open_folder`, `open_pack`, `open_arrays`,
    `open_named`, `held_out`.
    """
    # A path is no name, even where it looks like one.
    again = absolute(spec if isinstance(spec, str) else str(spec.expanduser().absolute()))
    return replace(_opened(spec, ram_limit, download), spec=again)


def _opened(spec: str | Path, ram_limit: int, download: bool) -> Data:
    if part := HELD.fullmatch(str(spec)):
        return held_out(_opened(part["images"], ram_limit, download), _fraction(str(spec), part["fraction"]))
    if isinstance(spec, str):
        name, colon, root = spec.partition(":")
        if name in NAMES:
            return open_named(name, Path(root).expanduser() if colon and root else None, download)
    path = Path(spec).expanduser()
    if path.is_dir() and is_pack(path):
        return open_pack(path, ram_limit)
    if path.is_dir():
        return open_folder(path, ram_limit)
    if path.is_file() and path.suffix.lower() == ".npz":
        return open_arrays(path)
    raise DataError(_unknown(str(spec), path))


def absolute(spec: str) -> str:
    """The same data named so that it is found from any working directory; what is not a path stays as it is."""
    if part := HELD.fullmatch(spec):
        return f"{absolute(part['images'])}@held-out={part['fraction']}"
    name, colon, root = spec.partition(":")
    if name in NAMES:
        return f"{name}:{Path(root).expanduser().resolve()}" if colon and root else spec
    path = Path(spec).expanduser()
    return str(path.resolve()) if path.exists() else spec


def _fraction(spec: str, text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise DataError(f"{spec}: '{text}' is no share of the images; write @held-out=0.1 for a tenth") from error


def _unknown(spec: str, path: Path) -> str:
    near = difflib.get_close_matches(spec.partition(":")[0].lower(), NAMES, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    what = "is a file, but not an .npz file" if path.exists() else "does not exist"
    return (
        f"{spec} {what}. Data is a folder of images, an .npz file with train_images, or one of {', '.join(NAMES)} "
        f"(NAME, or NAME:FOLDER to say where the files are).{hint}"
    )
