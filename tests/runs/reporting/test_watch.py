"""A report that is written anew while a run goes on, and is the usual one when that has ended."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from resmom.errors import RunDirError, UserError
from resmom.jsonfiles import append_line
from resmom.report.pagefile import ReportError
from resmom.rundir import RunDir
from resmom.runs.reporting.report import report
from resmom.runs.reporting.watch import watch
from tests.conftest import Call
from tests.runs.reporting.test_report import LINES, data, write

__all__ = ["data"]  # a fixture

RELOADS = "location.reload"


class Times:
    """What happens between two looks at the runs, time by time; after the last no more may come."""

    def __init__(self, *what: Callable[[], object]) -> None:
        self._what, self.waited = list(what), list[float]()

    def __call__(self, seconds: float) -> None:
        self.waited.append(seconds)
        self._what.pop(0)()


@pytest.fixture
def run(tmp_path: Path, data: Path) -> RunDir:
    """A run at its fifth step of ten."""
    return RunDir(write(tmp_path / "run", data, lines=LINES[:3]))


@pytest.mark.slow
def test_a_page_follows_a_run_and_ends_with_it(run: RunDir, tmp_path: Path) -> None:
    out, seen, said = tmp_path / "pages/live.html", list[str](), list[str]()
    lock = run.locked()

    def look() -> None:
        seen.append(out.read_text())

    def grow() -> None:
        look()
        for line in LINES[3:]:
            append_line(run.metrics, line)

    def end() -> None:
        look()
        lock.__exit__(None, None, None)

    lock.__enter__()
    times = Times(look, grow, end)
    assert watch([run.path], out, 7, say=said.append, wait=times) == out
    assert times.waited == [7, 7, 7] and said[0].startswith(f"watching {run.path}; open {out}")
    assert seen[0] == seen[1] != seen[2]  # where nothing is new, nothing is written
    for page in seen:
        assert RELOADS in page and 'content="7"' in page and "loads itself anew every 7 seconds" in page
        assert 'id="pictures"' not in page
    assert "step 5 of 10" in seen[0] and "step 5 of 10" not in seen[2]
    last = out.read_text()
    assert RELOADS not in last and "loads itself" not in last and 'id="pictures"' in last
    report(run.path, tmp_path / "usual.html")
    assert (tmp_path / "usual.html").read_text() == last


@pytest.mark.slow
def test_ctrl_c_leaves_a_page_that_does_not_load_itself(run: RunDir, tmp_path: Path) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    out, said = tmp_path / "live.html", list[str]()
    report(run.path, out, images=False)
    usual = out.read_text()
    with run.locked():
        assert watch([run.path], out, say=said.append, wait=Times(interrupt)) == out
    assert out.read_text() == usual and said[0] == f"the report in {out} is replaced"


@pytest.mark.slow
def test_a_run_that_nobody_works_in_is_told_of_once(call: Call, run: RunDir, tmp_path: Path) -> None:
    status, out, err = call("report", run.path, "--watch", "--no-images", "--out", tmp_path / "live.html")
    assert (status, out, err) == (0, f"{tmp_path / 'live.html'}\n", "")
    assert RELOADS not in (tmp_path / "live.html").read_text()
    assert not (run.path / "lock").exists()  # to look leaves nothing


@pytest.mark.slow
def test_where_there_are_no_locks_a_run_goes_on_until_it_is_exported(
    run: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RunDir, "held", lambda run: (False, "No locks available"))
    times = Times(lambda: None, lambda: run.export.mkdir())
    watch([run.path], tmp_path / "live.html", images=False, wait=times)
    assert len(times.waited) == 2


def test_whether_a_process_works_in_a_folder(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_only(file: object) -> str:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    assert run.held() == (False, "")
    with run.locked():
        assert run.held() == (True, "")
    assert run.held() == (False, "")
    monkeypatch.setattr("resmom.rundir.lock", lambda file: "no locks available")
    assert run.held() == (False, "no locks available")
    monkeypatch.setattr("resmom.rundir.lock", read_only)
    assert run.held() == (False, os.strerror(errno.EROFS))


def test_what_cannot_be_watched_is_told(call: Call, run: RunDir, tmp_path: Path) -> None:
    (tmp_path / "notes.html").write_text("mine")
    wrong: list[tuple[type[UserError], str, Any, int]] = [
        (UserError, "--every is 1; it takes 2 seconds or more", tmp_path / "live.html", 1),
        (ReportError, "exists and is no report of resmom", tmp_path / "notes.html", 30),
    ]
    for kind, words, out, seconds in wrong:
        with pytest.raises(kind, match=words):
            watch([run.path], out, seconds)
    with pytest.raises(RunDirError, match="is not a run folder"):
        watch([tmp_path], tmp_path / "live.html")
    status, out, err = call("report", run.path, "--every", 5)
    assert (status, out) == (2, "") and "--every has no effect without --watch" in err
    assert not (tmp_path / "live.html").exists()
