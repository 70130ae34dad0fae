"""Images that became others, or lie elsewhere now: a run is not continued with the first, and finds the second."""

import json
import signal
from pathlib import Path

import pytest

from resmom.data.errors import DataError
from resmom.jsonfiles import read_lines, read_object, write_json
from resmom.rundir import RunDir
from resmom.runs.pretrain import pretrain, resume
from resmom.runs.training import loop
from tests.conftest import Call
from tests.runs.crash import QUIET, small_run, write_images
from tests.runs.test_resume import stop_at


def killed_at_the_start(data: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> RunDir:
    """A run whose process was killed before it wrote a checkpoint."""

    def deadly(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(loop, "save_start", deadly)
        pretrain(small_run(epochs=2), str(data), out, QUIET)
    assert RunDir(out).config.exists() and not RunDir(out).last.exists()
    return RunDir(out)


@pytest.mark.usefixtures("typed")
@pytest.mark.slow
def test_a_run_without_a_checkpoint_is_not_begun_with_other_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_images(tmp_path / "images.npz")
    folder = killed_at_the_start(data, tmp_path / "run", monkeypatch)
    write_images(data, n=48)
    with pytest.raises(DataError, match=r"not those of the run .*name the place where they are \(--data\)"):
        resume(folder.path, QUIET)
    assert not folder.last.exists()
    # One of an earlier version says nothing of its images; other test images are not those of this test.
    written = read_object(folder.config)
    write_json(folder.config, {name: value for name, value in written.items() if name not in ("fingerprint", "test")})
    assert resume(folder.path, QUIET).interrupted_by is None


@pytest.mark.slow
def test_images_that_have_moved_are_named_once(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever resumes says where they are, and every command after it finds them, a finished run's too."""
    data, out = write_images(tmp_path / "images.npz"), tmp_path / "run"
    assert stop_at(3, small_run(epochs=2), data, out, monkeypatch).interrupted_by == signal.SIGTERM
    before = RunDir(out).config.read_text()
    (tmp_path / "elsewhere").mkdir()
    moved = data.rename(tmp_path / "elsewhere/moved.npz")
    status, _, told = call("resume", out, "--device", "cpu", "--quiet")
    assert status == 2 and f"{data} does not exist" in told
    assert f"If the images of this run have moved, name their place: resmom resume {out} --data PLACE" in told
    write_images(data, n=48)  # other images, where the run's own were
    status, _, told = call("resume", out, "--device", "cpu", "--quiet")
    assert status == 2 and "name the place where they are (--data)" in told
    data.unlink()
    assert call("resume", out, "--data", moved, "--device", "cpu", "--quiet")[0] == 0
    assert [line.get("data") for line in read_lines(RunDir(out).environment)] == [None, str(moved)]
    assert RunDir(out).config.read_text() == before and RunDir(out).written()["data"] == str(moved)
    evaluate = ("evaluate", out, "--protocols", "knn", "--device", "cpu", "--json")
    status, found, _ = call(*evaluate)
    assert status == 0 and {row["data"] for row in json.loads(found)} == {"moved.npz"}

    again = moved.rename(tmp_path / "again.npz")
    for command in (evaluate, ("gap", out), ("embed", out, "--out", tmp_path / "vectors.npz")):
        status, _, told = call(*command)
        keep = f"--data PLACE (`resmom resume {out} --data PLACE` has it kept)"
        assert status == 2 and f"{moved} does not exist" in told and keep in told, command
    assert call("resume", out, "--data", again, "--device", "cpu", "--quiet")[0] == 0
    assert call(*evaluate)[0] == 0
