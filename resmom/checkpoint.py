"""Checkpoints: written whole or not at all, loaded strictly; tensors and plain values only, never pickled objects."""

import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from resmom.errors import UserError

FORMAT = 1


class CheckpointError(UserError):
    """A checkpoint that cannot be used; the message says why and what to do."""


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write `content` to `path` so that a crash at any moment leaves the old file or the new one, never a part.

    Written beside it under a temporary name, flushed to the disk, then renamed, and the folder flushed too.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(path.name + ".part")
    with draft.open("wb") as file:
        torch.save({"format": FORMAT, **content}, file)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def load_checkpoint(path: Path, device: torch.device | str = "cpu", mapped: bool = False) -> dict[str, Any]:
    """Read a checkpoint. Raises CheckpointError where the file is missing, damaged, or of another format.

    `mapped`: tensors are read when they are looked at, for who wants to know a plain value of it.
    """
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint at {path}")
    # torch's older format, which is a bare pickle, is never ours; its reader is not even started.
    if not zipfile.is_zipfile(path):
        raise CheckpointError(f"{path} is damaged or not a resmom checkpoint: it is no zip archive")
    try:
        content = torch.load(path, map_location=device, weights_only=True, mmap=mapped)
    except (RuntimeError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"{path} is damaged or not a resmom checkpoint: {error}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(f"{path} is not a resmom checkpoint of format {FORMAT}")
    return content
