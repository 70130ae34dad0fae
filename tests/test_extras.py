"""Optional packages that are absent, and such as are there and cannot be imported."""

from pathlib import Path

import pytest

from resmom.extras import importable


def test_what_is_there_what_is_not_and_what_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "made_for_others.py").write_text("raise ImportError('needs another numpy')")
    (tmp_path / "half_installed.py").write_text("1 / 0")
    (tmp_path / "sound_enough.py").write_text("")
    assert importable("sound_enough")
    assert not importable("made_for_others") and not importable("half_installed") and not importable("not_there_at_all")
