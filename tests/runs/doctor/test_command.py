"""resmom doctor as it is called: words, JSON, exit status; help without torch."""

import functools
import json
import subprocess
import sys
from pathlib import Path

import pytest

from resmom.commands import doctor
from resmom.runs.doctor.examine import Question, examine, questions
from resmom.runs.doctor.finding import Finding
from tests.conftest import Call
from tests.runs.doctor.test_apart import ILL

WELL, BAD = Question("well", "well", "-", ("it is fine.",)), Question("bad", "raises", "repair it")


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(doctor, "examine", functools.partial(examine, answering=ILL))
    return monkeypatch


def test_words_and_status(ask: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    ask.setattr(doctor, "questions", lambda *_: [WELL])
    assert doctor.main([]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[-2:] == ["ok       well          it is fine.", "ready, 0 notes"]
    ask.setattr(doctor, "questions", lambda *_: [BAD, WELL])
    assert doctor.main([]) == 1
    told = capsys.readouterr().out.splitlines()
    assert told[-1] == "1 problem, 0 notes" and told[1].startswith("problem  bad           OddError: libfoo")
    assert "                    -> repair it" in told


def test_json(ask: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    ask.setattr(doctor, "questions", lambda *_: [WELL, BAD])
    assert doctor.main(["--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["ready"] is False and "OddError" in told["facts"]["bad"]["failed"]
    assert [(one["about"], one["state"]) for one in told["findings"]] == [
        ("system", "ok"), ("well", "ok"), ("bad", "problem"),
    ]  # fmt: skip


def test_arguments_arrive(ask: pytest.MonkeyPatch) -> None:
    given: list[tuple[object, ...]] = []
    ask.setattr(doctor, "questions", lambda *asked: given.append(asked) or [])
    doctor.main(["runs/a", "--out", "runs", "--data", "photos", "--threads", "2"])
    doctor.main([])
    assert given == [(Path("runs/a"), Path("runs"), "photos", 2), (None, None, "", 0)]


def test_long_findings_stand_beside_their_head() -> None:
    lines = doctor.words(Finding("x", "note", "word " * 40 + "/a/long-path/of-photos.", "do " * 60)).splitlines()
    assert all(len(line) <= doctor.WIDTH for line in lines) and lines[1].startswith(" " * 23 + "word")
    assert sum("-> do" in line for line in lines) == 1 and any("/a/long-path/of-photos." in line for line in lines)


def test_help_comes_without_anything_that_may_be_broken() -> None:
    script = (
        "import sys\n"
        "from resmom.cli import main\n"
        "sys.argv = ['resmom', 'doctor', '--help']\n"
        "try:\n    main()\n"
        "except SystemExit as end:\n    print('status', end.code)\n"
        "print('heavy', [n for n in ('torch', 'numpy', 'PIL', 'timm', 'sklearn', 'numba') if n in sys.modules])\n"
    )
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert "status 0" in told and "heavy []" in told and "--out" in told and "--data" in told


@pytest.mark.slow
def test_it_answers_where_torch_is_broken(tmp_path: Path) -> None:
    """As an installation whose libraries do not fit: torch raises something odd when it is imported."""
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("raise OSError('libcudart.so.13: cannot open shared object file')")
    script = (
        f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\n"
        "from resmom.cli import main\nsys.argv = ['resmom', 'doctor', '--json']\nmain()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and done.stderr == ""
    told = {one["about"]: one for one in json.loads(done.stdout)["findings"]}
    assert told["torch"]["words"] == "OSError: libcudart.so.13: cannot open shared object file."
    assert told["memory"] and "devices" in told["rest"]["words"] and "torchvision" in told["rest"]["words"]


@pytest.mark.slow
def test_all_of_it_on_this_machine(tmp_path: Path) -> None:
    call = [sys.executable, "-m", "resmom", "doctor", "--json", "--threads", "1", "--out", str(tmp_path / "runs")]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    told = json.loads(done.stdout)
    assert done.stderr == "" and done.returncode == int(not told["ready"])
    answered = {question.name for question in questions(out=tmp_path)} | {"system", "cpu"}
    assert answered <= set(told["facts"])
    assert not any("failed" in facts for facts in told["facts"].values())
    threads = told["facts"]["threads"]
    assert (threads["waiting"], threads["threads"], threads["given"]) == ("PASSIVE", 1, True)


def test_a_number_of_threads_that_is_none(call: Call) -> None:
    status, _, err = call("doctor", "--threads", -1)
    assert status == 2 and "threads is -1; it is a number of threads, or 0 for torch's choice" in err
