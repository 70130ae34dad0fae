"""Checkpoints: whole or not at all, and nothing that could run code."""

import errno
import os
import pickle
import random
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from resmom.checkpoint import CheckpointError, load_checkpoint, save_checkpoint


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "last.pt"
    save_checkpoint(path, {"state": {"w": torch.arange(3.0), "n": 4}, "none": None})
    content = load_checkpoint(path)
    assert torch.equal(content["state"]["w"], torch.arange(3.0)) and content["state"]["n"] == 4


def test_a_crash_while_writing_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "last.pt"
    save_checkpoint(path, {"n": 1})

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    for where, name in ((os, "fsync"), (torch, "save"), (Path, "replace")):
        with monkeypatch.context() as patch:
            patch.setattr(where, name, crash)
            with pytest.raises(KeyboardInterrupt):
                save_checkpoint(path, {"n": 2})
        assert load_checkpoint(path)["n"] == 1
    save_checkpoint(path, {"n": 3})
    assert load_checkpoint(path)["n"] == 3


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EIO])
def test_a_disk_that_cannot_flush_a_folder(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is written all the same; a disk that fails is another thing."""
    real = os.fsync

    def fsync(opened: int) -> None:
        if stat.S_ISDIR(os.fstat(opened).st_mode):
            raise OSError(number, os.strerror(number))
        real(opened)

    monkeypatch.setattr(os, "fsync", fsync)
    if number == errno.EIO:
        with pytest.raises(OSError, match="Input/output"):
            save_checkpoint(tmp_path / "last.pt", {"n": 1})
    else:
        save_checkpoint(tmp_path / "last.pt", {"n": 1})
        assert load_checkpoint(tmp_path / "last.pt")["n"] == 1


class _Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch /tmp/resmom-was-here",)


def test_an_export_is_not_called_damaged(tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(2)}, tmp_path / "backbone-student.safetensors")
    with pytest.raises(CheckpointError, match="holds weights alone, as the exports of a run do; name the run folder"):
        load_checkpoint(tmp_path / "backbone-student.safetensors")


def test_damaged_foreign_and_malicious_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        load_checkpoint(tmp_path / "none.pt")
    good = tmp_path / "good.pt"
    save_checkpoint(good, {"w": torch.zeros(1000)})
    cut = tmp_path / "cut.pt"
    cut.write_bytes(good.read_bytes()[:2000])
    text = tmp_path / "text.pt"
    text.write_text("hello")
    empty = tmp_path / "empty.pt"
    empty.touch()
    bomb = tmp_path / "bomb.pt"
    bomb.write_bytes(pickle.dumps(_Bomb()))
    for path in (cut, text, empty, bomb):
        with pytest.raises(CheckpointError, match="damaged or not a resmom checkpoint"):
            load_checkpoint(path)
    assert not Path("/tmp/resmom-was-here").exists()
    foreign = tmp_path / "foreign.pt"
    torch.save({"epoch": 3}, foreign)
    with pytest.raises(CheckpointError, match="not a resmom checkpoint of format"):
        load_checkpoint(foreign)


def test_weights_that_are_not_those_written_are_refused(tmp_path: Path) -> None:
    """torch alone would take them."""
    path = tmp_path / "last.pt"
    weights = torch.full((1000,), 7.0)
    save_checkpoint(path, {"w": weights})
    content = path.read_bytes()
    at = content.index(weights.numpy().tobytes()) + 2000
    path.write_bytes(content[:at] + b"\x55" + content[at + 1 :])
    with pytest.raises(CheckpointError, match=r"last.pt is damaged.*data/0 in it is not what was written"):
        load_checkpoint(path)
    assert load_checkpoint(path, mapped=True).keys() == {"format", "w"}  # weights that nobody asks for are not read


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("mapped", [False, True])
def test_whatever_is_damaged_is_told_in_a_sentence(tmp_path: Path, mapped: bool) -> None:
    good, path = tmp_path / "good.pt", tmp_path / "bad.pt"
    save_checkpoint(good, {"w": torch.arange(9.0), "classes": ["a", "é"], "epoch": 1.5, "state": {"n": (1, None)}})
    content, chance = good.read_bytes(), random.Random(0)
    refused = 0
    for _ in range(400):
        bad = bytearray(content)
        bad[chance.randrange(len(bad))] = chance.randrange(256)
        path.write_bytes(bad)
        try:
            load_checkpoint(path, mapped=mapped)
        except CheckpointError:
            refused += 1
    assert refused > 100


def test_a_full_disk_is_what_the_system_says_and_no_half_file_fills_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "last.pt"
    save_checkpoint(path, {"n": 1})

    def full(_: object, file: Any) -> None:  # as torch does it
        file.write(b"half a checkpoint")
        try:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            raise RuntimeError("unexpected pos 704 vs 598")  # noqa: B904

    def failing(_: object, file: Any) -> None:
        file.write(b"half a checkpoint")
        raise RuntimeError("unexpected pos 704 vs 598")

    def refused(error: type[Exception], words: str) -> None:
        with pytest.raises(error, match=words):
            save_checkpoint(path, {"n": 2})
        assert [file.name for file in tmp_path.iterdir()] == ["last.pt"] and load_checkpoint(path)["n"] == 1

    monkeypatch.setattr(torch, "save", full)
    refused(OSError, r"No space left on device: '.*/last.pt'")
    monkeypatch.setattr(torch, "save", failing)
    refused(RuntimeError, "unexpected pos")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 10, 0))  # type: ignore[attr-defined]
    refused(OSError, r"No space left on device: '.*/last.pt'")
