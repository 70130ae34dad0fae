"""A queue and the data set of a run: what is refused, and what the recipe may state."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import resmom.runs.training.queue as checked
from resmom.data.errors import DataError
from resmom.data.open import open_data
from resmom.data.source import Data
from resmom.losses.residual import Residual
from resmom.methods.mocov2 import MoCoV2
from resmom.rundir import RunDir
from resmom.runs.pretrain import pretrain
from resmom.runs.training.job import require_batch
from resmom.runs.training.queue import stale_keys
from tests.runs.crash import QUIET, small_run, write_images


def queued(queue: int, recipe: str = "custom") -> Any:
    return replace(small_run(), recipe=recipe, method=MoCoV2(hidden=8, out=4, queue=queue), residual=Residual(site="z"))


@pytest.fixture
def forty(tmp_path: Path) -> Data:
    return open_data(str(write_images(tmp_path / "images.npz")))


def test_a_queue_longer_than_the_data_set_is_refused_before_anything_is_written(tmp_path: Path, forty: Data) -> None:
    require_batch(queued(40), forty)
    with pytest.raises(DataError, match=r"method.queue is 41, but .* has 40 images.*set method.queue to at most 40"):
        require_batch(queued(41), forty)
    with pytest.raises(DataError, match=r"method.queue is 41"):
        pretrain(queued(41), str(tmp_path / "images.npz"), tmp_path / "run", QUIET)
    assert not RunDir(tmp_path / "run").path.exists()


def test_a_recipe_may_state_it_and_the_run_then_warns(forty: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(checked.RECIPES, "published", lambda: queued(64))
    for name in ("published", "published_residual", "grid: arm, from published", "g, from x: a, from published"):
        run = queued(64, name)
        require_batch(run, forty)
        assert "64 keys, is longer than the 40 images, as published with this recipe" in stale_keys(run, forty)
    with pytest.raises(DataError, match=r"method.queue is 65"):  # another length is the user's own
        require_batch(queued(65, "published"), forty)
    assert stale_keys(queued(40, "published"), forty) == stale_keys(small_run(), forty) == ""
