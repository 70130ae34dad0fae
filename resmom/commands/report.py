"""resmom report RUN... --out report.html"""

from dataclasses import dataclass
from pathlib import Path

import tyro

from resmom.commands import parse, print_json, say, set_threads
from resmom.errors import UserError

ABOUT = "One page about one or more runs: what happened, health, before against after, curves, comparison, pictures."


@dataclass(frozen=True)
class Arguments:
    runs: tyro.conf.Positional[tuple[Path, ...]]
    """The run folders, and folders of `resmom detect train` and `resmom segment train`."""
    out: Path = Path("report.html")
    """Where to write; an earlier report there is replaced."""
    images: bool = True
    """Show images that the runs were trained on, and test photos with boxes or masks; --no-images leaves out every
    pixel."""
    watch: bool = False
    """Write the page anew while a process works in one of the folders; an open page loads itself. It has pictures when
    the runs have ended. Ctrl-C ends it."""
    every: int | None = None
    """With --watch, seconds between two pages; half a minute by default."""
    threads: int = 0
    """CPU threads; 0 is torch's choice."""
    json: bool = False
    """Print the result as JSON."""


def main(arguments: list[str]) -> int:
    """Write the page, and print where it is."""
    a = parse(Arguments, arguments, "resmom report", ABOUT)
    if not a.runs:
        raise UserError("no run was given; name at least one run folder")
    if a.every is not None and not a.watch:
        raise UserError("--every has no effect without --watch")
    from resmom.runs.reporting.report import report
    from resmom.runs.reporting.watch import EVERY, watch

    set_threads(a.threads)
    every = EVERY if a.every is None else a.every
    written = watch(a.runs, a.out, every, a.images, say) if a.watch else report(a.runs, a.out, a.images, say)
    if a.json:
        print_json({"report": str(written), "bytes": written.stat().st_size})
    else:
        print(written)
    return 0
