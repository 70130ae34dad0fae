"""Ways to make clean images of photos are measured beside each other, of the same photos."""

import json
from pathlib import Path

import pytest

from benchmarks.evaluation import made_by, main, ratios, table
from resmom.errors import UserError
from resmom.runs import clean
from resmom.views import fused
from tests.benchmarks.test_formats import photos as photos  # a fixture


def test_each_way_is_set_and_put_back() -> None:
    before, there = clean.workers_here(), fused.available()
    for way, workers, compiled in (("torch", 0, False), ("compiled", 0, there), ("threads", 3, there)):
        with made_by(way, 3):
            assert (clean.workers_here(), fused.available()) == (workers, compiled)
    assert (clean.workers_here(), fused.available()) == (before, there)


@pytest.mark.slow
def test_all_rounds_are_kept_and_told(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "evaluation.json"
    assert (
        main([str(photos), "--photos", "2", "--large", "0", "--rounds", "1", "--threads", "2", "--out", str(out)]) == 0
    )
    found = json.loads(out.read_text())
    assert found["threads"] == 2 and found["small"]["images"] == 2 and "large" not in found
    for what in ("read", "features"):
        assert [len(own) for own in found["small"]["seconds"][what].values()] == [1, 1, 1]
    assert table({"small": found["small"]}) in capsys.readouterr().out


def test_a_ratio_is_of_one_round() -> None:
    seconds = {"torch": [2.0, 4.0], "compiled": [1.0, 2.0], "threads": [0.5, 2.0]}
    assert ratios(seconds, "threads") == [4.0, 2.0] and ratios(seconds, "threads", "compiled") == [2.0, 1.0]
    found = {"images": 2, "megapixels": 12.0, "seconds": {"read": seconds}}
    row = "| 2 | 12 | read | 2, **2**, 2 | 1, **1.5**, 2 | 2, **3**, 4 |"
    assert table({"large": found}).splitlines()[-1] == row


def test_too_few_photos_are_told(photos: Path) -> None:
    with pytest.raises(UserError, match="has 3 JPEGs; --photos 256 needs as many"):
        main([str(photos)])
