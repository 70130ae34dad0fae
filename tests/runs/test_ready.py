"""What is refused before a run starts, and in which order."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from resmom.config import ConfigError, Run
from resmom.data.open import open_data
from resmom.errors import RunDirError
from resmom.jsonfiles import write_json
from resmom.rundir import RunDir
from resmom.runs import ready
from resmom.runs.machine import Machine
from resmom.runs.pretrain import pretrain
from resmom.runs.ready import workers_for
from resmom.train.optim import Sgd
from tests.data.test_folder import draw
from tests.runs.settling.derived import QUIET, images, tiny


@pytest.mark.parametrize(
    ("world", "here", "threads", "workers"),
    [(1, 1, 0, 3), (8, 4, 0, 6), (8, 4, 2, 3), (2, 64, 0, 1)],
    ids=["alone", "a quarter of the cores each", "threads as asked for", "more processes than cores"],
)
def test_threads_that_prepare_batches_share_the_cores(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, world: int, here: int, threads: int, workers: int
) -> None:
    """torchrun has torch use one thread per process; decoding with one would let a GPU wait."""
    draw(tmp_path / "a.png", 0)
    draw(tmp_path / "b.png", 1, 30, 20)  # of two sizes, or they would lie in RAM
    photos = open_data(tmp_path)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    monkeypatch.setattr(ready, "usable_cores", lambda: 25.5)
    monkeypatch.setattr(ready.dist, "world", lambda: world)
    for name, value in {"RANK": 0, "WORLD_SIZE": world, "LOCAL_WORLD_SIZE": here}.items():
        monkeypatch.setenv(name, str(value))
    assert workers_for(Machine(threads=threads), photos) == workers
    assert workers_for(Machine(workers=5), photos) == 5
    assert workers_for(Machine(threads=threads), images()) == 1


def test_a_used_folder_hides_no_mistake_of_a_recipe(tmp_path: Path) -> None:
    """Whoever has named another folder would meet it then."""
    write_json(RunDir(tmp_path).config, {})
    with pytest.raises(ConfigError, match=r"optim\.lr is -1"):
        pretrain(replace(tiny(Run()), optim=Sgd(lr=-1.0)), images(), tmp_path, QUIET)
    with pytest.raises(RunDirError, match=r"`resmom\.resume\("):
        pretrain(tiny(Run()), images(), tmp_path, QUIET)
