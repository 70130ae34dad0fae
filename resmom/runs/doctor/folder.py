"""A run folder: can it be continued, and would that be the same run?"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from resmom.errors import RunDirError, UserError
from resmom.jsonfiles import read_lines
from resmom.report.numbers import size
from resmom.rundir import RunDir, run_of, way_back
from resmom.runs.doctor.finding import Answer, Finding, answer, sentence
from resmom.runs.limits import free_disk

WORDS = ("resmom", "commit", "python", "cpu")
"""Of what environment.jsonl says of a start: what bears upon the last bits, packages, threads and GPUs apart."""


@dataclass(frozen=True)
class Folder:
    """A run on disk. Reasons are empty where there is nothing to say."""

    path: str
    refused: str = ""
    """Why it cannot be opened at all."""
    unstarted: bool = False
    """It has a configuration and no checkpoint yet."""
    busy: bool = False
    """Another process works in it."""
    unlocked: str = ""
    """Why it cannot be written to or locked."""
    damaged: str = ""
    """Why its checkpoint cannot be loaded, or that it is gone, or what else of its files cannot be read."""
    own: str = ""
    """Modules of the user's own, which only Python can bring."""
    kept: tuple[str, ...] = ()
    """Kept checkpoints, oldest first."""
    last: str = ""
    """Where the last checkpoint lies, or should."""
    bytes: int = 0
    """Of the last checkpoint."""
    free: int = 0
    """Bytes on its disk."""
    step: int = 0
    steps: int = 0
    changed: tuple[str, ...] = ()
    """What is other now than when the run was started last, in words."""
    attention: tuple[tuple[str, str, str], ...] = ()
    """What looks wrong with the training itself: name, words and remedy of `diagnose/rules.py`."""


def folder(path: str) -> Answer:
    """The probe of a run folder, or one checkpoint of it. Nothing is written."""
    found = _look(Path(path))
    return answer(found, judge_folder(found))


def _look(path: Path) -> Folder:
    try:
        run = run_of(path)
    except RunDirError as error:
        return Folder(str(path), str(error))
    try:
        written, checkpoint = _written(run), path if path.is_file() else run.last
        return _with_checkpoint(run, path, checkpoint, written) if checkpoint.exists() else _without_last(run)
    except UserError as error:
        return Folder(str(path), damaged=str(error))


def _written(run: RunDir) -> dict[str, Any]:
    """What run.json says, if a run can be made of it. Raises RunDirError or ConfigError."""
    from resmom.config import from_json

    written = run.written()
    from_json(written["run"])
    return written


def _without_last(run: RunDir) -> Folder:
    """A run that was stopped before its first step, or that has lost its last checkpoint."""
    kept = tuple(str(file) for file in run.all_kept())
    lost = run.lost()
    return Folder(str(run.path), unstarted=not lost, damaged=lost, kept=kept, last=str(run.last))


def _with_checkpoint(run: RunDir, path: Path, checkpoint: Path, written: dict[str, Any]) -> Folder:
    busy, unlocked = run.held()
    if not (busy or unlocked or os.access(run.path, os.W_OK)):
        unlocked = "it is not writable"
    found = Folder(
        str(path),
        busy=busy,
        unlocked=unlocked,
        own=", ".join(written.get("own", {}).values()),
        kept=tuple(str(file) for file in run.all_kept()),
        last=str(run.last),
        bytes=checkpoint.stat().st_size,
        free=free_disk(run.path),
        changed=_changed(run),
    )
    return replace(found, **_loaded(run, path, checkpoint, bool(found.own)))


def _loaded(run: RunDir, path: Path, checkpoint: Path, own: bool) -> dict[str, Any]:
    """What the checkpoint says. Its networks are built and filled strictly, unless they are the user's own."""
    from resmom.checkpoint import CheckpointError, load_checkpoint
    from resmom.config import ConfigError
    from resmom.diagnose.rules import findings
    from resmom.runs.loaded import load_run

    try:
        content = load_checkpoint(checkpoint) if own else load_run(path, "cpu").content
    except (CheckpointError, ConfigError) as error:
        return {"damaged": str(error)}
    step = int(content["state"]["step"])
    steps = int(content.get("steps", 0))
    wrong = findings(read_lines(run.metrics), steps) if steps else []
    attention = tuple((finding.name, finding.words, finding.remedy) for finding in wrong)
    return {"step": step, "steps": steps, "attention": attention}


def _changed(run: RunDir) -> tuple[str, ...]:
    from resmom.runs.environment import environment, threads_of

    lines = read_lines(run.environment)
    if not lines:
        return ()
    before, now = lines[-1], environment()
    return changes(before, {**now, "threads": threads_of(run.path) or now["threads"]})


def changes(before: dict[str, Any], now: dict[str, Any]) -> tuple[str, ...]:
    """What differs between two lines of environment.jsonl, as far as it bears upon the last bits of a run."""
    told: list[tuple[str, Any, Any]] = [(name, before.get(name), now.get(name)) for name in WORDS]
    packages = before.get("packages", {}), now.get("packages", {})
    told += [(name, packages[0].get(name), packages[1].get(name)) for name in sorted({*packages[0], *packages[1]})]
    told += [("threads", before.get("threads"), now.get("threads"))]
    told += [("GPU", _gpus(before), _gpus(now))]
    return tuple(
        f"{name} {'not there' if then is None else then} (now {'not there' if here is None else here})"
        for name, then, here in told
        if then != here and not (name == "commit" and None in (then, here))
    )


def _gpus(line: dict[str, Any]) -> str:
    return ", ".join(line.get("gpu", [])) or "none"


def judge_folder(found: Folder) -> Iterator[Finding]:
    about = "run"
    if found.unstarted:
        words = f"{found.path} has no checkpoint yet: the run was stopped before its first step."
        yield Finding(about, "note", words, f"resmom resume {found.path} begins it anew")
        return
    if found.refused:
        words = "name a folder that `resmom pretrain` made, or one of its checkpoints"
        yield Finding(about, "problem", sentence(found.refused), words)
        return
    yield from _disk(found)
    if found.damaged:
        yield Finding(about, "problem", sentence(found.damaged), way_back(found.kept, found.last))
        return
    finished = _finished(found)
    words = f"{found.path} is finished" if finished else f"{found.path} is at step {found.step} of {found.steps or '?'}"
    if found.own:
        words += f"; its checkpoint is whole, and only Python can load it, for it has modules of its own ({found.own})"
        yield Finding(about, "note", f"{words}.", "resmom.resume(RUN, backbone=…, method=…), with the same modules")
    elif found.changed and not finished:
        yield Finding(
            about,
            "note",
            f"{words}, and its networks load; since it was last started there changed: {'; '.join(found.changed)}.",
            "resume it all the same, and the result is not bit for bit that of the undisturbed run; for that, go back "
            "to those versions and that machine",
        )
    else:
        yield Finding(about, "ok", f"{words}; its networks load.")
    for name, said, remedy in found.attention:
        yield Finding(about, "note", f"{name}: {said}", remedy)


def _finished(found: Folder) -> bool:
    return found.steps > 0 and found.step == found.steps


def _disk(found: Folder) -> Iterator[Finding]:
    """The lock, the right to write, and room for the next checkpoint."""
    if found.busy:
        words = f"another process is working in {found.path} now; it cannot be resumed meanwhile."
        yield Finding("run", "note", words, "wait for it, or stop it: Ctrl-C saves")
    if found.unlocked and not _finished(found):
        words = f"{found.path} cannot be written to or locked: {found.unlocked}."
        yield Finding("run", "problem", words, "make it writable, or copy it to a local disk, before it is resumed")
    if found.free < 2 * found.bytes and not _finished(found):
        words = f"{size(found.free)} are free on its disk; checkpoints of {size(found.bytes)} and exports are to come."
        yield Finding("run", "problem", words, "free some before it is resumed")
