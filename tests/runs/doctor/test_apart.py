"""Probes that raise, crash and hang: each is told of, and the next one is asked all the same."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from resmom.runs.doctor.apart import Apart, Failure
from resmom.runs.doctor.examine import Question, examine, questions
from resmom.runs.doctor.finding import Answer
from resmom.runs.doctor.probes import PROBES

ILL = "tests.runs.doctor.ill"


@pytest.fixture
def apart() -> Iterator[Apart]:
    with Apart(ILL) as asked:
        yield asked


def test_an_answer_comes_from_another_process_that_stays(apart: Apart) -> None:
    first, second = apart.ask("well", ["ä", "b"]), apart.ask("well", ["c"])
    assert isinstance(first, Answer) and isinstance(second, Answer)
    assert (first.findings[0].words, second.findings[0].words) == ("ä b", "c")
    assert first.facts["process"] == second.facts["process"] != os.getpid()
    assert set(filter(None, sys.path)) <= set(first.facts["path"])  # it sees our packages


def test_what_is_told_is_in_the_words_of_who_types(tmp_path: Path) -> None:
    (tmp_path / "0.png").touch()
    with Apart("resmom.runs.doctor.probes") as asked:
        told = asked.ask("folder", [str(tmp_path)])
    assert isinstance(told, Answer) and told.findings[0].words.endswith(f"images are named with --data {tmp_path}.")


def test_an_exception_is_named_in_one_line(apart: Apart) -> None:
    told = apart.ask("raises")
    assert isinstance(told, Failure) and not told.late
    assert told.words.startswith("OddError: libfoo.so.13: cannot open shared object file xxx")
    assert len(told.words) < 450 and "\n" not in told.words


@pytest.mark.parametrize(
    ("number", "words"), [(signal.SIGILL, "Illegal instruction"), (signal.SIGKILL, "Killed"), (signal.SIGSEGV, "fault")]
)
def test_a_crash_is_named(apart: Apart, number: signal.Signals, words: str) -> None:
    told = apart.ask("dies", [str(int(number))])
    assert isinstance(told, Failure) and "signal" in told.words and words in told.words


def test_a_process_that_ends_by_itself_has_last_words(apart: Apart) -> None:
    assert apart.ask("exits") == Failure("goodbye")
    with Apart("tests.runs.doctor.nowhere") as none:
        told = none.ask("well")
    assert isinstance(told, Failure) and "No module named" in told.words


def test_one_that_hangs_is_ended(apart: Apart) -> None:
    told = apart.ask("hangs", seconds=0.5)
    assert told == Failure("there was no answer within 0.5 s", late=True)


@pytest.mark.slow
def test_after_every_failure_the_next_is_answered(apart: Apart) -> None:
    for probe, arguments in (("raises", []), ("dies", ["9"]), ("exits", []), ("hangs", [])):
        assert isinstance(apart.ask(probe, arguments, seconds=5.0 if probe != "hangs" else 0.2), Failure)
        assert isinstance(apart.ask("well"), Answer)


def findings(*asked: Question) -> dict[str, tuple[str, str, str]]:
    told = [finding for _, answer in examine(list(asked), ILL) for finding in answer.findings]
    return {finding.about: (finding.state, finding.words, finding.remedy) for finding in told}


def test_a_failure_is_a_finding_and_what_needs_it_is_not_asked() -> None:
    told = findings(
        Question("bad", "raises", "repair it"),
        Question("on it", "well", "-", needs=("bad",)),
        Question("on that", "well", "-", needs=("on it",)),
        Question("apart", "well", "-", ("x",)),
    )
    assert told["bad"][0] == "problem" and "OddError" in told["bad"][1] and told["bad"][2] == "repair it"
    assert told["rest"][0] == "note" and "on it, on that" in told["rest"][1]
    assert told["well"] == ("ok", "x", "")


def test_what_was_refused_is_not_looked_into() -> None:
    told = findings(Question("refuses", "refuses", "-"), Question("more", "well", "-", needs=("refuses",)))
    assert told["refuses"][0] == "problem" and not {"well", "rest"} & told.keys()


def test_late_is_a_problem_only_where_it_need_not_take_long() -> None:
    slow = findings(Question("data", "hangs", "wait", seconds=0.2, slow="it reads a lot"))["data"]
    assert slow[0] == "note" and "it reads a lot" in slow[1]
    assert findings(Question("driver", "hangs", "start anew", seconds=0.2))["driver"][0] == "problem"
    assert findings(Question("data", "raises", "repair", slow="it reads a lot"))["data"][0] == "problem"


def test_every_device_is_asked_and_one_that_crashes_spares_the_others() -> None:
    told = findings(Question("devices", "devices", "-"))
    assert told["well"][:2] == ("ok", "cpu")
    assert told["cuda:0"][0] == "problem" and "signal" in told["cuda:0"][1]


def test_every_question_has_its_probe_and_needs_what_is_asked_before() -> None:
    from pathlib import Path

    asked = questions(Path("run"), Path("out"), "photos")
    known: set[str] = set()
    for question in asked:
        assert question.probe in PROBES and question.remedy
        assert set(question.needs) <= known
        known.add(question.name)
    assert {"out", "data", "run", "run's data"} <= known
    assert not {"out", "data", "run", "run's data"} & {question.name for question in questions()}


def test_on_a_system_without_fcntl_that_is_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.system", lambda: "Windows")
    (told,) = examine(questions(), ILL)
    assert told[0] == "system" and told[1].findings[0].state == "problem"
