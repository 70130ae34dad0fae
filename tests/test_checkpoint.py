"""Checkpoints: whole or not at all, and nothing that could run code."""

import os
import pickle
from pathlib import Path

import pytest
import torch

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


class _Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch /tmp/resmom-was-here",)


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
