"""Modules of the user's own that keep what they computed, and what runs must know of methods that are not theirs."""

import json
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import resmom
from resmom.build import Own as Brought
from resmom.checkpoint import load_checkpoint
from resmom.config import ConfigError, Run
from resmom.jsonfiles import read_lines
from resmom.rundir import RunDir
from resmom.runs.settling import memory, trial
from resmom.runs.settling.memory import Kept, within_memory
from resmom.runs.training import loop
from resmom.runs.training.job import Job, prepare
from resmom.train.state import memory_of, restored, set_aside
from tests.runs.crash import small_run
from tests.runs.settling.derived import CPU, images, tiny
from tests.runs.test_own import DATA, TEST, Body, Own


class Keeping(Body):
    """Keeps its last map, which has a graph after a step."""

    def forward(self, x: Tensor) -> Tensor:
        self.last = super().forward(x)
        return self.last


class Other(Body):
    """Has weights of the same names, and makes another map of them."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).square()


class InParts(Own):
    micro_batches = True


def normed() -> nn.Module:
    """With both of torch's old norms of weights, whose hooks keep the weight that they computed."""
    body = Body()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        nn.utils.weight_norm(body.layers[0])
    body.layers.append(nn.utils.spectral_norm(nn.Conv2d(6, 6, 1)))
    return body


def seeded(make: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(5)
    return make()


def asked(**options: Any) -> dict[str, Any]:
    return {"test": TEST, "device": "cpu", "quiet": True, **options}


def measured(path: Path) -> list[dict[str, Any]]:
    """All metrics by step, without what the clock said. The start is measured later, and a stop may come between."""
    found = sorted(read_lines(RunDir(path).metrics), key=lambda line: (line["step"], line["kind"]))
    return [{name: value for name, value in line.items() if "second" not in name} for line in found]


@pytest.mark.slow
def test_a_backbone_that_keeps_its_map_trains_as_one_that_does_not(tmp_path: Path) -> None:
    for name, make in (("plain", Body), ("keeping", Keeping)):
        resmom.pretrain(DATA, tmp_path / name, small_run(epochs=2), **asked(backbone=seeded(make)))
    lines = measured(tmp_path / "keeping")
    assert lines == measured(tmp_path / "plain")
    assert {(line["kind"], line["step"]) for line in lines} >= {("health", 0), ("knn", 0), ("knn", 6)}
    start, end = (next(line for line in lines if (line["kind"], line["step"]) == ("health", step)) for step in (0, 6))
    assert start["start_share"] == 1.0 and start["student/uniformity"] != end["student/uniformity"]


@pytest.mark.slow
@pytest.mark.parametrize("make", [Keeping, normed])
def test_and_resumes_as_if_it_had_not_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[], nn.Module]
) -> None:
    brought = asked(backbone=seeded(make))
    resmom.pretrain(DATA, tmp_path / "whole", small_run(epochs=2), **brought)

    def failing(job: Job) -> list[dict[str, Any]]:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(loop, "monitor", failing)
        with pytest.raises(KeyboardInterrupt):
            resmom.pretrain(DATA, tmp_path / "run", small_run(epochs=2), **brought)
    resmom.resume(tmp_path / "run", data=DATA, **brought)
    assert measured(tmp_path / "run") == measured(tmp_path / "whole")
    ends = [load_checkpoint(RunDir(tmp_path / name).last, CPU)["state"] for name in ("run", "whole")]
    for part in ("student", "teacher"):
        assert all(torch.equal(value, ends[1][part][name]) for name, value in ends[0][part].items())


def test_what_is_lent_other_weights_is_as_it_was_afterwards() -> None:
    job = prepare(small_run(), images(), CPU, Brought(method=Own))
    method = job.state.method
    method.register_buffer("queue", torch.randn(4), persistent=False)
    first = set_aside(method)
    with torch.no_grad():
        for value in (*method.parameters(), *method.buffers()):
            value.add_(1)
    now = set_aside(method)
    with pytest.raises(RuntimeError, match="in between"), restored(method, first):
        assert all(torch.equal(value, first[name]) for name, value in set_aside(method).items())
        method.queue.zero_()
        raise RuntimeError("in between")
    assert memory_of(method).keys() == {"queue"} <= now.keys()
    assert all(torch.equal(value, now[name]) for name, value in set_aside(method).items())


@pytest.mark.parametrize(("method", "parts"), [(None, True), (Own, False), (InParts, True)])
def test_a_method_of_ones_own_is_cut_only_where_it_says_that_it_may_be(
    monkeypatch: pytest.MonkeyPatch, method: Any, parts: bool
) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda device: 2**20)
    run = replace(tiny(Run()), residual=replace(Run().residual, site="z"))
    job = prepare(run, images(), CPU, Brought(method=method))
    assert (within_memory(job, Kept(2**17)).micro_batch > 0) == parts
    monkeypatch.undo()
    assert trial.trial(run, images(), CPU, 1, Brought(method=method), seconds=0.0).in_parts == parts


@pytest.mark.slow
def test_another_class_than_at_the_start_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    resmom.pretrain(DATA, tmp_path, small_run(epochs=1, warmup_epochs=0.5), **asked(backbone=Body()))
    resmom.resume(tmp_path, data=DATA, **asked(backbone=Body()))
    resmom.load(tmp_path, backbone=Body())
    assert "attention" not in capsys.readouterr().err
    where = f"{__name__}.Other"
    words = f"attention: the run began with the backbone {Body.__module__}.Body, and backbone= is now {where}; go on"
    resmom.resume(tmp_path, data=DATA, **asked(backbone=Other()))
    assert capsys.readouterr().err.count(words) == 1
    resmom.result(tmp_path, backbone=Other())
    assert capsys.readouterr().err.count(words) == 1
    resmom.load(tmp_path, backbone=Other())
    assert capsys.readouterr().err.count(words) == 1
    assert json.loads(RunDir(tmp_path).config.read_text())["own"] == {"backbone": f"{Body.__module__}.Body"}


@pytest.mark.parametrize("inner", [False, True])
def test_torchscript_is_refused_before_anything_is_written(tmp_path: Path, inner: bool) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of torch.jit itself
        script = torch.jit.script(Body().layers)
    backbone = nn.Sequential(script, nn.Conv2d(6, 6, 1)) if inner else script
    with pytest.raises(ConfigError, match=r"is TorchScript, .*; give the module as it was before torch\.jit"):
        resmom.pretrain(DATA, tmp_path / "run", small_run(), **asked(backbone=backbone))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("lazy", [nn.LazyConv2d(6, 1), nn.LazyBatchNorm2d(), nn.LazyBatchNorm2d(affine=False)])
def test_a_lazy_part_without_weights_is_refused_before_anything_is_written(tmp_path: Path, lazy: nn.Module) -> None:
    backbone, kind = nn.Sequential(*Body().layers, lazy), type(lazy).__name__
    words = rf"its part \d, {kind}, gets its weights with the first views, and has none yet; call the module once"
    with pytest.raises(ConfigError, match=words):
        resmom.pretrain(DATA, tmp_path / "run", small_run(), **asked(backbone=backbone))
    assert not (tmp_path / "run").exists()
    with pytest.raises(ConfigError, match=words):
        resmom.weights(backbone=backbone, image_size=16)
    backbone(torch.zeros(2, 3, 16, 16))  # the advice, followed
    assert resmom.weights(backbone=backbone, image_size=16).image_size == 16
