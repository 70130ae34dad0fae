"""The driver of side-by-side measurements, with contenders that only pretend to work."""

import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from benchmarks.peers import __main__ as peers
from benchmarks.peers import driver
from benchmarks.peers.case import MODULES, PEERS, Case
from benchmarks.peers.driver import Contender, Dead, interleave, repository
from benchmarks.peers.table import Ratio, memory_ratios, row, speed_ratios

FAKE = """
import json, os, signal, sys, time
name, seconds, diary, dies_in = sys.argv[1], float(sys.argv[2]), sys.argv[3], int(sys.argv[4])

def answer(content):
    print(json.dumps(content), flush=True)
    os.killpg(0, signal.SIGSTOP)

answer({"note": name, "peak_mib": 0})
for number, _ in enumerate(sys.stdin):
    if number == dies_in:
        sys.exit("out of luck")
    for word in ("begins", "ends"):
        with open(diary, "a") as file:
            file.write(f"{name} {word}\\n")
    answer({"seconds": seconds * (number + 1), "peak_mib": 100 * seconds})
"""

Start = Callable[[], Contender]


def fake(name: str, seconds: float, diary: Path, dies_in: int = -1) -> Start:
    command = [sys.executable, "-c", FAKE, name, str(seconds), str(diary), str(dies_in)]
    return partial(Contender, name, command)


def missing(name: str, reason: str) -> Start:
    return partial(Contender, name, [sys.executable, "-c", f'print(\'{{"missing": "{reason}"}}\')'])


def test_rounds_take_turns_and_another_one_is_first_each_time(tmp_path: Path) -> None:
    diary = tmp_path / "diary"
    result = interleave({"a": fake("a", 1.0, diary), "b": fake("b", 2.0, diary)}, rounds=3, warm=1)
    written = [line.split() for line in diary.read_text().splitlines()]
    assert all(begin == [name, "begins"] for begin, (name, _) in zip(written[::2], written[1::2], strict=True))
    assert [name for name, word in written if word == "ends"] == list("abbaabba")
    assert result.about["b"]["note"] == "b"
    # The warm round, the first of four, does not count.
    assert [answer["seconds"] for answer in result.answers["a"]] == [2.0, 3.0, 4.0]
    assert [answer["seconds"] for answer in result.answers["b"]] == [4.0, 6.0, 8.0]
    assert not result.missing and not result.died


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_contender_stands_still_between_its_rounds(tmp_path: Path) -> None:
    contender = fake("a", 1.0, tmp_path / "diary")()
    try:
        for ask in (contender.ready, contender.round, contender.round):
            ask()
            assert _state(Path(f"/proc/{contender._process.pid}/stat")) == "T"
    finally:
        contender.close()
    assert contender._process.poll() is not None


def test_ratios_are_taken_round_by_round(tmp_path: Path) -> None:
    diary = tmp_path / "diary"
    result = interleave({"ours": fake("ours", 0.5, diary), "theirs": fake("theirs", 1.5, diary)}, rounds=2, warm=0)
    result.answers["theirs"][1]["seconds"] = 10.0  # ours took 1 s then
    assert speed_ratios(result, "ours") == {"theirs": Ratio(3.0, 6.5, 10.0)}
    assert memory_ratios(result, "ours")["theirs"].median == pytest.approx(1 / 3)


def test_one_that_dies_is_reported_and_the_others_go_on(tmp_path: Path) -> None:
    diary = tmp_path / "diary"
    starts = {"ours": fake("ours", 1.0, diary), "mortal": fake("mortal", 1.0, diary, dies_in=1)}
    result = interleave({**starts, "other": fake("other", 2.0, diary)}, rounds=3, warm=0)
    assert result.died.keys() == {"mortal"}
    assert "in round 1" in result.died["mortal"] and "out of luck" in result.died["mortal"]
    assert len(result.answers["ours"]) == len(result.answers["other"]) == 3
    assert speed_ratios(result, "ours").keys() == {"other"}


def test_one_that_cannot_start_is_reported(tmp_path: Path) -> None:
    broken = partial(Contender, "broken", [sys.executable, "-c", "import sys; sys.exit('no such thing')"])
    result = interleave({"broken": broken, "ours": fake("ours", 1.0, tmp_path / "diary")}, rounds=1, warm=0)
    assert "status 1" in result.died["broken"] and "no such thing" in result.died["broken"]
    assert len(result.answers["ours"]) == 1 and speed_ratios(result, "ours") == {}


STEPPING = """
import os, sys, time
import torch
sys.path.insert(0, os.getcwd())
from benchmarks.peers.worker import Gate
torch.cuda.synchronize = lambda: time.sleep(.1)
torch.cuda.max_memory_reserved = torch.cuda.memory_reserved = lambda: 3 * 2**20
torch.cuda.empty_cache = torch.cuda.reset_peak_memory_stats = lambda: None
gate = Gate(sys.stdout, {}, calls=3, on_gpu=sys.argv[1] == "gpu")
for number in range(100):
    gate()
    time.sleep(.02)
"""


@pytest.mark.parametrize(("where", "least"), [("cpu", 0.06), ("gpu", 0.16)])
def test_a_round_may_be_several_steps(where: str, least: float) -> None:
    """Each call of the gate is one; the seconds are of them all, and of waiting for the GPU at their end."""
    contender = Contender("stepping", [sys.executable, "-c", STEPPING, where])
    try:
        contender.ready(60.0)
        answers = [contender.round(30.0) for _ in range(3)]
        assert min(answer["seconds"] for answer in answers) >= least
        assert (answers[-1]["peak_mib"] == 3.0) == (where == "gpu")
    finally:
        contender.close()


def test_seconds_are_of_one_step(capsys: pytest.CaptureFixture[str]) -> None:
    result = driver.Result(answers={"ours": [{"seconds": 4.0}]})
    row("a step", Case("step", 8, 32, steps=20), result, {}, "s")
    assert capsys.readouterr().out.split()[-1] == "0.2"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["input", "--device", "cuda"], "--device is for step and memory"),
        (["start", "--compile", "kernels"], "--compile is for step and memory"),
        (["step", "--device", "mps"], "--device is mps; it is cpu, cuda or cuda:N"),
        (["step", "--compile", "graphs"], "give --device cuda"),
    ],
)
def test_options_that_would_mean_nothing_are_refused(
    arguments: list[str], words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["peers", *arguments])
    with pytest.raises(SystemExit):
        peers.main()
    assert words in capsys.readouterr().err


def test_one_that_says_nothing_is_given_up() -> None:
    contender = Contender("mute", [sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        with pytest.raises(Dead, match="no answer within"):
            contender.ready(seconds=0.2)
    finally:
        contender.close()


def test_a_contender_that_could_not_stop_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one whose own stop hangs on a child that it was starting."""
    monkeypatch.setattr(driver, "STUCK", 0.05)
    code = "import json, os, sys; print(json.dumps({'pid': os.getpid()}), flush=True); sys.stdin.read()"
    contender = Contender("restless", [sys.executable, "-c", code])
    try:
        status = Path(f"/proc/{contender.ready(10.0)['pid']}/stat")
        assert not status.exists() or _state(status) == "T"
    finally:
        contender.close()


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
def test_a_stopped_worker_does_not_outlive_its_driver() -> None:
    worker = (
        "import os, signal; from benchmarks.peers.worker import die_with_parent; die_with_parent();"
        "print(os.getpid(), flush=True); os.kill(0, signal.SIGSTOP)"
    )
    parent = (
        f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {worker!r}], start_new_session=True);"
        "sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", parent], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=repository()
    ) as process:
        assert process.stdout is not None
        status = Path(f"/proc/{int(process.stdout.readline())}/stat")
        _wait_for(lambda: _state(status) == "T")
        process.kill()
    _wait_for(lambda: _state(status) in ("gone", "Z"))


def _state(status: Path) -> str:
    try:
        return status.read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "gone"


def _wait_for(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_missing_peers_are_named_with_the_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    starts = {"ours": fake("ours", 1.0, tmp_path / "diary"), "peer": missing("peer", "No module named peer")}
    result = interleave(starts, rounds=1, warm=0)
    assert result.missing == {"peer": "No module named peer"}
    assert "peer" not in result.answers
    content = row("a step", Case("step", 8, 32), result, speed_ratios(result, "ours"), "s")
    assert content["missing"] == result.missing and content["rounds"]["ours"] == result.answers["ours"]
    assert "missing: No module named peer" in capsys.readouterr().out


@pytest.mark.slow
def test_the_worker_names_the_import_that_fails() -> None:
    """moco-v3 without a checkout: its packages are nowhere."""
    command = [sys.executable, "-m", "benchmarks.peers.worker", "moco-v3", Case("step", 2, 32).text()]
    done = subprocess.run(command, cwd=repository(), capture_output=True, text=True, check=True)
    assert '"missing": "ModuleNotFoundError' in done.stdout


def test_every_contender_has_a_module_and_a_case_survives_its_text() -> None:
    for name in PEERS:
        assert (repository() / "benchmarks" / "peers" / f"{MODULES[name]}.py").exists()
    case = Case("images", 64, 224, "bf16", cores=2, data="photos", device="cuda:1", steps=20, compile="graphs")
    assert Case.read(case.text()) == case
