"""What a profile says: parts that add up, operations known by hand, and the right culprit."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from resmom.cli import main
from resmom.commands import profile as command
from resmom.config import Run
from resmom.data.errors import DataError
from resmom.data.open import open_data
from resmom.data.source import Data, Images, Index, Source
from resmom.nets.backbones import SmallResNet
from resmom.rundir import RunDir
from resmom.runs import announce
from resmom.runs import profile as profiling
from resmom.runs.pretrain import pretrain
from resmom.runs.profile import MAKING, TRAINING, Profile, profile
from resmom.runs.training.job import prepare
from tests.runs.crash import QUIET, small_run, write_images

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def small_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    """The measurement of the machine's peak takes a second; here it need not be right."""
    monkeypatch.setattr(profiling, "_peak", lambda device, precision: (1000.0, "nothing"))


def test_parts_add_up_to_the_step(tmp_path: Path) -> None:
    data = open_data(str(write_images(tmp_path / "images.npz")))
    found = profile(small_run(), data, CPU, 0, 0.2)
    assert found.steps >= profiling.LEAST
    assert sum(part.seconds for part in found.parts if part.share is not None) == pytest.approx(
        found.step_seconds, rel=0.02
    )
    assert {part.name for part in found.parts} == {"wait", *TRAINING, "other", *MAKING}
    assert all(
        part.seconds > 0 for part in found.parts if part.name in ("teach", "forward_backward", "decode", "views")
    )
    assert found.images_per_second == pytest.approx(small_run().train.batch / found.step_seconds)
    assert found.plain()["share_of_peak"] == pytest.approx(found.gflop_per_second / 1000)


def test_operations_are_those_of_two_teacher_and_two_student_passes(tmp_path: Path) -> None:
    """Teacher 1, student 1 forward and 2 backward, twice: 8 forward passes, the first layer's input gradient apart."""
    run = replace(small_run(), backbone=SmallResNet((8, 16)))
    job = prepare(run, open_data(str(write_images(tmp_path / "images.npz"))), CPU)
    weights = {name: value.clone() for name, value in job.state.method.state_dict().items()}
    counted = profiling._operations(job)
    for name, value in job.state.method.state_dict().items():
        assert torch.equal(value, weights[name])  # batch statistics included
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        job.state.method.teacher(job.batch(0).views[0])
    forward = counter.get_total_flops() / run.train.batch
    assert 7 * forward < counted < 9.5 * forward  # the predictor comes on top


class Slow(Source):
    """Images that take their time to be read."""

    def __init__(self, inner: Source) -> None:
        self._inner, self.name, self.labels, self.classes = inner, "slow", None, ()
        self.sizes, self.channels = inner.sizes, inner.channels

    def __len__(self) -> int:
        return len(self._inner)

    def read(self, index: Index) -> Images:
        import time

        time.sleep(0.3)  # far more than a step, even on a machine busy with other tests
        return self._inner.read(index)

    @property
    def unreadable(self) -> list[tuple[str, str]]:
        return []

    def fingerprint(self) -> str:
        return "slow"


@pytest.mark.slow
def test_a_slow_disk_is_named(tmp_path: Path) -> None:
    inner = open_data(str(write_images(tmp_path / "images.npz"))).train
    found = profile(small_run(), Data(Slow(inner), None, "slow"), CPU, 1, 0.2)
    assert "waiting" in found.bottleneck and "decode" in found.bottleneck
    assert "data pack" in found.remedy and "@shorter-side=32" in found.remedy


@pytest.mark.usefixtures("typed")
@pytest.mark.slow
def test_fp32_where_bf16_is_fast_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiling, "fast_bf16", lambda device: True)
    monkeypatch.setattr(profiling, "WAITING", 1.0)
    data = open_data(str(write_images(tmp_path / "images.npz")))
    assert "--train.precision bf16" in profile(small_run(), data, CPU, 0, 0.1).remedy


@pytest.mark.usefixtures("typed")
@pytest.mark.slow
@pytest.mark.parametrize(("precision", "emulated"), [("bf16", True), ("bf16", False), ("fp32", True)])
def test_emulated_bf16_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str, emulated: bool
) -> None:
    """By the profile and by the first words of a run."""
    for module in (profiling, announce):
        monkeypatch.setattr(module, "emulates_bf16", lambda device: emulated)
    monkeypatch.setattr(profiling, "WAITING", 1.0)
    monkeypatch.setattr(profiling, "fast_bf16", lambda device: False)
    run, data = small_run(precision=precision), open_data(str(write_images(tmp_path / "images.npz")))
    warned = precision == "bf16" and emulated
    assert ("--train.precision fp32" in profile(run, data, CPU, 0, 0.1).remedy) is warned
    assert ("emulates bf16" in announce.summary(prepare(run, data, CPU), RunDir(tmp_path / "run"))) is warned


@pytest.mark.usefixtures("typed")
@pytest.mark.parametrize(
    ("there", "words"), [(True, "made on the device beside"), (False, "give more --workers (now 3)")]
)
def test_views_of_images_on_a_gpu_do_not_ask_for_more_threads(tmp_path: Path, there: bool, words: str) -> None:
    job = prepare(small_run(), open_data(str(write_images(tmp_path / "images.npz"))), CPU)
    job = replace(job, device=torch.device("cuda"), resident=torch.zeros(1) if there else None)
    assert words in profiling._judge(job, {"wait": 0.9, "views": 1.0}, 1.0, 3, 0.5)[1]


def test_too_few_images_are_refused(tmp_path: Path) -> None:
    data = open_data(str(write_images(tmp_path / "images.npz", n=5)))
    with pytest.raises(DataError, match="no batch can be filled"):
        profile(small_run(), data, CPU, 0, 0.1)


def test_a_run_stands_for_its_settings_and_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    images, out = write_images(tmp_path / "images.npz", n=40), tmp_path / "run"
    pretrain(small_run(epochs=2), str(images), out, QUIET)
    taken: list[Run] = []
    real = profiling.profile

    def noted(run: Run, *others: Any, **named: Any) -> Profile:
        taken.append(run)
        return real(run, *others, **named)

    monkeypatch.setattr(command, "profile", noted)
    assert command.main([str(out), "--seconds", "0.1", "--train.batch", "4"]) == 0
    assert "what holds it back" in capsys.readouterr().out
    (run,) = taken
    assert run == replace(small_run(epochs=2), train=replace(small_run(epochs=2).train, batch=4))


@pytest.mark.slow
@pytest.mark.parametrize("recipe", [[], ["mocov3_digits"]])
def test_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], recipe: list[str]
) -> None:
    draws = np.random.default_rng(0)
    np.savez(tmp_path / "images.npz", train_images=draws.integers(0, 256, (70, 32, 32, 3), dtype=np.uint8))
    call = [
        "resmom",
        "profile",
        *recipe,
        "--data",
        str(tmp_path / "images.npz"),
        "--seconds",
        "0.1",
        "--no-keep-memory",
    ]
    monkeypatch.setattr("sys.argv", call)
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 0
    told, said = capsys.readouterr()
    assert said == "steps are taken for 0.1 seconds, beside loading and warming up ...\n"
    for word in ("images/s", "teacher forward", "views", "GFLOP per image", "what holds it back", "what to do"):
        assert word in told
