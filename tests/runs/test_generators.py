"""A program that draws between our calls goes on where it was: the global generators are its own."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import resmom
from resmom.runs.generators import generators_kept
from resmom.runs.training import loop
from resmom.runs.training.job import Job
from tests.runs.crash import small_run
from tests.runs.test_own import DATA, TEST, Body

RUN = small_run(epochs=1, warmup_epochs=0.5)


class Dropping(Body):
    """A backbone that draws in every step."""

    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.drop(super().forward(x))


def keeps(call: Callable[[], object]) -> bool:
    before = torch.get_rng_state()
    call()
    return torch.equal(torch.get_rng_state(), before)


@pytest.mark.slow
def test_training_and_measuring_leave_the_generators_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {"test": TEST, "device": "cpu", "quiet": True}
    brought = {"backbone": Dropping(), **asked}
    out, arms = tmp_path / "run", {"arms": {"plain": {}}, "seeds": [0]}

    def stopped(job: Job) -> list[dict[str, object]]:
        raise KeyboardInterrupt

    def broken_off() -> None:
        with pytest.raises(KeyboardInterrupt):
            resmom.pretrain(DATA, tmp_path / "stopped", RUN, **brought)

    assert keeps(lambda: resmom.pretrain(DATA, out, RUN, **brought))
    with monkeypatch.context() as patch:
        patch.setattr(loop, "monitor", stopped)
        assert keeps(broken_off)
    assert keeps(lambda: resmom.resume(tmp_path / "stopped", data=DATA, **brought))
    assert keeps(lambda: resmom.compare(RUN, DATA, tmp_path / "arms", backbone=Dropping, **arms, **asked))
    result = resmom.result(out, data=DATA, test=TEST, backbone=brought["backbone"])
    assert keeps(result.evaluate) and keeps(result.gap) and keeps(lambda: result.embed(tmp_path / "v.npz"))
    assert keeps(lambda: resmom.load(out, backbone=brought["backbone"])) and keeps(result.network)


def test_they_are_kept_whatever_happens() -> None:
    @generators_kept()
    def fails() -> None:
        torch.manual_seed(7)
        raise ValueError("on the way")

    before = torch.get_rng_state()
    with pytest.raises(ValueError, match="on the way"):
        fails()
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("known", [True, False])
def test_those_of_gpus_too(known: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    there = {"state": 1, "begun": known}
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: there["begun"])
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device: there["state"])
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, device: there.update(state=state))
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda seed: there.update(state=seed))
    with generators_kept():
        there.update(state=2, begun=True)
    assert there["state"] == (1 if known else torch.initial_seed())
