"""Event files: every number of every line once, whatever ended the process, and for whoever has them open meanwhile."""

import json
import signal
from pathlib import Path

import pytest

from resmom.errors import RunDirError
from resmom.export.record import Trained
from resmom.jsonfiles import append_line, read_lines
from resmom.rundir import RunDir
from resmom.runs.loggers.eventfiles import EventFile, export_events
from resmom.runs.loggers.lines import numbers
from resmom.runs.pretrain import pretrain, resume
from tests import forked
from tests.conftest import Call
from tests.runs.crash import QUIET, small_run, write_images
from tests.runs.loggers.events import assert_same_points, line, points
from tests.runs.loggers.killed import killed_at
from tests.runs.test_resume import assert_same_run

pytest.importorskip("tensorboard")

BEGAN = 1_700_000_000.0


def test_numbers_have_the_kind_of_their_line_and_words_are_left_out() -> None:
    found = numbers(line(3, kind="knn", student=1, teacher=2.5, protocol="knn-v1", none=None))
    assert found == {"knn/student": 1.0, "knn/teacher": 2.5}


def test_time_goes_on_over_starts_of_the_process() -> None:
    trained = Trained()
    lines = [line(1, 2.0), line(2, 5.0), line(2, kind="knn"), line(3, 1.0), line(4, 4.0), line(5, 3.0)]
    assert [trained.at(each) for each in lines] == [2.0, 5.0, 5.0, 6.0, 9.0, 12.0]


def times(path: Path) -> list[tuple[int, float]]:
    from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
    from tensorboard.compat.proto.event_pb2 import Event

    events = [Event.FromString(record) for record in RawEventFileLoader(str(path)).Load()]
    return [(event.step, event.wall_time - BEGAN) for event in events if event.summary.value]


def test_a_file_made_anew_is_the_one_that_grew(tmp_path: Path) -> None:
    lines = [line(1, 2.0, loss=3.5), line(0, kind="health", rankme=7.0), line(2, 4.0, loss=float("nan"))]
    grown = EventFile(tmp_path / "grown", [], BEGAN)
    for each in lines:
        grown.take(each)
    grown.close()
    anew = EventFile(tmp_path / "anew", lines, BEGAN)
    anew.close()
    assert grown.path.read_bytes() == anew.path.read_bytes()
    assert times(anew.path) == [(1, 2.0), (0, 2.0), (2, 4.0)]
    assert_same_points(tmp_path / "anew", lines)


def test_whoever_reads_meanwhile_sees_no_point_twice(tmp_path: Path) -> None:
    """TensorBoard's own reader, open over a kill: points past the checkpoint are replaced, files in the same second."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    reader = EventAccumulator(str(tmp_path), {"scalars": 0})

    def seen() -> list[tuple[int, float]]:
        return [(point.step, point.value) for point in reader.Reload().Scalars("train/loss")]

    lines = [line(step, float(step), loss=float(step)) for step in range(1, 6)]
    first = EventFile(tmp_path, [], BEGAN)
    for each in lines:
        first.take(each)
    assert seen() == [(step, float(step)) for step in range(1, 6)]
    second = EventFile(tmp_path, lines[:3], BEGAN)  # the first was killed, and is not closed
    second.take(line(4, 1.0, loss=44.0))
    assert seen() == [(1, 1.0), (2, 2.0), (3, 3.0), (4, 44.0)]
    third = EventFile(tmp_path, lines[:3], BEGAN)
    assert seen() == [(1, 1.0), (2, 2.0), (3, 3.0)]
    # What was read last is still there, and empty.
    sizes = {path: path.stat().st_size for path in sorted(tmp_path.iterdir())}
    assert list(sizes) == [second.path, third.path] and sizes[second.path] == 0
    for file in (first, second, third):
        file.close()


def test_other_files_in_the_folder_stay(tmp_path: Path) -> None:
    other = tmp_path / "events.out.tfevents.1.somebody"
    other.write_bytes(b"1")
    for _ in range(4):
        EventFile(tmp_path, [], BEGAN).close()
    assert other.read_bytes() == b"1" and len(list(tmp_path.iterdir())) == 3


@pytest.mark.slow
def test_after_a_kill_no_point_is_missing_and_none_is_there_twice(tmp_path: Path) -> None:
    """Killed three steps past its checkpoint, with half a record in the file, and resumed: the run, and its points."""
    data = write_images(tmp_path / "images.npz")
    out, files = tmp_path / "run", tmp_path / "run/tensorboard"
    process = forked.start(killed_at, out, data, 13)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert max(step for _, step in points(files)) == 12
    with next(files.iterdir()).open("ab") as file:
        file.write(b"\x10\0\0")
    resume(out, QUIET)
    assert_same_points(files, read_lines(RunDir(out).metrics))
    pretrain(small_run(), str(data), tmp_path / "whole", QUIET)
    assert_same_run(tmp_path / "whole", out)


def finished(out: Path) -> RunDir:
    """As much of a run folder as an export reads."""
    folder = RunDir(out)
    out.mkdir()
    folder.config.write_text(json.dumps({"run": {}, "data": "x"}))
    append_line(folder.environment, {"time": "2023-11-14T22:13:20+00:00"})
    for each in (line(1, 1.0, loss=2.0), line(2, 2.0, loss=1.0)):
        append_line(folder.metrics, each)
    return folder


def test_a_finished_run_is_exported(call: Call, tmp_path: Path) -> None:
    folder = finished(tmp_path / "run")
    for _ in range(2):  # the second takes the place of the first
        status, out, err = call("export", folder.path, "--to", "tensorboard")
        assert (status, err) == (0, "") and f"tensorboard --logdir {folder.path}/tensorboard" in out
        assert_same_points(folder.path / "tensorboard", read_lines(folder.metrics))
    status, out, _ = call("export", folder.path, "--to", "tensorboard", "--out", tmp_path / "logs", "--json")
    (file,) = json.loads(out)["files"]
    assert status == 0 and times(Path(file)) == [(1, 1.0), (2, 2.0)]


def test_what_cannot_be_exported_is_told(call: Call, tmp_path: Path) -> None:
    folder = finished(tmp_path / "run")
    for words, said in (
        ([tmp_path], "is not a run folder"),
        ([folder.path, "--out", folder.metrics], "is a file; --out must be a folder"),
        ([folder.path, "--network", "student"], "--network chooses backbones"),
    ):
        status, out, err = call("export", *words, "--to", "tensorboard")
        assert (status, out) == (2, "") and said in err and err.count("\n") == 1
    with folder.locked(), pytest.raises(RunDirError, match="another process is working in"):
        export_events(folder.path)  # it writes that file itself
    assert not (folder.path / "tensorboard").exists()
