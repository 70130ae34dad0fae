"""A report that is written anew while its runs go on, for a page that stays open."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from resmom.errors import UserError
from resmom.report.contents import Live
from resmom.report.page import page
from resmom.report.pagefile import require_ours, write_page
from resmom.rundir import RunDir
from resmom.runs.reporting.report import Say, gather, sorted_out

EVERY = 30
"""Seconds between two pages, unless others are asked for."""
LEAST = 2
"""Fewest seconds between two pages: of one run, a page takes some tenths of a second of a core."""


def watch(
    paths: Sequence[str | Path],
    out: Path,
    seconds: int = EVERY,
    images: bool = True,
    say: Say = lambda words: None,
    wait: Callable[[float], None] = time.sleep,
) -> Path:
    """Write the report at once, then every so many `seconds` where something new was measured, for as long as a process
    works in any of the folders; then, or at Ctrl-C, the usual one, which is returned.

    Until then it has no pictures: they would take processor time from training, and images are looked at when it is
    over. A run whose folder cannot be locked is taken to go on until it has been exported. Raises as `report` does, and
    UserError for too short a time.
    """
    if seconds < LEAST:
        raise UserError(f"--every is {seconds}; it takes {LEAST} seconds or more, and {EVERY} is usual")
    folders, tuned = sorted_out(paths)
    require_ours(out)
    if out.exists():
        say(f"the report in {out} is replaced")
    watched = [*folders, *map(RunDir, tuned)]
    seen: list[tuple[int, int]] = []
    try:
        if going := [str(run.path) for run in watched if _goes_on(run)]:
            say(f"watching {', '.join(going)}; open {out}. Ctrl-C ends it, and the runs go on")
        while any(_goes_on(run) for run in watched):
            now = _measured(watched)
            if now != seen:
                live = Live(datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC"), seconds)
                write_page(out, page(replace(gather(folders, False, tuned), live=live)))
                seen = now
            wait(seconds)
    except KeyboardInterrupt:
        images = False  # whoever ends it does not wait for pictures
    write_page(out, page(gather(folders, images, tuned, say)))
    return out


def _goes_on(run: RunDir) -> bool:
    held, unknown = run.held()
    return not run.export.exists() if unknown else held


def _measured(watched: Sequence[RunDir]) -> list[tuple[int, int]]:
    """What changes when there is something new to tell: size and time of the files of measurements."""
    files = (path for run in watched for path in sorted((*run.path.glob("*.jsonl"), *run.path.glob("*/*.jsonl"))))
    return [(about.st_size, about.st_mtime_ns) for about in (path.stat() for path in files)]
