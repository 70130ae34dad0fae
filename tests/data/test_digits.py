"""The demonstration's images are there as a whole, or not at all."""

from pathlib import Path

import pytest
from PIL import Image

import resmom.data.digits as digits


@pytest.mark.slow
def test_interrupted_drawing_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, drawn = digits.scene, 0

    def stopped(*arguments: object) -> Image.Image:
        nonlocal drawn
        drawn += 1
        if drawn == 20:
            raise KeyboardInterrupt
        return whole(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(digits, "scene", stopped)
    with pytest.raises(KeyboardInterrupt):
        digits.write_digits(tmp_path / "out" / "images")
    assert list((tmp_path / "out").iterdir()) == []
    monkeypatch.setattr(digits, "scene", whole)
    digits.write_digits(tmp_path / "out" / "images", copies=1)
    assert len(list((tmp_path / "out" / "images").glob("*/*/*.png"))) == 1797
    assert [entry.name for entry in (tmp_path / "out").iterdir()] == ["images"]
