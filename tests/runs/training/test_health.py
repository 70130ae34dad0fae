"""The health of real runs: what is measured, that measuring changes nothing, and that each rule knows its illness."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits

import resmom.runs.training.loop as loop
from resmom.config import Log, Run
from resmom.data import loader
from resmom.data.digits import scene
from resmom.data.source import ArraySource, Data, Index
from resmom.diagnose.gap import gap
from resmom.diagnose.health import rankme, retrieval
from resmom.diagnose.rules import findings
from resmom.jsonfiles import read_lines
from resmom.losses.residual import Residual
from resmom.methods.byol import Byol
from resmom.methods.mocov2 import MoCoV2
from resmom.methods.mocov3 import MoCoV3
from resmom.methods.ressl import ReSSL
from resmom.nets.backbones import SmallResNet
from resmom.nets.teacher import Ema
from resmom.rundir import RunDir
from resmom.runs.machine import Machine
from resmom.runs.pretrain import pretrain
from resmom.runs.training import progress
from resmom.runs.training.health import health_line, start_share
from resmom.runs.training.job import Job, prepare
from resmom.runs.training.loop import Diverged
from resmom.schedule import half_cosine
from resmom.train.optim import AdamW, Sgd, set_rate
from resmom.train.plan import Train, plan
from resmom.train.step import Rules, train_step
from resmom.views.apply import views
from resmom.views.policy import Policy, View

BYOL = Byol(hidden=64, out=32, predictor_hidden=64)


def shapes(n: int = 256, size: int = 20) -> Data:
    """Discs, squares, diamonds and crosses in two random colours each, near the middle, with a little noise."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[:size, :size]
    pictures = []
    for number in range(n):
        (left, top), r = random.uniform(0.35, 0.65, 2) * size, random.uniform(0.2, 0.33) * size
        dx, dy = abs(x - left), abs(y - top)
        inside = (
            dx**2 + dy**2 < r**2,
            np.maximum(dx, dy) < 0.9 * r,
            dx + dy < 1.2 * r,
            (dx < 0.35 * r) | (dy < 0.35 * r),
        )[number % 4]
        pen, paper = random.uniform(0, 255, (2, 3))
        picture: NDArray[np.float64] = np.where(inside[..., None], pen, paper) + random.normal(0, 8, (size, size, 3))
        pictures.append(picture.clip(0, 255).astype(np.uint8))
    return as_data("shapes", pictures)


def digits(n: int = 256) -> Data:
    random = np.random.default_rng(0)
    return as_data("digits", [np.asarray(scene(stroke / 16.0, random)) for stroke in load_digits().images[:n]])


def as_data(name: str, pictures: list[NDArray[np.uint8]]) -> Data:
    images = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous()
    return Data(ArraySource(name, images), None, "made here")


def small(size: int = 16, **changes: Any) -> Run:
    """96 steps of a tiny network, with a teacher fast enough for so few."""
    view = View(size=size, scale=(0.5, 1.0), flip=0.5, hue=0.1, grey=0.2, blur=0.0)
    run = Run(
        method=MoCoV3(temperature=0.2, hidden=64, out=32),
        backbone=SmallResNet((8, 16, 32)),
        policy=Policy((view, view), (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)),
        optim=Sgd(lr=0.5),
        ema=Ema(0.9, 1.0),
        train=Train(epochs=12, batch=32, warmup_epochs=1),
        log=Log(line_steps=5, save_epochs=5, knn_epochs=0),
    )
    return replace(run, **changes)


def trained(job: Job, steps: int) -> Job:
    """A job that has trained for some steps."""
    run = job.run
    job.state.method.train()
    for step in range(steps):
        now = plan(run.train, run.optim.lr, run.ema, run.residual, step, job.per_epoch)
        set_rate(job.state.optimizer, now.lr)
        train_step(job.state, job.batch(step), now, Rules(run.residual))
    return job


CPU = torch.device("cpu")


def test_the_line_is_complete_and_what_its_parts_say() -> None:
    job = trained(prepare(small(), shapes(64), CPU), 3)
    line = health_line(job)
    measures = ("feature_sd", "rankme", "alignment", "uniformity", "retrieval")
    expected = {"kind", "images", "width", "start_share", "protocol"}
    expected |= {f"{network}/{measure}" for network in ("student", "teacher") for measure in measures}
    expected |= {f"gap/{site}/{kind}" for site in "hzp" for kind in ("intra", "inter", "chance")}
    assert set(line) == expected
    assert (line["kind"], line["images"], line["width"]) == ("health", 64, 32)
    assert line["protocol"].startswith("health-v1 (eval mode, fp32, 2 augmented views")
    assert line["start_share"] == pytest.approx(math.prod(half_cosine(s, 24, 0.9, 1.0) for s in range(3)))

    method = job.state.method.eval()
    index = np.arange(64)
    made = views(job.data.train.read(index), index, job.run.policy, job.run.train.seed, epoch=0)
    with torch.no_grad():
        student, teacher = ([network(view) for view in made] for network in (method.student, method.teacher))
    for name, said in (("student", student), ("teacher", teacher)):
        assert line[f"{name}/rankme"] == pytest.approx((rankme(said[0].h) + rankme(said[1].h)) / 2, rel=1e-4)
        assert line[f"{name}/retrieval"] == pytest.approx(retrieval(said[0].h, said[1].h))
    assert line["student/rankme"] != line["teacher/rankme"]
    at_p = gap([s.p for s in student], [t.z for t in teacher])
    assert at_p.inter is not None
    found = (line["gap/p/intra"], line["gap/p/inter"], line["gap/p/chance"])
    assert found == pytest.approx((at_p.intra.item(), at_p.inter.item(), at_p.chance.item()), rel=1e-4)


ONE_SIDED = [MoCoV2(hidden=64, out=32, queue=48), ReSSL(hidden=64, out=32, queue=48)]


@pytest.mark.parametrize("method", ONE_SIDED, ids=lambda method: type(method).__name__)
def test_a_method_without_pairs_has_its_gap_measured_here(method: Any) -> None:
    """In training student and teacher never meet on one view; in evaluation mode, on fixed images, they do."""
    run = small(method=method)
    job = prepare(run, shapes(64), CPU)
    job.state.method.train()
    now = plan(run.train, run.optim.lr, run.ema, run.residual, 1, job.per_epoch)
    metrics = train_step(job.state, job.batch(1), now, Rules(run.residual), measure=True)
    assert not any(name.startswith("gap/") for name in metrics) and metrics["skipped"] == 0
    line = health_line(trained(job, 3))
    sites = method.traits.sites
    assert {name for name in line if name.startswith("gap/")} == {
        f"gap/{site}/{kind}" for site in sites for kind in ("intra", "inter", "chance")
    }
    assert all(0 < line[f"gap/{site}/intra"] < line[f"gap/{site}/chance"] for site in sites)


def test_both_networks_are_equal_before_the_first_step() -> None:
    line = health_line(prepare(small(method=BYOL), shapes(40), CPU))
    for measure in ("feature_sd", "rankme", "alignment", "uniformity", "retrieval"):
        assert line[f"student/{measure}"] == line[f"teacher/{measure}"]
    assert line["gap/h/intra"] == pytest.approx(0.0, abs=1e-6)
    assert line["start_share"] == 1.0


def test_measuring_changes_nothing() -> None:
    job = trained(prepare(small(train=Train(epochs=2, batch=32, warmup_epochs=1)), shapes(64), CPU), 2)
    method = job.state.method
    method.student.get_submodule("projector").eval()  # a module that its owner froze
    modes = [module.training for module in method.modules()]
    assert True in modes and False in modes
    before = {name: value.clone() for name, value in method.state_dict().items()}
    random = torch.get_rng_state()
    first = health_line(job)
    assert [module.training for module in method.modules()] == modes
    assert torch.equal(torch.get_rng_state(), random)
    assert before.keys() == method.state_dict().keys()
    for name, value in method.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert all(p.grad is None or not p.grad.isnan().any() for p in method.parameters())
    assert health_line(job) == first


def test_at_most_512_images_the_same_ones_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    job = prepare(small(), shapes(600, size=8), CPU)
    asked: list[Index] = []
    read = ArraySource.read

    def watched(self: ArraySource, index: Index) -> Any:
        asked.append(index)
        return read(self, index)

    monkeypatch.setattr(ArraySource, "read", watched)
    line = health_line(job)
    once = np.concatenate(asked)
    assert line["images"] == 512 == len(np.unique(once)) == len(once)
    assert max(len(index) for index in asked) <= 128
    asked.clear()
    health_line(job)
    assert np.array_equal(np.concatenate(asked), once)


def test_at_the_precision_of_training() -> None:
    job = prepare(small(), shapes(48), CPU)
    exact = health_line(job)
    half = health_line(replace(job, run=replace(job.run, train=replace(job.run.train, precision="bf16"))))
    assert half["student/uniformity"] != exact["student/uniformity"]
    assert half["student/uniformity"] == pytest.approx(exact["student/uniformity"], rel=0.05)
    assert "bf16" in half["protocol"]


def test_one_image_has_no_gap_and_the_other_processes_measure_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = prepare(small(train=Train(epochs=2, batch=2, warmup_epochs=1)), shapes(2), CPU)
    alone = replace(alone, data=replace(alone.data, train=alone.data.train.subset(np.array([0]))))
    line = health_line(alone)
    assert line["images"] == 1 and not any(name.startswith("gap/") for name in line)
    assert math.isnan(line["student/uniformity"]) and line["student/retrieval"] == 100.0
    monkeypatch.setattr("resmom.dist.rank", lambda: 1)
    assert health_line(alone) == {}


def test_start_share() -> None:
    assert start_share(Ema(0.9, 0.9), 5, 100) == pytest.approx(0.9**5)
    assert start_share(Ema(1.0, 1.0), 500, 1000) == 1.0
    assert start_share(Ema(0.0, 0.0), 1, 10) == 0.0
    assert start_share(Ema(0.5, 0.5), 10**7, 10**8) == 0.0  # underflows, and stops there
    # The mean momentum of half a cosine over the whole run is half-way between its ends.
    assert start_share(Ema(0.99, 0.99, part="projector"), 5, 100) == 0.0  # its backbone is the student's
    assert start_share(Ema(0.999, 1.0), 1000, 1000) == pytest.approx(math.exp(-0.0005 * 1000), rel=1e-3)


def finished(run: Run, data: Data, out: Path, workers: int = 1) -> tuple[list[dict[str, Any]], int]:
    """The lines of a run that has gone to its end, or to the point where it gave up, and its planned length."""
    try:
        steps = pretrain(run, data, out, Machine(device="cpu", quiet=True, workers=workers)).steps
    except Diverged:
        steps = run.train.epochs * (len(data.train) // run.train.batch)
    return read_lines(RunDir(out).metrics), steps


def told(lines: list[dict[str, Any]], steps: int) -> set[str]:
    return {finding.name for finding in findings(lines, steps)}


HEALTHY: dict[str, tuple[Run, Callable[[], Data]]] = {
    "MoCo-v3, shapes": (small(), shapes),
    "MoCo-v3 with the term, digits": (small(size=24, residual=Residual(1.0)), digits),
    "MoCo-v3 at T = 1, AdamW, digits": (
        small(size=24, method=MoCoV3(temperature=1.0, hidden=64, out=32), optim=AdamW(lr=0.01, weight_decay=0.01)),
        digits,
    ),
    "BYOL, shapes": (small(method=BYOL), shapes),
    # A queue wants keys of one make, so a teacher that is slow from the first step on.
    "MoCo-v2, shapes": (small(method=MoCoV2(hidden=64, out=32, queue=128), ema=Ema(0.98, 0.98)), shapes),
    "BYOL with the term at z, AdamW, digits": (
        small(size=24, method=BYOL, residual=Residual(1.0, site="z"), optim=AdamW(lr=0.002)),
        digits,
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", HEALTHY)
def test_healthy_runs_are_told_nothing_at_any_checkpoint(name: str, tmp_path: Path) -> None:
    run, images = HEALTHY[name]
    lines, steps = finished(run, images(), tmp_path / "run")
    health = [line["step"] for line in lines if line["kind"] == "health"]
    assert health == [0, 40, 96]
    for step in health:
        assert findings([line for line in lines if line["step"] <= step], steps) == []
    train = [line for line in lines if line["kind"] == "train"]
    level = train[-1].get("loss/chance", train[0]["loss/method"])
    assert train[-1]["loss/method"] < 0.95 * level  # it did learn


SHORT = Train(epochs=9, batch=32, warmup_epochs=1)
SHORTEST = Train(epochs=3, batch=32, warmup_epochs=1)

ILL: dict[str, tuple[Run, str]] = {
    "both views pulled together at h": (
        small(residual=Residual(100.0, site="h", pairing="cross"), train=SHORT),
        "collapsed",
    ),
    "both views pulled together at z, no average": (
        small(method=BYOL, ema=Ema(0.0, 0.0), residual=Residual(100.0, site="z", pairing="cross"), train=SHORT),
        "collapsed",
    ),
    "weights decay away": (small(method=BYOL, optim=Sgd(lr=0.5, weight_decay=1.0), train=SHORT), "collapsed"),
    "untuned knowledge distillation": (
        # The rank ends at 4 to 8, whatever the width and the seed; of 96 dimensions that is far below the rule's 14.
        small(backbone=SmallResNet((8, 16, 96)), residual=Residual(10.0, distance="kd_feature"), train=SHORT),
        "dimensional collapse",
    ),
    "MoCo-v3 that does not move": (small(optim=Sgd(lr=1e-9), train=SHORT), "stuck at chance"),
    "BYOL that does not move": (small(method=BYOL, optim=Sgd(lr=1e-9), train=SHORT), "stuck at chance"),
    "a teacher that never moves": (small(ema=Ema(1.0, 1.0), train=SHORTEST), "teacher frozen"),
    "a teacher too slow for the run": (small(ema=Ema(0.996, 1.0), train=SHORTEST), "teacher frozen"),
    "BYOL drawn to one point": (small(method=BYOL, optim=Sgd(lr=100.0), train=SHORT), "stuck at chance"),
    "steps beyond all numbers": (small(optim=Sgd(lr=1e25)), "diverging"),
    "the term outweighs the method": (small(residual=Residual(100.0), ema=Ema(0.5, 0.5), train=SHORT), "diverging"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", ILL)
def test_an_ill_run_is_told_what_it_has(name: str, tmp_path: Path) -> None:
    run, illness = ILL[name]
    lines, steps = finished(run, shapes(), tmp_path / "run")
    assert illness in told(lines, steps)


@pytest.mark.slow
def test_a_run_that_waits_for_its_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a clock on which reading a batch takes three times as long as a step, and nothing else takes any time."""
    read, train_step, now = ArraySource.read, loop.train_step, [0.0]

    def slow(self: ArraySource, index: Index) -> Any:
        now[0] += 0.3
        return read(self, index)

    def quick(*arguments: Any, **options: Any) -> Any:
        now[0] += 0.1
        return train_step(*arguments, **options)

    data, clock = (
        shapes(),
        SimpleNamespace(perf_counter=lambda: now[0], monotonic=lambda: now[0], process_time=lambda: now[0]),
    )
    monkeypatch.setattr(ArraySource, "read", slow)
    monkeypatch.setattr(loop, "train_step", quick)
    for module in (loader, progress):
        monkeypatch.setattr(module, "time", clock)
    lines, steps = finished(small(train=Train(epochs=6, batch=32, warmup_epochs=1)), data, tmp_path / "run", workers=0)
    assert told(lines, steps) == {"loader-bound"}
