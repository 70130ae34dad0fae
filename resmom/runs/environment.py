"""What a result depends on besides its configuration: versions, commit, machine."""

import contextlib
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from itertools import groupby
from pathlib import Path
from typing import Any

import torch

from resmom import dist
from resmom.jsonfiles import read_lines
from resmom.rundir import RunDir
from resmom.runs.machine import Compile, Logger, cpu_model
from resmom.runs.settling.facts import fast_bf16
from resmom.version import VERSION

COMMIT = "RESMOM_COMMIT"
"""Variable of the environment that tells the commit where the sources lie without their history."""
HOMES = ("home", "Users")
"""Folders in which people's home folders lie."""


def environment() -> dict[str, Any]:
    """One line for the run folder: when, what command, which versions, which machine."""
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": sys.argv,
        "resmom": VERSION,
        "commit": _commit(),
        "python": platform.python_version(),
        "packages": _versions(),
        "platform": platform.platform(),
        "cpu": cpu_model(),
        "instructions": _instructions(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        **_cuda(),
        "world": dist.world(),
    }


def machine_of(about: Mapping[str, Any]) -> str:
    """What something was run on, in words, of what `environment` told there."""
    threads = about.get("threads", 1)
    return ", ".join(about["gpu"]) or f"{about['cpu']}, {threads} thread{'s' * (threads != 1)}"


def shareable(about: dict[str, Any]) -> dict[str, Any]:
    """What `environment` told, for files that are passed on: of the command's paths the last parts."""
    return {**about, "command": [last_part(word) for word in about["command"]]}


def last_part(word: str) -> str:
    """One word of a command, or one place, cut to the last part of its path, spaces and all; an option stays before it.

    Where that part would be somebody's home folder, it is told as one.
    """
    option, sign, place = word.partition("=")
    if not option.startswith("--") or "/" in option:
        option, sign, place = "", "", word
    parts = place.rstrip("/").split("/")
    name = "~" if len(parts) > 2 and parts[-2] in HOMES else parts[-1]
    return option + sign + (name or place)


def without_folders(words: str, *known: str) -> str:
    """Paths cut to their last part: what is passed on (a report, a result file) need not tell a home folder.

    Nor whose home it is, where that folder itself is meant. Where a path with spaces begins and ends nobody can tell,
    so those that the words may speak of are given as `known`.
    """
    return re.sub(r"\S*/(?=\S)", "", _without_homes(words, known))


def prose_without_folders(words: str, *known: str) -> str:
    """As `without_folders`, in words that may have a stroke of their own, such as 512/128 and docs/health.md: only what
    begins as a path does, by a stroke or a dot or ~ before it, is cut."""
    return re.sub(r"(?<![\w./~])(?:~|\.{1,2})?/(?:\S*/)?(?=\S)", "", _without_homes(words, known))


def _without_homes(words: str, known: Iterable[str]) -> str:
    for folder in _above(known):
        words = re.sub(rf"(?<![\w./-]){re.escape(str(folder))}/(?=\S)", "", words)
        if folder.parent.name in HOMES:
            words = re.sub(rf"{re.escape(str(folder))}\b", "~", words)
    return re.sub(rf"\S*/({'|'.join(HOMES)})/[^/\s]+/?(?!\S)", "~", words)


def _above(paths: Iterable[str]) -> list[Path]:
    """These paths and the folders above them, the deepest first, but not those in which home folders lie."""
    given = [Path(path) for path in paths if path]
    found = {folder for path in given for each in (path, path.resolve()) for folder in (each, *each.parents)}
    return sorted((folder for folder in found if folder.name not in ("", *HOMES)), key=lambda f: -len(str(f)))


def threads_of(run: Path) -> int:
    """CPU threads of one operation that a run began with; 0 where not known, or more than this machine has cores."""
    began = next(iter(read_lines(RunDir(run).environment)), {})
    threads = int(began.get("threads", 0))
    return threads if threads <= (os.cpu_count() or 1) else 0


def compile_asked(run: Path) -> Compile:
    """How a run's backbones were last asked to be compiled; "no" where that is not known."""
    last = next(iter(read_lines(RunDir(run).environment)[-1:]), {})
    how: Compile = last.get("compile_asked", last.get("compile", "no"))
    return how


def logged_to(run: Path) -> tuple[Logger, ...]:
    """What a run was last asked to log to beside its own file (`--log-to`)."""
    known: list[list[Logger]] = [line["log_to"] for line in read_lines(RunDir(run).environment) if "log_to" in line]
    return tuple(known[-1]) if known else ()


def compile_used(run: Path) -> str:
    """How a run's backbones were compiled, start by start: "no", "graphs", or "graphs, then no"."""
    starts = [line.get("compile", "no") for line in read_lines(RunDir(run).environment)]
    return ", then ".join(how for how, _ in groupby(starts)) or "no"


def _instructions() -> str:
    """The widest instructions that torch uses on this CPU, by which its rounding differs; "bf16" where it has that."""
    bf16 = " with bf16" if fast_bf16(torch.device("cpu")) else ""
    return torch.backends.cpu.get_cpu_capability() + bf16


def _cuda() -> dict[str, Any]:
    """What numbers and speeds on a GPU depend on; nothing without one.

    `tf32`: whether float32 may be rounded to TF32, in convolutions and in matrix products.
    """
    if not torch.cuda.is_available():
        return {}
    tf32 = {"convolutions": torch.backends.cudnn.allow_tf32, "products": torch.backends.cuda.matmul.allow_tf32}
    return {"cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version(), "tf32": tf32}  # type: ignore[no-untyped-call]


def _versions() -> dict[str, str]:
    """Versions of the packages that make numbers; those of extras only where they are installed."""
    names = ("torch", "torchvision", "timm", "numpy", "pillow", "numba", "simplejpeg", "pillow-heif")
    found = {}
    for name in names:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _commit() -> str | None:
    """The commit of the source tree the package is run from, with + if it was changed; outside a tree what the variable
    `COMMIT` says, or None."""
    tree = Path(__file__).parents[2]
    if not (tree / ".git").exists():
        return os.environ.get(COMMIT) or None
    try:
        commit = subprocess.run(
            ["git", "-C", str(tree), "describe", "--always", "--dirty=+", "--abbrev=12"],
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return commit.stdout.strip()
