"""What runs in one process says so under torchrun, before anything is read or written."""

from collections.abc import Callable
from pathlib import Path

import pytest

from resmom.errors import UserError
from resmom.evaluate.detection import Detect
from resmom.evaluate.fcn import Fcn
from resmom.nets.backbones import SmallResNet
from resmom.runs.comparisons.compare import compare
from resmom.runs.comparisons.grid import grid_of
from resmom.runs.finetuned.detect import detect_evaluate, detect_resume, detect_train
from resmom.runs.finetuned.segment import segment_evaluate, segment_resume, segment_train
from resmom.runs.origin import Origin

ORIGIN = Origin(backbone=SmallResNet((4, 8)))
GRID = grid_of({"recipe": "mocov3_digits", "arms": {"plain": {}, "residual": {"residual.weight": 1}}})
CALLS: dict[str, Callable[[Path], object]] = {
    "detect train": lambda out: detect_train(Detect(), ORIGIN, ["nowhere"], [], out),
    "detect resume": detect_resume,
    "detect evaluate": lambda out: detect_evaluate(out, ["nowhere"]),
    "segment train": lambda out: segment_train(Fcn(), ORIGIN, ["nowhere"], [], out),
    "segment resume": segment_resume,
    "segment evaluate": lambda out: segment_evaluate(out, ["nowhere"]),
    "compare": lambda out: compare(GRID, "nowhere", out),
}


@pytest.mark.parametrize("call", CALLS)
def test_several_processes_are_refused_at_once(call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(UserError, match=r"in one process.*start it without torchrun"):
        CALLS[call](tmp_path / "out")
    assert not (tmp_path / "out").exists()
