"""What is being done while a run is made ready: told where somebody waits long, and by no thread that stays."""

import io
import threading
import time
from collections.abc import Callable

import pytest
from rich.console import Console

from resmom.runs import underway
from resmom.runs.underway import Underway


def until(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + 30
    while not condition() and time.monotonic() < end:
        time.sleep(0.005)
    return condition()


def ours() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "underway"]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], io.StringIO]:
    """Standard error, a terminal or not."""

    def made(terminal: bool) -> io.StringIO:
        text = io.StringIO()
        monkeypatch.setattr(underway, "Console", lambda **_: Console(file=text, force_terminal=terminal, width=200))
        return text

    return made


def test_what_takes_long_is_told_again_and_again(
    told: Callable[[bool], io.StringIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(underway, "PLAIN_SECONDS", 0.01)
    text = told(False)
    with Underway() as work:
        assert len(ours()) == 1
        time.sleep(0.03)  # nobody has said what is being done
        work.say("a line [that stays]")
        work.now("building")
        assert until(lambda: text.getvalue().count("building\n") >= 2)
        work.now("measuring")
        assert until(lambda: "measuring\n" in text.getvalue())
        assert work.words == "measuring"
    work._doing = ("building", time.monotonic() - 12)
    assert work.words == "building, 12 s so far"
    assert not ours() and text.getvalue().startswith("a line [that stays]\nbuilding\n")


def test_on_a_terminal_it_is_one_line_that_goes(told: Callable[[bool], io.StringIO]) -> None:
    text = told(True)
    with Underway() as work:
        work.now("building")
        assert until(lambda: "building" in text.getvalue()) and not ours()
    *_, last = text.getvalue().split("building")
    assert "\x1b[2K" in last, "the line is cleared"


def test_what_is_done_soon_has_no_line_and_who_is_quiet_has_none(
    told: Callable[[bool], io.StringIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = told(False)
    with Underway() as work:
        work.now("building")
    monkeypatch.setattr(underway, "PLAIN_SECONDS", 0.001)
    with Underway(quiet=True) as work:
        work.now("building")
        work.say("a line")
        assert not ours()
    assert text.getvalue() == ""


def test_a_stop_ends_the_thread(told: Callable[[bool], io.StringIO]) -> None:
    told(False)
    with pytest.raises(KeyboardInterrupt), Underway() as work:
        work.now("building")
        raise KeyboardInterrupt
    assert not ours() and work.words == "building"
