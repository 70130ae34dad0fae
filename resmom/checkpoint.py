"""Checkpoints: written whole or not at all, loaded strictly; tensors and plain values only, never pickled objects."""

import errno
import os
import pickle
import shutil
import struct
import zipfile
from pathlib import Path
from typing import Any

import torch

from resmom.errors import UserError
from resmom.ondisk import flush_folder, replacing

FORMAT = 1

TORN = (RuntimeError, pickle.UnpicklingError, ValueError, LookupError, AttributeError, TypeError, EOFError)
"""What torch's reader, whose unpickler checks little, raises for a pickle with other bytes than were written."""

FULL = 2**20
"""With less free than these bytes a disk is full."""


class CheckpointError(UserError):
    """A checkpoint that cannot be used; the message says why and what to do."""


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write `content` to `path` so that a crash at any moment leaves the old file or the new one, never a part.

    Written beside it under a temporary name, flushed to the disk, then renamed, and the folder flushed too.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        try:
            torch.save({"format": FORMAT, **content}, file)
        except RuntimeError as error:
            if refusal := _refusal(error, path):
                raise refusal from error
            raise
    flush_folder(path.parent)


def _refusal(error: RuntimeError, path: Path) -> OSError | None:
    """What the system refused, where that made torch's writer fail: it goes on even so, and ends with other words."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno:
            return OSError(cause.errno, os.strerror(cause.errno), str(path))
        cause = cause.__context__
    full = shutil.disk_usage(path.parent).free < FULL
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) if full else None


def load_checkpoint(path: Path, device: torch.device | str = "cpu", mapped: bool = False) -> dict[str, Any]:
    """Read a checkpoint. Raises CheckpointError where the file is missing, damaged, or of another format.

    `mapped`: tensors are read when they are looked at, for who wants to know a plain value of it; whether they are
    whole is not looked at then.
    """
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint at {path}")
    if path.suffix == ".safetensors":
        raise CheckpointError(
            f"{path} holds weights alone, as the exports of a run do; name the run folder, or one of its checkpoints"
        )
    _require_archive(path, whole=not mapped)
    try:
        content = torch.load(path, map_location=device, weights_only=True, mmap=mapped)
    except TORN as error:
        raise CheckpointError(f"{path} is damaged or not a resmom checkpoint: {error}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(f"{path} is not a resmom checkpoint of format {FORMAT}")
    return content


def _require_archive(path: Path, whole: bool) -> None:
    """Raise CheckpointError where the file is no zip archive, or, if asked, a part of it fails its checksum.

    torch's older format, which is a bare pickle, is never ours; its reader is not even started. Nor does torch look at
    checksums: it takes whatever bytes stand where the weights are.
    """
    try:
        reason = _flaw(path, whole)
    except OSError as error:
        if error.errno != errno.EINVAL:  # that is the answer to a place in the file that damage made up
            raise
        reason = str(error)
    except (zipfile.BadZipFile, struct.error, *TORN) as error:
        reason = str(error) or type(error).__name__
    if reason:
        raise CheckpointError(f"{path} is damaged or not a resmom checkpoint: {reason}")


def _flaw(path: Path, whole: bool) -> str:
    if not zipfile.is_zipfile(path):
        return "it is no zip archive"
    if not whole:
        return ""
    with zipfile.ZipFile(path) as archive:
        if any(each.compress_type != zipfile.ZIP_STORED for each in archive.infolist()):
            return "it is compressed"
        part = archive.testzip()
    return "" if part is None else f"{part} in it is not what was written"
