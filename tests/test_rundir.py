"""The run folder: lines, lock, refusals."""

import errno
import fcntl
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from resmom import norun
from resmom.errors import RunDirError
from resmom.jsonfiles import append_line, append_or_say, drop_lines_after, read_lines, write_json
from resmom.ondisk import replacing, require_writable, write_whole
from resmom.rundir import RunDir, find_run


def test_lines_survive_a_crash_in_the_middle_of_one(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    for step in range(5):
        append_line(path, {"step": step, "loss": 0.5})
    with path.open("a") as file:
        file.write('{"step": 5, "lo')
    assert [line["step"] for line in read_lines(path)] == [0, 1, 2, 3, 4]
    drop_lines_after(path, 2)
    assert path.read_text().count("\n") == 3
    append_line(path, {"step": 3})
    assert [line["step"] for line in read_lines(path)] == [0, 1, 2, 3]
    assert read_lines(tmp_path / "none.jsonl") == []


def test_a_locked_folder_is_refused_and_a_killed_holder_frees_it(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, time; from pathlib import Path; from resmom.rundir import RunDir\n"
            f"with RunDir(Path({str(run.path)!r})).locked():\n    print('held', flush=True); time.sleep(60)",
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    with pytest.raises(RunDirError, match="another process is working"), run.locked():
        pass
    holder.kill()
    holder.wait()
    holder.stdout.close()
    with run.locked():
        pass


def without_locks(monkeypatch: pytest.MonkeyPatch) -> str:
    """As on some disks in a network; how the system says so."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    return os.strerror(errno.ENOLCK)


def test_on_a_disk_without_locks_the_work_goes_on_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunDir(tmp_path / "run")
    with run.worked_in():
        pass
    assert capsys.readouterr().err == ""
    why = without_locks(monkeypatch)
    with run.worked_in():
        pass
    told = capsys.readouterr().err
    assert told.startswith(f"{run.path} cannot be locked ({why}): see to it that no other") and told.count("\n") == 1
    write_json(run.config, {})
    with run.locked() as unlocked:
        assert unlocked == why


def test_other_failures_of_a_lock_are_not_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(fcntl, "flock", fail)
    with pytest.raises(OSError, match="Input/output"), RunDir(tmp_path / "run").locked():
        pass


def test_used_folders_are_refused_with_the_way_out(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    run.refuse_if_used()
    (tmp_path / "photo.jpg").write_text("x")
    with pytest.raises(RunDirError, match="not empty and not a run"):
        run.refuse_if_used()
    write_json(run.config, {})
    with pytest.raises(RunDirError, match=r"`resmom\.resume\("):
        run.refuse_if_used()
    file = tmp_path / "file"
    file.write_text("x")
    with pytest.raises(RunDirError, match="is a file"):
        RunDir(file).refuse_if_used()


@pytest.mark.parametrize(("place", "exists"), [("new", False), ("a/b/new", False), ("empty", True)])
def test_a_place_that_cannot_be_written_is_told_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, exists: bool
) -> None:
    """Root may write wherever the disk lets it, so the disk refuses here."""
    run = RunDir(tmp_path / place)
    if exists:
        run.path.mkdir()
    before = sorted(tmp_path.rglob("*"))
    run.refuse_if_used()
    assert sorted(tmp_path.rglob("*")) == before

    def refusing(number: int) -> None:
        def mkdir(*_: object) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "mkdir", mkdir)

    refusing(errno.EROFS)
    with pytest.raises(RunDirError, match=f"{place} cannot be written: the system says 'Read-only file system'"):
        run.refuse_if_used()
    refusing(errno.ENOSPC)
    run.refuse_if_used()  # how much is needed is told later
    assert sorted(tmp_path.rglob("*")) == before


def test_a_checkpoint_is_found_from_within_its_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = RunDir(tmp_path)
    run.last.parent.mkdir()
    run.last.touch()
    write_json(run.config, {})
    monkeypatch.chdir(tmp_path / "checkpoints")
    assert find_run(Path("last.pt")) == (run, Path("last.pt"))
    with pytest.raises(RunDirError, match=f"step-3.pt does not exist; the checkpoints of {tmp_path} are .*last.pt$"):
        find_run(Path("step-3.pt"))
    monkeypatch.chdir(tmp_path)
    assert find_run(Path("checkpoints/last.pt")) == (RunDir(Path()), Path("checkpoints/last.pt"))
    with pytest.raises(RunDirError, match=r"checkpoints lies in the folder of a run; name that: \.$"):
        find_run(Path("checkpoints"))


def test_a_checkpoint_without_its_run_is_weights(tmp_path: Path) -> None:
    file = tmp_path / "checkpoints" / "last.pt"
    file.parent.mkdir()
    file.touch()
    with pytest.raises(RunDirError, match="is weights, not a run"):
        find_run(file)


def test_in_a_large_folder_without_images_few_files_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(norun, "_LOOKED", 3)
    for folder in "abc":
        (tmp_path / folder).mkdir()
        for number in range(4):
            (tmp_path / folder / f"{number}.txt").touch()
    (tmp_path / "z").mkdir()
    looked = []
    monkeypatch.setattr(os, "walk", lambda top, walk=os.walk: (looked.append(at[0]) or at for at in walk(top)))
    with pytest.raises(RunDirError, match="is not a run folder"):
        find_run(tmp_path)
    assert len(looked) == 2  # the folder itself, and one with enough files


def test_a_run_is_found_by_folder_and_by_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(RunDirError, match="not a run folder"):
        find_run(tmp_path)
    run = RunDir(tmp_path)
    write_json(run.config, {})
    with pytest.raises(RunDirError, match="no checkpoint yet"):
        find_run(tmp_path)
    run.last.parent.mkdir()
    for path in (run.last, run.kept(10)):
        path.write_bytes(b"")
    assert find_run(tmp_path) == (run, run.last)
    assert find_run(run.kept(10)) == (run, run.kept(10))
    stray = tmp_path / "a" / "b" / "stray.pt"
    stray.parent.mkdir(parents=True)
    stray.write_bytes(b"")
    with pytest.raises(RunDirError, match="is weights, not a run"):
        find_run(stray)


def test_names_that_are_no_text_are_written_and_read_back(tmp_path: Path) -> None:
    odd, plain = os.fsdecode(b"caf\xe9.png"), "café.png"
    write_json(tmp_path / "a.json", {"path": odd})
    append_line(tmp_path / "b.jsonl", {"path": plain})
    append_line(tmp_path / "b.jsonl", {"path": odd})
    assert json.loads((tmp_path / "a.json").read_text()) == {"path": odd}
    assert [line["path"] for line in read_lines(tmp_path / "b.jsonl")] == [plain, odd]
    assert plain in (tmp_path / "b.jsonl").read_text()


def test_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    pages = [f"{number}" * 10_000 for number in range(8)]
    with ThreadPoolExecutor(8) as threads:
        for _ in range(20):
            list(threads.map(write_whole, [path] * 8, pages))
            assert path.read_text() in pages
    assert list(tmp_path.iterdir()) == [path]


def test_what_killed_writers_left_goes_with_the_next_and_a_living_one_stays(tmp_path: Path) -> None:
    path = tmp_path / "last[1].pt"
    for name in ("last[1].pt.0123abcd.part", "last1.pt.0123abcd.part", "last[1].pt.mine.part"):
        (tmp_path / name).touch()
    with replacing(path) as file:
        write_whole(path, "first")
        file.write(b"second")
        assert path.read_text() == "first"
    assert path.read_text() == "second"
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "last1.pt.0123abcd.part",
        "last[1].pt",
        "last[1].pt.mine.part",
    ]
    assert path.stat().st_mode & 0o777 == (tmp_path / "last1.pt.0123abcd.part").stat().st_mode & 0o777


def test_a_file_that_cannot_be_written_leaves_the_old_one_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run.json"
    write_whole(path, "old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*/run.json'"):
        write_whole(path, "new")
    assert list(tmp_path.iterdir()) == [path] and path.read_text() == "old"


def test_a_line_for_which_there_is_no_room_is_told_with_its_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "evaluations.jsonl"
    path.symlink_to("/dev/full")  # which can be opened, and takes nothing
    require_writable(path)
    with pytest.raises(OSError, match=r"No space left on device: '.*/evaluations\.jsonl'"):
        append_line(path, {"top1": 41.5})
    assert not append_or_say(path, {"top1": 41.5})
    said = capsys.readouterr().err
    assert said == f'attention: {path}: no space left on device; this line is not in it:\n{{"top1": 41.5}}\n'
    path.unlink()
    require_writable(path)
    assert list(tmp_path.iterdir()) == []  # a trial leaves nothing behind
    assert append_or_say(path, {"top1": 41.5}) and read_lines(path) == [{"top1": 41.5}]
    with pytest.raises(OSError, match=r"No such file or directory: '.*/none/a\.jsonl'"):
        require_writable(tmp_path / "none" / "a.jsonl")


def test_damaged_files_are_named_with_the_place_of_the_damage(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    for text, words in (("{", "is damaged: Expecting"), ("[]", "no JSON object"), ('{"data": "x"}', "it has no 'run'")):
        run.config.write_text(text)
        with pytest.raises(RunDirError, match=rf"run.json is damaged.*{words.removeprefix('is damaged')}.*put back"):
            run.written()
    for line in (b'{"step": 1, "lo', b"7", b'{"step": "\xff"}'):
        run.metrics.write_bytes(b'{"step": 0}\r\n\n' + line + b'\n{"step": 2}\n{"st')
        with pytest.raises(RunDirError, match=r"metrics.jsonl is damaged in line 3 \(.*\); put back"):
            read_lines(run.metrics)


def test_a_last_checkpoint_that_is_gone_is_not_taken_for_none_yet(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "a run")
    run.last.parent.mkdir(parents=True)
    write_json(run.config, {})
    append_line(run.metrics, {"step": 0})
    run.require_not_lost()
    append_line(run.metrics, {"step": 7})
    with pytest.raises(RunDirError, match=r"last.pt is missing, though the run has been at step 7; .*start anew"):
        find_run(run.path)
    for step in (5, 10):
        run.kept(step).touch()
    with pytest.raises(RunDirError, match=r"cp '.*a run/checkpoints/step-00000010.pt' '.*/last.pt', then `resmom\.re"):
        run.require_not_lost()
    run.metrics.unlink()
    with pytest.raises(RunDirError, match="has kept others"):
        run.require_not_lost()
    run.last.touch()
    run.require_not_lost()
