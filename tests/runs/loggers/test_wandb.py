"""Weights & Biases by a stand-in that writes down how it is called; by the package itself where that is installed."""

import importlib.util
import json
import struct
import time
from pathlib import Path
from typing import Any

import pytest

from resmom.jsonfiles import append_line, read_lines
from resmom.rundir import RunDir
from resmom.runs.loggers import wandbrun
from resmom.runs.loggers.lines import numbers
from resmom.runs.loggers.sinks import Sinks
from resmom.runs.loggers.wandbfollow import follow
from resmom.runs.loggers.wandbrun import QUIET, WandbRun
from resmom.runs.machine import Trainer
from resmom.runs.pretrain import pretrain
from tests.runs.crash import small_run, write_images
from tests.runs.loggers.events import line
from tests.runs.loggers.standin import write_wandb

INSTALLED = importlib.util.find_spec("wandb") is not None


class Calls:
    """What the stand-in was asked for."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def of(self, kind: str) -> list[list[Any]]:
        lines = self._path.read_text().splitlines() if self._path.exists() else []
        return [call[1:] for call in map(json.loads, lines) if call[0] == kind]


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Calls:
    folder = write_wandb(tmp_path / "packages")
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.setenv("WANDB_CALLS", str(tmp_path / "calls.jsonl"))
    for name in ("WANDB_MODE", "WANDB_PROJECT", "WANDB_RUN_GROUP"):
        monkeypatch.delenv(name, raising=False)
    return Calls(tmp_path / "calls.jsonl")


def begun(out: Path, init: str = "", lines: int = 0) -> RunDir:
    """As much of a run folder as is told of."""
    folder = RunDir(out)
    out.mkdir(parents=True)
    folder.config.write_text(json.dumps({"run": {"recipe": "toy", "init": init}, "data": "/home/somebody/photos"}))
    for step in range(lines):
        append_line(folder.metrics, line(step, loss=float(step)))
    return folder


@pytest.mark.slow
def test_a_run_is_told_with_all_its_lines_and_nothing_is_sent(
    calls: Calls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "online")  # which --log-to wandb does not go by
    out = tmp_path / "run"
    data = str(write_images(tmp_path / "images.npz"))
    pretrain(small_run(epochs=2), data, out, Trainer(device="cpu", quiet=True, log_to=("wandb",)))
    ((asked, told, terminal),) = calls.of("init")
    assert asked["config"] == json.loads((out / "run.json").read_text())["run"]
    assert (asked["project"], asked["name"], asked["group"]) == ("resmom", "run", None)
    assert (asked["dir"], asked["resume"]) == (str(out), "allow") and not terminal
    assert told | QUIET | {"WANDB_MODE": "offline"} == told
    lines = read_lines(out / "metrics.jsonl")
    wanted = [
        [{**numbers(line), "step": line["step"], "epoch": line["epoch"]}, number] for number, line in enumerate(lines)
    ]
    assert calls.of("log") == wanted and calls.of("finish") == [[0]]
    assert calls.of("define") == [[["step"], {}], [["*"], {"step_metric": "step"}]]


@pytest.mark.slow
def test_a_resumed_run_is_the_same_one_and_is_told_what_is_missing(
    calls: Calls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server has two lines of the first four; a path is told by its last part."""
    folder = begun(tmp_path / "out/weight=1/seed-0", "/home/somebody/weights.pt", lines=4)
    monkeypatch.setenv("WANDB_HAS", "2")
    for number in range(2):
        run = WandbRun(folder, online=True)
        added = line(4 + number, loss=9.0)
        append_line(folder.metrics, added)
        run.take(added)
        run.close()
    (first, told, _), (second, *_) = calls.of("init")
    assert first == second and told["WANDB_MODE"] == "online" and first["config"]["init"] == "weights.pt"
    assert (first["name"], first["group"]) == ("weight=1/seed-0", "out")
    assert [number for _, number in calls.of("log")] == [2, 3, 4, 2, 3, 4, 5]
    assert calls.of("log")[2] == [{"train/loss": 9.0, "step": 4, "epoch": 0.4}, 4]


@pytest.mark.slow
def test_what_its_own_variables_say_counts(calls: Calls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"MODE": "disabled", "PROJECT": "mine", "RUN_GROUP": "ours"}.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    folder = begun(tmp_path / "run")
    WandbRun(folder, online=True).close()
    ((asked, told, _),) = calls.of("init")
    assert (told["WANDB_MODE"], asked["project"], asked["group"]) == ("disabled", "mine", "ours")


@pytest.mark.slow
def test_files_of_an_earlier_start_make_room_for_those_with_all_lines(calls: Calls, tmp_path: Path) -> None:
    folder = begun(tmp_path / "run", lines=1)
    WandbRun(folder, online=False).close()
    known = (tmp_path / "run/wandb/resmom-id").read_text().strip()
    earlier, other = (tmp_path / f"run/wandb/offline-run-1-{name}" for name in (known, "other"))
    for path in (earlier, other):
        path.mkdir()
    WandbRun(folder, online=True).close()
    assert earlier.exists()
    WandbRun(folder, online=False).close()
    assert not earlier.exists() and other.exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("WANDB_REFUSES", "1", "RuntimeError: no key is configured"),
        ("WANDB_DIES_AT", "1", "ValueError: the server said no"),
    ],
)
def test_what_fails_there_is_told_once_here(
    calls: Calls,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    variable: str,
    value: str,
    said: str,
) -> None:
    """While the run goes on, or at the latest at its end."""
    monkeypatch.setenv(variable, value)
    folder = begun(tmp_path / "run", lines=3)
    for early in (True, False):
        sinks = Sinks()
        made = WandbRun(folder, online=False)
        sinks.add("--log-to wandb", lambda made=made: made)  # type: ignore[misc]
        if early:
            made._process.wait()
            sinks.take(line(4))
            sinks.take(line(5))
        sinks.close()
        told = capsys.readouterr().err
        assert told.count("\n") == 1 and f"--log-to wandb failed (RuntimeError: {said})" in told


@pytest.mark.slow
def test_it_hears_of_a_killed_run(calls: Calls, tmp_path: Path) -> None:
    """What the run wrote last is handed over, and W&B is told that it did not end by itself."""
    folder = begun(tmp_path / "run", lines=2)
    run = WandbRun(folder, online=False)
    while not calls.of("log"):
        time.sleep(0.05)
    append_line(folder.metrics, line(2, loss=2.0))
    assert run._process.stdin is not None and run._process.stderr is not None
    run._process.stdin.close()  # as the system does
    assert run._process.wait() == 0
    run._process.stderr.close()
    assert len(calls.of("log")) == 3 and calls.of("finish") == [[1]]


@pytest.mark.slow
def test_nobody_waits_for_it_for_long(
    calls: Calls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WANDB_SLOW", "1.5")
    monkeypatch.setattr(wandbrun, "PATIENCE", 0.3)
    run = WandbRun(begun(tmp_path / "run"), online=False)
    while not calls.of("define"):
        time.sleep(0.05)
    run.close()
    assert "it goes on by itself (process " in capsys.readouterr().err and not calls.of("finish")
    assert run._process.wait() == 0 and calls.of("finish") == [[0]]
    assert run._process.stderr is not None
    run._process.stderr.close()


def test_lines_are_handed_over_when_they_are_whole(tmp_path: Path) -> None:
    path, handed, looks = tmp_path / "metrics.jsonl", list[tuple[int, Any]](), iter(range(9))

    def ended() -> bool:
        """Between two looks, more is written; part of a line first, and after the last look a part again."""
        look = next(looks)
        if look < 4:
            with path.open("a") as file:
                file.write(["", '{"a": 1}\n{"a"', ": 2}\n", '{"a": 3}\n{"a": 4'][look])
        return look == 4

    follow(path, 1, lambda number, line: handed.append((number, line)), ended, pause=0.0)
    assert handed == [(1, {"a": 2}), (2, {"a": 3})]


def test_a_run_that_ends_before_its_first_line(tmp_path: Path) -> None:
    follow(tmp_path / "metrics.jsonl", 0, lambda number, line: None, lambda: True, pause=0.0)


@pytest.mark.slow
@pytest.mark.skipif(not INSTALLED, reason="the package wandb is not installed")
def test_the_package_itself_keeps_every_line(tmp_path: Path) -> None:
    """Twice, as after a kill: one folder, with all lines once."""
    from wandb.proto.wandb_internal_pb2 import Record

    folder = begun(tmp_path / "run", lines=3)
    for step in (3, 4):
        run = WandbRun(folder, online=False)
        append_line(folder.metrics, line(step, loss=float(step)))
        run.close()
        run._process.wait()
    (file,) = (tmp_path / "run/wandb").glob("offline-run-*/*.wandb")
    content, place, found = file.read_bytes(), 7, list[tuple[int, float]]()
    while place < len(content):  # behind a head of 7 bytes records, each with a checksum, its length and a kind (whole)
        length, kind = struct.unpack("<HB", content[place + 4 : place + 7])
        assert kind == 1
        record = Record.FromString(content[place + 7 : place + 7 + length])
        place += 7 + length
        if record.WhichOneof("record_type") == "history":
            values = {"/".join(item.nested_key): item.value_json for item in record.history.item}
            found.append((int(values["_step"]), float(values["train/loss"])))
    assert found == [(step, float(step)) for step in range(5)]
