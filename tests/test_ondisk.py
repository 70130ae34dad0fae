"""A folder that is there whole or not at all."""

import fcntl
import os
from pathlib import Path

import pytest

from resmom.errors import RunDirError
from resmom.ondisk import draft_beside, new_folder, require_new_file, require_new_folder


def test_a_folder_is_there_once_it_is_whole(tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    with new_folder(out) as draft:
        (draft / "inner").mkdir()
        (draft / "inner" / "a").write_text("a")
        assert not out.exists() and draft.parent == out.parent
    assert (out / "inner" / "a").read_text() == "a" and list(out.parent.iterdir()) == [out]
    assert out.stat().st_mode == (tmp_path / "new").stat().st_mode


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_what_fails_leaves_nothing(error: BaseException, tmp_path: Path) -> None:
    with pytest.raises(type(error)) as caught, new_folder(tmp_path / "out") as draft:
        (draft / "a").write_text("a")
        raise error
    assert list(tmp_path.iterdir()) == []
    assert not isinstance(error, OSError) or str(tmp_path / "out") in str(caught.value)


def test_an_empty_folder_is_taken_and_a_used_one_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    with new_folder(tmp_path / "empty") as draft:
        (draft / "a").write_text("new")
    for place, words in (("empty", "holds something already"), ("empty/a", "is a file")):
        with pytest.raises(RunDirError, match=words), new_folder(tmp_path / place):
            pytest.fail("began")
    with pytest.raises(RunDirError, match="holds something"), new_folder(tmp_path / "late") as draft:
        (draft / "a").write_text("ours")
        (tmp_path / "late").mkdir()
        (tmp_path / "late" / "a").write_text("theirs")
    assert (tmp_path / "late" / "a").read_text() == "theirs" and (tmp_path / "empty" / "a").read_text() == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "late"]
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(RunDirError, match="the folder that you work in"):
        require_new_folder(Path())


def test_a_new_file_has_its_ending_and_is_not_there(tmp_path: Path) -> None:
    require_new_file(tmp_path / "a.csv", ".csv")
    require_new_file(tmp_path / "a")
    (tmp_path / "a.csv").mkdir()
    for name, suffix, words in (
        ("a", ".csv", r"must end in \.csv"),
        ("a.csv", ".csv", "there already"),
        ("a.csv", "", "there already"),
    ):
        with pytest.raises(RunDirError, match=words):
            require_new_file(tmp_path / name, suffix)


def test_what_a_killed_writer_has_left_is_taken_away_and_a_living_ones_is_not(tmp_path: Path) -> None:
    dead, living, other = (tmp_path / name for name in ("out.00000001.part", "out.00000002.part", "out.x.part"))
    for folder in (dead, living, other):
        folder.mkdir()
        (folder / "a").write_text("a")
    held = os.open(living, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    with new_folder(tmp_path / "out") as draft:
        assert set(tmp_path.iterdir()) == {living, other, draft}
    os.close(held)
    assert (living / "a").exists() and (tmp_path / "out").is_dir()


def test_of_a_draft_what_is_moved_out_stays_and_the_rest_goes(tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    dead = out.with_name("out.00000001.part")
    dead.mkdir(parents=True)
    with draft_beside(out) as draft:
        assert list(out.parent.iterdir()) == [draft]
        (draft / "a").write_text("a")
        (draft / "b").write_text("b")
        (draft / "a").replace(out)
    assert list(out.parent.iterdir()) == [out] and out.read_text() == "a"
    with pytest.raises(OSError, match="out"), draft_beside(out) as draft:
        (draft / "a").write_text("other")
        raise OSError(28, "No space left on device")
    assert list(out.parent.iterdir()) == [out] and out.read_text() == "a"
