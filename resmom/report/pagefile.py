"""The file of a page: told from what is not ours, and written whole."""

from pathlib import Path

from resmom.called import called
from resmom.errors import UserError
from resmom.ondisk import write_whole

MARKER = "resmom report 1"
"""Says in the page's head whose file this is."""


class ReportError(UserError):
    """A place where no report may be written; the message says why and what to do."""


def write_page(out: Path, page: str) -> None:
    """Write the page whole or not at all. Raises ReportError for an `out` that is not a report of ours."""
    require_ours(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(out, page)


def require_ours(out: Path) -> None:
    """Raise ReportError for the name of another format, and where something else than an earlier report would be
    overwritten."""
    if out.is_dir():
        raise ReportError(f"{out} is a folder; {called('out')} must be a file, such as {out / 'report.html'}")
    if out.suffix not in ("", ".html", ".htm"):
        raise ReportError(
            f"a report is a page in HTML: {called('out')} must be named so, such as {out.with_suffix('.html')} (a "
            "browser prints it in other formats)"
        )
    if out.exists():
        with out.open("rb") as file:
            if f'content="{MARKER.rpartition(" ")[0]}'.encode() not in file.read(2000):
                raise ReportError(
                    f"{out} exists and is no report of resmom; give another {called('out')}, or move it away"
                )
