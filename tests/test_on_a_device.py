"""What runs on a device that is not the CPU: nothing lies in the wrong place, and nothing is read where nobody waits.

The device is pretended (tests/pretended.py), so that this holds before a GPU has seen the code.
"""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from benchmarks.peers import ours
from benchmarks.peers.case import Case
from resmom.config import Run
from resmom.data.source import Source
from resmom.evaluate.detection import Detect
from resmom.evaluate.fcn import Fcn
from resmom.evaluate.knn import Knn, knn
from resmom.evaluate.online import OnlineClassifier
from resmom.evaluate.patchlinear import PatchLinear
from resmom.jsonfiles import read_lines
from resmom.losses.residual import Residual
from resmom.nets.backbones import SmallResNet
from resmom.runs import job, loop
from resmom.runs.finetuned.detect import detect_train
from resmom.runs.finetuned.segment import segment_train
from resmom.runs.machine import Machine
from resmom.runs.origin import Origin
from resmom.runs.predicting.predict import predict
from resmom.runs.pretrain import pretrain, resume
from resmom.train.optim import Adam, AdamW, Lars, OptimConfig, Sgd, build_optimizer
from resmom.train.plan import Plan
from resmom.train.state import State
from resmom.train.step import Rules, train_step
from resmom.types import Batch, numbered
from resmom.views.apply import views
from resmom.views.policy import Policy, mocov3_cifar, mocov3_imagenet
from tests.conftest import Call
from tests.methods import golden
from tests.pretended import POSSIBLE, Held, HostRead, MixedDevices, load, start, unread
from tests.runs.crash import dino_run, dinov2_run, ibot_run, small_run, write_images
from tests.runs.rectangles import tiny, write_rectangles
from tests.runs.scenes import tiny_fcn, tiny_linear, write_scenes
from tests.runs.shapes import tiny_masks, write_shapes

pytestmark = pytest.mark.skipif(not POSSIBLE, reason="this torch has no backends written in Python")

PLAN = Plan(lr=0.1, momentum=0.9, residual=1.5)
RANDOM = Origin(backbone=SmallResNet((8, 16)))
HERE = Machine(device="pretended", workers=0, quiet=True)
OPTIMISERS: list[OptimConfig] = [Sgd(), Lars(), Lars(form="clipped"), AdamW(), Adam(weight_decay=1e-2)]


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> torch.device:
    monkeypatch.setattr(torch, "load", partial(load, torch.load))
    return start()


class TestTheDevice:
    """What is pretended: a check on it that could not fail would be none."""

    def test_tensors_of_two_devices_do_not_meet(self, device: torch.device) -> None:
        here, there = torch.ones(2, 3, device=device), torch.ones(2, 3)
        for meet in (
            lambda: here + there,
            lambda: here @ there.T,
            lambda: nn.Linear(3, 1)(here),
            lambda: here[torch.tensor([0])],
            lambda: torch.cat([here, there]),
            lambda: torch.where(there > 0, here, here),
        ):
            with pytest.raises(MixedDevices):
                meet()
        assert (here + torch.tensor(1.0)).device == device  # a lone number may
        assert torch.equal((here + there.to(device)).cpu(), 2 * there)

    def test_what_is_read_is_known(self, device: torch.device) -> None:
        here = torch.ones(3, device=device)
        for read in (
            lambda: here.sum().item(),
            lambda: bool(here.sum() > 0),
            lambda: here.tolist(),
            lambda: here.cpu(),
            lambda: here[here > 0],
            lambda: here.nonzero(),
            lambda: torch.zeros(3).copy_(here),
        ):
            read()
            with unread(), pytest.raises(HostRead):
                read()

    def test_gradients_and_what_is_made_of_nothing_lie_there(self, device: torch.device) -> None:
        layer = nn.Conv2d(3, 4, 3).to(device)
        layer(torch.randn(2, 3, 8, 8, device=device)).square().mean().backward()
        grown = (torch.arange(3, device=device), torch.full((2,), 3.0, device=device), torch.zeros_like(layer.weight))
        for tensor in (layer.weight.grad, *grown, torch.tensor([1.0, 2.0], device=device)):
            assert isinstance(tensor, Held) and tensor.device == device
        assert grown[0].shape == (3,)


def state(method: Any, config: OptimConfig, place: torch.device) -> State:
    made = method.to(place)
    torch.manual_seed(0)
    online = OnlineClassifier(made.student.backbone.width, 3).to(place)
    held = State(made, build_optimizer(config, made.student, gated=True), online=online)
    held.online_optimizer = build_optimizer(config, online, weight_decay=0.0, gated=True)
    return held


def steps(kind: str, config: OptimConfig, place: torch.device, rules: Rules) -> tuple[list[dict[str, float]], State]:
    """Two steps of a method, on a device that may not be read meanwhile: their metrics, and what they led to."""
    held = state(golden.start(kind, pairs=True), config, place)
    policy = golden.with_local(golden.small_views()) if kind.endswith("_local") else golden.small_views()
    index = np.arange(golden.BATCH)
    made = views(golden.images()[: golden.BATCH], index, policy, golden.SEED, 0)
    put: Callable[[Tensor], Tensor] = lambda tensor: tensor.to(place)  # noqa: E731
    masks = golden.hidden(kind, index, 0)
    hidden = tuple(put(numbered(mask)) for mask in masks)
    batch = Batch(tuple(map(put, made)), put(torch.from_numpy(index)), tuple(map(put, masks)), 0.0, hidden)
    labels = put(torch.arange(16) % 3)
    with unread():
        found = [train_step(held, batch, PLAN, rules, labels, measure=True) for _ in range(2)]
    return [{name: value.item() for name, value in each.items()} for each in found], held


CASES = [(kind, Sgd()) for kind in golden.METHODS] + [("mocov3", config) for config in OPTIMISERS[1:]]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "config"), CASES, ids=str)
def test_a_step_is_that_of_the_cpu_and_reads_nothing(kind: str, config: OptimConfig, device: torch.device) -> None:
    taught = bool(golden.METHODS[kind].traits.sites)
    rules = Rules(Residual(1.5 if taught else 0.0, golden.site(kind)), clip=1.0, gated=True)
    (want, _), (found, held) = (steps(kind, config, place, rules) for place in (torch.device("cpu"), device))
    for before, after in zip(want, found, strict=True):
        assert before == pytest.approx(after, rel=2e-3, abs=1e-4)
    for where in (held.method, held.online):
        assert where is not None and all(value.device == device for value in where.state_dict().values())


BLURRED = replace(mocov3_imagenet(), views=tuple(replace(view, size=24) for view in mocov3_imagenet().views))


TURNED = replace(BLURRED, views=(replace(BLURRED.views[0], flip_vertical=0.5, quarter_turns=0.8, rotation=30.0),))


@pytest.mark.parametrize("policy", [mocov3_cifar(), BLURRED, TURNED], ids=["cifar", "imagenet", "turned"])
def test_views_are_made_where_the_images_are(policy: Policy, device: torch.device) -> None:
    index = np.arange(16)
    images = golden.images(16)
    with unread():
        made = views(images.to(device), index, policy, 3, 1)
    for here, there in zip(made, views(images, index, policy, 3, 1), strict=True):
        assert isinstance(here, Held)
        torch.testing.assert_close(here.cpu(), there, rtol=0, atol=1e-3)


@pytest.mark.parametrize("classes", [2, 40])
def test_neighbours_vote_as_on_the_cpu(classes: int, device: torch.device) -> None:
    random = torch.Generator().manual_seed(0)
    bank, queries = (torch.randn(n, 6, generator=random) for n in (90, 50))
    bank[30:60] = bank[:30]  # equally near, with other labels
    known, asked = (torch.randint(classes, (n,), generator=random) for n in (90, 50))
    here = knn(bank, known, queries, asked, Knn(k=5))
    there = knn(*(one.to(device) for one in (bank, known, queries, asked)), Knn(k=5))
    assert (here.top1, here.top5, here.protocol) == (there.top1, there.top5, there.protocol)


@pytest.fixture
def as_on_a_gpu(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs have their images on the device, a flag there decides on each step, and no batch or step is read."""
    rules = job.Job.rules.fget
    assert rules is not None

    def resident(source: Source, place: torch.device) -> Tensor:
        images = source.read(np.arange(len(source)))
        assert isinstance(images, Tensor)
        return images.to(place)

    def quietly(work: Callable[..., Any]) -> Callable[..., Any]:
        def run(*given: Any, **named: Any) -> Any:
            with unread():
                return work(*given, **named)

        return run

    monkeypatch.setattr(job.Job, "rules", property(lambda self: replace(rules(self), gated=True)))
    monkeypatch.setattr(job, "build_optimizer", partial(build_optimizer, gated=True))
    monkeypatch.setattr(job, "_resident", resident)
    monkeypatch.setattr(job, "views", quietly(views))
    monkeypatch.setattr(loop, "train_step", quietly(train_step))


RUNS = {"mocov3": small_run, "dino": dino_run, "ibot": ibot_run, "dinov2": dinov2_run}


@pytest.mark.slow
@pytest.mark.parametrize("kind", RUNS)
def test_a_run_is_that_of_the_cpu(kind: str, as_on_a_gpu: None, small_transformers: None, tmp_path: Path) -> None:
    run: Run = RUNS[kind]()
    data = str(write_images(tmp_path / "x.npz"))
    for out, where in (("cpu", "cpu"), ("here", "pretended")):
        pretrain(run, data, tmp_path / out, replace(HERE, device=where))
    want, found = (read_lines(tmp_path / out / "metrics.jsonl") for out in ("cpu", "here"))
    assert [(line["kind"], line["step"]) for line in found] == [(line["kind"], line["step"]) for line in want]
    first = [next(line for line in lines if line["kind"] == "train") for lines in (want, found)]
    for name, value in first[0].items():
        if name.startswith(("loss", "gap", "grad_norm")):
            assert first[1][name] == pytest.approx(value, rel=2e-3, abs=1e-4), name
    resumed = resume(tmp_path / "here", HERE)
    assert resumed.step == resumed.steps


def test_the_step_that_peers_are_measured_beside(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ours of `benchmarks.peers step --device`: what it puts together lies there, and no round waits for the device."""
    rounds = 0

    def gate() -> None:
        nonlocal rounds
        rounds += 1
        if rounds == 1:  # what was built until here may have been read
            steps.enter_context(unread())
        if rounds == 3:
            raise EndOfRounds

    monkeypatch.setattr(Case, "on_gpu", True)
    monkeypatch.setattr(ours, "build_optimizer", partial(build_optimizer, gated=True))
    with ExitStack() as steps, pytest.raises(EndOfRounds):
        ours.step(Case("step", 4, 16, device=str(device), keep_memory=False), gate)


class EndOfRounds(Exception):
    pass


MEASURED = {
    "--protocols knn linear online": {"knn-v1", "linear-v1", "online-linear-v1"},
    "--baselines --protocols knn": {"knn-v1"},
    "--linear-crop --probe.epochs 1": {"linear-crop-v1"},
    "--low-shot 1,5 --draws 2": {"low-shot-v1"},
    "--finetune --tuning.epochs 1": {"finetune-v1"},
    "--sweep": {"sweep-v1"},
}


@pytest.mark.slow
def test_everything_that_is_measured_of_a_run(device: torch.device, call: Call, tmp_path: Path) -> None:
    data, out = str(write_images(tmp_path / "x.npz")), tmp_path / "run"
    pretrain(small_run(epochs=1, warmup_epochs=0), data, out, HERE)
    seen = 0
    for options, protocols in MEASURED.items():
        status, _, told = call("evaluate", out, "--device", "pretended", *options.split())
        assert status == 0, told
        added, seen = read_lines(out / "evaluations.jsonl")[seen:], len(read_lines(out / "evaluations.jsonl"))
        assert protocols <= {line["protocol"].split()[0] for line in added}, options
    for line in (f"evaluate {out} --all", f"gap {out}", f"embed {out} --data {data} --out {tmp_path}/e.npz"):
        status, _, told = call(*line.split(), "--device", "pretended")
        assert status == 0, told
    assert np.load(tmp_path / "e.npz")["train_student"].shape == (40, 8)
    for name, kind in {"a": "--protocols linear", "b": "--linear-crop", "c": "--finetune --tuning.epochs 1"}.items():
        kept, table = tmp_path / f"{name}.safetensors", tmp_path / f"{name}.csv"
        line = f"evaluate {out} --network student {kind} --save-classifier {kept}"
        for one in (line, f"predict {kept} --data {data} --out {table}"):
            status, _, told = call(*one.split(), "--device", "pretended")
            assert status == 0, told
        assert len(table.read_text().splitlines()) == 51
    status, _, told = call(
        "embed", out, "--layer", "stage1, mean", "--out", f"{tmp_path}/l.npz", "--device", "pretended"
    )
    assert status == 0 and np.load(tmp_path / "l.npz")["train_student"].shape == (40, 4), told


@pytest.mark.slow
def test_everything_that_is_measured_of_a_file(device: torch.device, call: Call, tmp_path: Path) -> None:
    data, file = write_images(tmp_path / "x.npz"), tmp_path / "run" / "export" / "backbone-student.safetensors"
    pretrain(small_run(epochs=1, warmup_epochs=0), str(data), tmp_path / "run", HERE)
    line = ("evaluate", "--init", file, "--data", data, "--device", "pretended", "--out", tmp_path / "out")
    for options in MEASURED:
        status, _, told = call(*line, *options.replace(" online", "").split())
        assert status == 0, told
    found = {line["protocol"].split()[0] for line in read_lines(tmp_path / "out" / "evaluations.jsonl")}
    assert found == set.union(*MEASURED.values()) - {"online-linear-v1"}


DETECTORS = {form: tiny(detector=replace(tiny().detector, form=form)) for form in ("fpn", "c4", "retina")}


@pytest.mark.slow
@pytest.mark.parametrize("config", [*DETECTORS.values(), tiny_masks()], ids=[*DETECTORS, "mask"])
def test_a_detector(config: Detect, device: torch.device, tmp_path: Path) -> None:
    masks = config.detector.form == "mask"
    train, test = ((write_shapes if masks else write_rectangles)(tmp_path / name, 8, 0) for name in ("train", "test"))
    detect_train(config, RANDOM, [str(train)], [str(test)], tmp_path / "out", HERE)
    lines = read_lines(tmp_path / "out" / "random" / "metrics.jsonl")
    assert lines[-1]["kind"] == "detection" and np.isfinite(lines[-1]["ap"])
    found = predict(tmp_path / "out", str(tmp_path / "test"), tmp_path / "found", device="pretended")
    assert found.images == 8


@pytest.mark.slow
@pytest.mark.parametrize("config", [tiny_fcn(), tiny_linear()], ids=["fcn", "linear"])
def test_a_segmenter(config: Fcn | PatchLinear, device: torch.device, tmp_path: Path) -> None:
    train, test = (write_scenes(tmp_path, name, 8, 0) for name in ("train", "test"))
    ended = segment_train(config, RANDOM, [train], [test], tmp_path / "out", HERE)
    assert np.isfinite(ended.rows[0].scores["miou"])
    found = predict(tmp_path / "out", str(tmp_path / "test"), tmp_path / "named", device="pretended")
    assert sum(found.counts.values()) == 8 * 48 * 64
