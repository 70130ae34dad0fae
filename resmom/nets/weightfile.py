"""Files of weights read as named tensors: safetensors, and torch's own without ever running what is pickled in them."""

import argparse
import pickle
import re
import struct
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from resmom.errors import UserError
from resmom.norun import no_weights

_LEGACY = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
"""How torch files of before version 1.6 begin: torch's magic number, pickled."""


_DAMAGE = (
    *(zipfile.BadZipFile, struct.error, RuntimeError, EOFError),
    *(OSError, ValueError, LookupError, AttributeError, TypeError),
)
"""What torch's reader raises, depending on where a file is cut or overwritten."""


class WeightsError(UserError):
    """A file of weights that cannot be used; the message says why and what to do."""


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """All named tensors of a `.safetensors` file, or of a torch file read with `weights_only=True`, on the CPU.

    Dictionaries inside dictionaries are opened and their keys joined by dots: {"state_dict": {"conv1.weight": …}} gives
    "state_dict.conv1.weight". Raises WeightsError where the file is missing, damaged, or holds other things.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        raise WeightsError(no_weights(path))
    if not path.is_file():
        raise WeightsError(f"there is no file of weights at {path}; published ones are named timm:NAME")
    content = _safetensors(path) if path.suffix == ".safetensors" else _torch(path)
    weights = dict(_flat(content))
    if not weights:
        raise WeightsError(f"{path} holds no named tensors; a file of weights is a network's state_dict")
    return weights


def metadata(path: Path) -> dict[str, str]:
    """What a safetensors file says of itself beside its tensors; nothing for other files."""
    try:
        with safe_open(path, "pt") as opened:
            return opened.metadata() or {}
    except (SafetensorError, OSError):
        return {}


def uncompiled(name: str) -> str:
    """A tensor's name without the parts that torch.compile adds where it wraps a module."""
    return ".".join(part for part in name.split(".") if part != "_orig_mod")


def _safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except SafetensorError as error:
        raise WeightsError(f"{path} is damaged or not a safetensors file: {error}") from error


def _torch(path: Path) -> Any:
    with path.open("rb") as file:
        legacy = file.read(len(_LEGACY)) == _LEGACY
    members = set() if legacy else _members(path)
    if not legacy and "data.pkl" not in members:  # as an .npz, which is a zip archive too
        raise WeightsError(
            f"{path} is damaged or not a file of weights: it is neither torch's format nor named .safetensors"
        )
    if "constants.pkl" in members:
        raise WeightsError(f"{path} is a TorchScript program; save its state_dict() alone, best as .safetensors")
    try:
        # Many published files carry their command line; a Namespace is a plain holder of values.
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL ([\w.]+)", str(error))
        if found is None:
            raise WeightsError(f"{path} is damaged or not a file of tensors and plain values alone") from error
        raise WeightsError(
            f"{path} holds pickled objects ({found[1]}), and loading these would run code from the file, which never "
            "happens here. If you trust it, load it where it came from and save the network's state_dict() alone, best "
            "as .safetensors"
        ) from error
    except _DAMAGE as error:
        reason = str(error).strip().split("\n")[0].split(". ")[0]
        raise WeightsError(f"{path} is damaged or not a file of weights: {reason}") from error


def _members(path: Path) -> set[str]:
    """The names of what is in a zip archive, without folders; none of another file."""
    if not zipfile.is_zipfile(path):
        return set()
    try:
        with zipfile.ZipFile(path) as archive:
            return {Path(name).name for name in archive.namelist()}
    except _DAMAGE as error:
        raise WeightsError(f"{path} is damaged or not a file of weights: {error}") from error


def _flat(content: Any, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    if isinstance(content, Tensor) and prefix:
        yield prefix, content.detach()
    elif isinstance(content, Mapping):
        for name, value in content.items():
            if isinstance(name, str):  # an optimiser's state is numbered, and no network
                yield from _flat(value, f"{prefix}.{name}" if prefix else name)
