"""Whose hands a cell is in, where the disk cannot tell."""

from pathlib import Path

import pytest

from resmom.errors import RunDirError
from resmom.jsonfiles import read_lines
from resmom.runs.comparisons.cell import claimed
from resmom.runs.comparisons.results import RESULTS, keep
from tests.runs.comparisons.grids import small_grid
from tests.test_rundir import without_locks


def test_a_disk_without_locks_is_refused_before_anything_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line of what is trained is kept there all the same."""
    why, cell = without_locks(monkeypatch), small_grid(seeds=(3,)).cells()[0]
    with pytest.raises(RunDirError, match=rf"cannot be locked \({why}\), and by locks"), claimed(cell, tmp_path):
        raise AssertionError
    keep(tmp_path / RESULTS, {"arm": "plain"})
    assert read_lines(tmp_path / RESULTS) == [{"arm": "plain"}]
