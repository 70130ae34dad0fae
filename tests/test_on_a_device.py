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
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from benchmarks.peers import ours
from benchmarks.peers.case import Case
from resmom.config import Run
from resmom.data.open import open_data
from resmom.data.source import Source
from resmom.evaluate.detection import Detect
from resmom.evaluate.fcn import Fcn
from resmom.evaluate.knn import knn
from resmom.evaluate.online import OnlineClassifier
from resmom.evaluate.patchlinear import PatchLinear
from resmom.evaluate.settings import Knn
from resmom.jsonfiles import read_lines
from resmom.losses.residual import Residual
from resmom.methods.mocov2 import MoCoV2
from resmom.nets.backbones import SmallResNet
from resmom.runs.finetuned.detect import detect_train
from resmom.runs.finetuned.segment import segment_train
from resmom.runs.machine import Machine
from resmom.runs.origin import Origin
from resmom.runs.predicting.predict import predict
from resmom.runs.pretrain import pretrain, resume
from resmom.runs.training import job, loop
from resmom.train.optim import Adam, AdamW, Lars, OptimConfig, Sgd, build_optimizer
from resmom.train.plan import Plan, Precision
from resmom.train.state import State, read_skips
from resmom.train.step import Rules, train_step
from resmom.types import Batch, numbered
from resmom.views.apply import views
from resmom.views.policy import Policy, mocov3_cifar, mocov3_imagenet
from tests.conftest import Call
from tests.methods import golden
from tests.pretended import POSSIBLE, Held, HostRead, MixedDevices, load, start, unread
from tests.pretended_autocast import HEADER, operations
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

    def test_a_copy_to_it_that_waits_is_known(self, device: torch.device) -> None:
        here, there = torch.ones(3, device=device), torch.ones(3)
        for copy in (
            lambda: there.to(device),
            lambda: torch.tensor([1.0, 2.0], device=device),
            lambda: torch.ones(3, device=device).copy_(there),
            lambda: here[:2].copy_(there[:2]),
        ):
            copy()
            with unread(), pytest.raises(HostRead, match="copy to the device"):
                copy()
        with unread():
            sent = there.to(device, non_blocking=True)
            here.copy_(2 * there, non_blocking=True)
            here[:2] = 3.0  # a number is no tensor to be copied
        assert sent.tolist() == [1.0, 1.0, 1.0] and here.tolist() == [3.0, 3.0, 2.0]

    def test_gradients_and_what_is_made_of_nothing_lie_there(self, device: torch.device) -> None:
        layer = nn.Conv2d(3, 4, 3).to(device)
        layer(torch.randn(2, 3, 8, 8, device=device)).square().mean().backward()
        grown = (torch.arange(3, device=device), torch.full((2,), 3.0, device=device), torch.zeros_like(layer.weight))
        for tensor in (layer.weight.grad, *grown, torch.tensor([1.0, 2.0], device=device)):
            assert isinstance(tensor, Held) and tensor.device == device
        assert grown[0].shape == (3,)

    def test_autocast_computes_in_half_precision_what_cuda_does(self, device: torch.device) -> None:
        assert len(operations(HEADER.read_text(), "LOWER_PRECISION_FP")) > 20
        x = torch.randn(2, 3, 4, 4, device=device, requires_grad=True)
        layer, norm = nn.Conv2d(3, 4, 3).to(device), nn.LayerNorm(4).to(device)
        for kind in (torch.bfloat16, torch.float16):
            with torch.autocast(device.type, kind):
                half = layer(x)
                rows = half.flatten(1)[:, :4]
                found = {"conv": half, "product": rows @ rows.T, "relu": half.relu(), "whole": x.relu()}
                full = {"norm": norm(rows), "sum": rows.sum(1), "softmax": rows.softmax(1), "mse": mse_loss(rows, rows)}
            assert {name: value.dtype for name, value in found.items()} == {
                "conv": kind, "product": kind, "relu": kind, "whole": torch.float32
            }  # fmt: skip
            assert {value.dtype for value in full.values()} == {torch.float32}
            half.float().sum().backward()
        assert x.grad is not None and layer.weight.grad is not None and layer.weight.grad.dtype == torch.float32
        with torch.autocast(device.type, torch.bfloat16), torch.autocast(device.type, enabled=False):
            assert layer(x).dtype == torch.float32


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
    if rules.precision == "fp16":
        held.scaler = torch.amp.GradScaler(place.type, init_scale=2.0**8)
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


PLAINEST = [kind for kind in golden.METHODS if not kind.endswith(("predictor", "local", "plus", "symmetric"))]
HALVES: list[tuple[str, Precision]] = [(kind, "bf16") for kind in PLAINEST]
HALVES += [(kind, "fp16") for kind in ("mocov3", "ibot", "densecl", "msf", "barlow")]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "precision"), HALVES)
def test_a_step_in_half_precision(kind: str, precision: Precision, device: torch.device) -> None:
    """What CUDA computes in half precision is not what a CPU does; the losses are in full precision on both."""
    taught = bool(golden.METHODS[kind].traits.sites)
    rules = Rules(Residual(1.5 if taught else 0.0, golden.site(kind)), precision, clip=1.0, gated=True)
    (want, _), (found, held) = (steps(kind, Adam(), place, rules) for place in (torch.device("cpu"), device))
    for name, value in want[0].items():
        assert found[0][name] == pytest.approx(value, rel=0.05, abs=0.02), name
    assert all(np.isfinite(value) for each in found for value in each.values())
    assert sum(each["skipped"] for each in found) == 0
    for where in (held.method, held.online):
        assert where is not None and all(value.device == device for value in where.state_dict().values())


BLURRED = replace(mocov3_imagenet(), views=tuple(replace(view, size=24) for view in mocov3_imagenet().views))


TURNED = replace(BLURRED, views=(replace(BLURRED.views[0], flip_vertical=0.5, quarter_turns=0.8, rotation=30.0),))


@pytest.mark.parametrize("policy", [mocov3_cifar(), BLURRED, TURNED], ids=["cifar", "imagenet", "turned"])
def test_views_are_made_where_the_images_are(policy: Policy, device: torch.device) -> None:
    index = np.arange(16)
    images = golden.images(16)
    placed = images.to(device)
    with unread():
        made = views(placed, index, policy, 3, 1)
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
    """Runs have their images on the device, a flag there decides on each step, and no batch or step waits for it."""
    rules = job.Job.rules.fget
    assert rules is not None

    def resident(source: Source, place: torch.device) -> Tensor | None:
        if not source.stacked:
            return None
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
    monkeypatch.setattr(job.Job, "_made", quietly(job.Job._made))
    monkeypatch.setattr(loop, "train_step", quietly(train_step))


def queue_run() -> Run:
    run = small_run()
    method = MoCoV2(hidden=8, out=4, queue=16, same_view=True, shuffle_bn=4)
    return replace(run, method=method, residual=replace(run.residual, site="z"))


def turned_run() -> Run:
    """With everything that a view can be made of."""
    run = small_run()
    return replace(run, policy=replace(TURNED, views=tuple(replace(view, size=16) for view in TURNED.views * 2)))


def as_files(folder: Path, arrays: str) -> str:
    """The training images of an .npz file as files of two sizes, in a folder for each class."""
    found = np.load(arrays)
    for number, (pixels, label) in enumerate(zip(found["train_images"], found["train_labels"], strict=True)):
        file = folder / "files" / str(label) / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels[: 16 - number % 2]).save(file)
    return str(folder / "files")


STEPS: dict[str, Callable[[], Run]] = {
    "resident": small_run,
    "in RAM": small_run,
    "in files": small_run,
    "views that grow": partial(small_run, sizes=(0.5, 1.0)),
    "all kinds of views": turned_run,
    "micro-batches": partial(small_run, micro_batch=4),
    "local views": dino_run,
    "masks": ibot_run,
    "hidden patches in numbers": dinov2_run,
    "a queue, keys shuffled": queue_run,
    "fp16": partial(small_run, precision="fp16"),
}


@pytest.mark.parametrize("kind", STEPS)
def test_a_batch_and_its_step_wait_for_nothing(
    kind: str, as_on_a_gpu: None, device: torch.device, small_transformers: None, tmp_path: Path
) -> None:
    """As the loop has them, in the first epoch and in the last."""
    place = str(write_images(tmp_path / "x.npz"))
    made = job.prepare(STEPS[kind](), open_data(as_files(tmp_path, place) if kind == "in files" else place), device)
    assert (made.resident is None) == (kind == "in files") and made.labels is not None
    if kind == "in RAM":
        made.resident = None
    made.state.method.train()
    for step in (0, 1, made.steps - 1):
        with unread():
            batch = made.batch(step)
            labels = made.labels[batch.index]
            metrics = train_step(made.state, batch, made.plan(step), made.rules, labels, measure=True)
        assert all(each.device == device for each in (*batch.views, *batch.masks, batch.index, *metrics.values()))
        assert batch.masks or kind != "masks"
    read_skips(made.state)
    assert made.state.step == 3 and made.state.skipped == (3 if kind == "fp16" else 0)  # its scale falls first


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
