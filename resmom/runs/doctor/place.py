"""The place where runs are to be written: room, the right to write, and locks that lock."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from resmom.errors import RunDirError
from resmom.jsonfiles import write_json
from resmom.report.numbers import size
from resmom.rundir import RunDir
from resmom.runs.doctor.finding import Answer, Finding, answer
from resmom.runs.limits import existing

LEAST_DISK = 2**30
"""Bytes below which a run of usual size cannot end: a ResNet-50 writes two checkpoints of half of that, and exports."""
SMALL_DISK = 5 * 2**30


@dataclass(frozen=True)
class Place:
    """`refused` and `unlocked` are the system's words where writing or locking failed, else empty."""

    there: str
    """The place itself, or the nearest folder above it that exists."""
    free: int
    refused: str
    unlocked: str
    exclusive: bool
    """Whether a lock that is held kept a second one away."""
    used: bool = False
    """Whether the place holds a run already."""


def place(out: str) -> Answer:
    """The probe of a folder for runs, or one to be; what it writes there it takes away again."""
    found = _look(Path(out))
    return answer(found, judge_place(found))


def _look(out: Path) -> Place:
    there = out.absolute()
    try:
        there = existing(out)
        free = shutil.disk_usage(there).free
        with TemporaryDirectory(prefix=".resmom-doctor-", dir=there) as made:
            folder = RunDir(Path(made))
            write_json(folder.config, {})
            unlocked, exclusive = _locks(folder)
    except OSError as error:
        return Place(str(there), 0, error.strerror or str(error), "", False)
    return Place(str(there), free, "", unlocked, exclusive, RunDir(out).config.exists())


def _locks(folder: RunDir) -> tuple[str, bool]:
    """Why a folder cannot be locked, and whether a lock on it keeps a second one away."""
    with folder.locked() as unlocked:
        try:
            with folder.locked():
                return unlocked, False
        except RunDirError:
            return "", True


def judge_place(found: Place) -> Iterator[Finding]:
    about = "out"
    if found.refused:
        words = f"nothing can be written to {found.there}: {found.refused}."
        yield Finding(about, "problem", words, "give another --out, or make this one writable")
        return
    if found.unlocked or not found.exclusive:
        why = f"cannot be locked ({found.unlocked})" if found.unlocked else "can be locked twice at once"
        yield Finding(
            about,
            "problem",
            f"files in {found.there} {why}: two processes could write into the same run.",
            "give an --out on a local disk, or mount this one with locks (flock)",
        )
    if found.used:
        again = f"resmom resume {found.there}, or another --out for a new run"
        yield Finding(about, "note", f"{found.there} holds a run already, and no other can be started there.", again)
    words = f"{size(found.free)} are free on the disk of {found.there}"
    remedy = "free some, or give an --out on another disk"
    if found.free < LEAST_DISK:
        yield Finding(about, "problem", f"{words}; a run of usual size writes more than {size(LEAST_DISK)}.", remedy)
    elif found.free < SMALL_DISK:
        keep = "keep few checkpoints (--log.keep-epochs 0)"
        yield Finding(about, "note", f"{words}, which is little for runs of large networks.", f"{remedy}, or {keep}")
    elif not found.unlocked and found.exclusive:
        yield Finding(about, "ok", f"{words}; it can be written to and locked.")
