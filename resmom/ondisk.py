"""Files and folders that a crash leaves whole: written beside, put in place."""

import errno
import fcntl
import glob
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, BinaryIO

from resmom.called import called
from resmom.errors import RunDirError

NOT_HERE = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOLCK)
"""What disks answer, some in a network above all, that cannot do what is asked of them."""


def lock(file: IO[Any], wait: bool = False) -> str:
    """Lock an open file for this process until it is closed; a killed holder's lock is gone.

    Empty where it is locked, else why its disk has no locks, in the system's words. Raises BlockingIOError where
    another process has it, unless this one shall `wait`.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        if error.errno not in NOT_HERE:
            raise
        return os.strerror(error.errno)
    return ""


def flush(path: Path) -> None:
    """Have a file that was appended to, if it is there, on the disk before whatever is written next."""
    if path.exists():
        with path.open("rb+") as file:
            os.fsync(file.fileno())
        flush_folder(path.parent)


def flush_folder(path: Path) -> None:
    """Have the names in a folder on the disk, where that can be asked for: elsewhere the disk's own order must do."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    except OSError as error:
        if error.errno not in NOT_HERE:
            raise
    finally:
        os.close(folder)


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write in, which takes the place of `path` once it is whole and on the disk.

    A crash leaves the old file or the new one; what fails otherwise leaves nothing beside them, above all no half file
    on a full disk. Every writer has a name of its own, so that several may write the same file: the last one wins.
    """
    _sweep(path)
    draft, file = _draft(path)
    try:
        with naming(path), file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """What the system refuses meanwhile is told with the file's name: a write that fails has none."""
    try:
        yield
    except OSError as error:
        if error.errno is not None:  # else it has words of its own, which a name would hide
            error.filename = error.filename or str(path)
        raise


def _draft(path: Path) -> tuple[Path, BinaryIO]:
    """A new file beside `path`, locked for as long as it is open: who sweeps tells by that that its writer lives."""
    while True:
        draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
        file = draft.open("xb")
        with suppress(OSError):  # a disk without locks, where nothing can be swept
            fcntl.flock(file, fcntl.LOCK_EX)
        if draft.exists():  # else it was swept before it was locked
            return draft, file
        file.close()


def _sweep(path: Path) -> None:
    """Remove what writers of this file that were killed have left."""
    drafts = path.parent.glob(f"{glob.escape(path.name)}.{'[0-9a-f]' * 8}.part")
    for draft in (path.with_name(f"{path.name}.part"), *drafts):  # the first is how earlier versions called theirs
        with suppress(OSError), draft.open("rb+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            draft.unlink()


def require_new_file(path: Path, suffix: str = "") -> None:
    """Raise RunDirError unless `path` ends in `suffix`, where one is given, and is not there yet."""
    if suffix and path.suffix != suffix:
        raise RunDirError(f"{path} must end in {suffix}, the form it is written in")
    if path.exists():
        raise RunDirError(f"{path} is there already; give another {called('out')}, or take it away")


def require_new_folder(path: Path) -> None:
    """Raise RunDirError unless `path` is not there yet, or an empty folder."""
    if path.exists() and not path.is_dir():
        raise RunDirError(f"{path} is a file; give a folder ({called('out')}) that does not exist yet or is empty")
    if path.is_dir() and any(path.iterdir()):
        raise RunDirError(f"{path} holds something already, which is never written over; give another {called('out')}")
    if path.is_dir() and path.samefile(Path.cwd()):
        raise RunDirError(
            f"{path} is the folder that you work in, and {called('out')} is put in place whole; name a folder in it"
        )


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A folder to write in, which becomes `path` (not there yet, or an empty folder) once the block has ended well.

    What fails leaves nothing there. Raises RunDirError as `require_new_folder` does, at the beginning and at the end.
    """
    require_new_folder(path)
    place = path.resolve()
    with draft_beside(place) as draft:
        yield draft
        for folder, _, names in os.walk(draft):
            for name in names:
                with (Path(folder) / name).open("rb+") as file:
                    os.fsync(file.fileno())
            flush_folder(Path(folder))
        require_new_folder(path)
        draft.rename(place)
        flush_folder(place.parent)


@contextmanager
def draft_beside(path: Path) -> Iterator[Path]:
    """A new folder beside `path`, taken away when the block ends: what is whole by then has been moved out of it.

    What a writer that was killed has left there, the next writer of `path` takes away.
    """
    place = path.resolve()
    place.parent.mkdir(parents=True, exist_ok=True)
    _sweep_folders(place)
    draft, held = _draft_folder(place)
    try:
        with naming(place):
            yield draft
    finally:
        os.close(held)
        shutil.rmtree(draft, ignore_errors=True)


def _draft_folder(path: Path) -> tuple[Path, int]:
    """A new folder beside `path`, and what holds its lock, as for `_draft`."""
    while True:
        draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
        draft.mkdir()
        held = os.open(draft, os.O_RDONLY)
        with suppress(OSError):
            fcntl.flock(held, fcntl.LOCK_EX)
        if draft.exists():
            return draft, held
        os.close(held)


def _sweep_folders(path: Path) -> None:
    """As `_sweep`, of folders."""
    for draft in path.parent.glob(f"{glob.escape(path.name)}.{'[0-9a-f]' * 8}.part"):
        with suppress(OSError):
            held = os.open(draft, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(draft)
            finally:
                os.close(held)


def write_whole(path: Path, content: str | bytes) -> None:
    """Replace a file so that a crash leaves the old one or the new one. Text is written as UTF-8."""
    with replacing(path) as file:
        file.write(encoded(content) if isinstance(content, str) else content)


def encoded(text: str) -> bytes:
    """UTF-8, with escapes as JSON has them for what is no text.

    Names of files are bytes on Linux; of those that are not UTF-8 Python makes lone surrogates, which UTF-8 lacks.
    """
    return text.encode(errors="backslashreplace")


def require_writable(path: Path) -> None:
    """Raise OSError, which names the file, where it could be neither written nor added to.

    For asking before the hours that what is written takes. Nothing is changed, and how much room there is stays open.
    """
    try:  # permissions alone say nothing to root, nor of disks that are read only
        with path.open("ab") if path.exists() else tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        error.filename = str(path)
        raise
