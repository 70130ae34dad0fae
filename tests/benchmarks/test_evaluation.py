"""Decoding by several threads is measured beside decoding by one, of the same photos."""

import json
from pathlib import Path

import pytest

from benchmarks.evaluation import decoding_threads, main, ratios, table
from resmom.errors import UserError
from resmom.runs import clean
from tests.benchmarks.test_formats import photos as photos  # a fixture


def test_the_number_of_threads_is_set_and_put_back() -> None:
    before = clean.workers_here()
    with decoding_threads(before + 3):
        assert clean.workers_here() == before + 3
    assert clean.workers_here() == before


@pytest.mark.slow
def test_all_rounds_are_kept_and_told(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "evaluation.json"
    assert (
        main([str(photos), "--photos", "2", "--large", "0", "--rounds", "1", "--threads", "2", "--out", str(out)]) == 0
    )
    found = json.loads(out.read_text())
    assert found["threads"] == 2 and found["small"]["images"] == 2 and "large" not in found
    for what in ("read", "features"):
        assert [len(own) for own in found["small"]["seconds"][what].values()] == [1, 1]
    assert table({"small": found["small"]}) in capsys.readouterr().out


def test_a_ratio_is_of_one_round() -> None:
    assert ratios({"none": [2.0, 4.0], "threads": [1.0, 4.0]}) == [2.0, 1.0]


def test_too_few_photos_are_told(photos: Path) -> None:
    with pytest.raises(UserError, match="has 3 JPEGs; --photos 256 needs as many"):
        main([str(photos)])
