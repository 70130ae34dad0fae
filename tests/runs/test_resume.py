"""Exact resume: weights after kill -9 and resume are bitwise those of the undisturbed run, at any moment."""

import errno
import json
import os
import random
import shlex
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from resmom.checkpoint import load_checkpoint
from resmom.config import Run
from resmom.data.errors import DataError
from resmom.data.open import open_data
from resmom.errors import RunDirError
from resmom.jsonfiles import read_lines
from resmom.losses.residual import Residual
from resmom.methods.densecl import DenseCL
from resmom.methods.mocov2 import MoCoV2
from resmom.methods.msf import MSF
from resmom.methods.nnclr_ema import NNCLREma
from resmom.methods.ressl import ReSSL
from resmom.recipes import with_residual
from resmom.rundir import RunDir
from resmom.runs.loaded import load_run
from resmom.runs.measuring.evaluate import labelled
from resmom.runs.pretrain import pretrain, resume
from resmom.runs.training import loop
from resmom.runs.training.interrupt import Finished
from tests import forked
from tests.data.test_folder import draw
from tests.runs.crash import QUIET, dino_run, dinov2_run, ibot_run, small_run, start, write_images

KILLS = int(os.environ.get("RESMOM_KILLS", "20"))
TIMES = ("images_per_second", "waited_seconds", "elapsed_seconds", "processor_seconds")


def flat(content: Any, prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries and lists as one dictionary."""
    if isinstance(content, dict):
        parts = content.items()
    elif isinstance(content, list | tuple):
        parts = enumerate(content)
    else:
        return {prefix: content}
    return {k: v for key, part in parts for k, v in flat(part, f"{prefix}/{key}").items()}


def assert_same_run(one: Path, other: Path) -> None:
    a, b = (flat(load_checkpoint(RunDir(path).last)) for path in (one, other))
    assert a.keys() == b.keys()
    for name, value in a.items():
        same = torch.equal(value, b[name]) if isinstance(value, torch.Tensor) else value == b[name]
        assert same, name
    lines = [
        [
            {k: v for k, v in line.items() if k not in TIMES and not k.startswith("seconds/")}
            # The line of the start is written late, and so earlier or later than lines that are replaced.
            for line in sorted(read_lines(RunDir(path).metrics), key=lambda line: line["step"])
        ]
        for path in (one, other)
    ]
    assert lines[0] == lines[1]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, float]:
    """The run that was never stopped: its folder, its data, and its seconds."""
    folder = tmp_path_factory.mktemp("undisturbed")
    data = write_images(folder / "images.npz")
    forked.start(int).join()  # the first process also starts the server that forks all others
    began = time.monotonic()
    process = start(folder / "run", data)
    process.join()
    assert process.exitcode == 0
    return folder / "run", data, time.monotonic() - began


def finish(out: Path, data: Path) -> None:
    process = start(out, data)
    process.join()
    assert process.exitcode == 0


@pytest.mark.slow
def test_the_same_run_twice_is_the_same(undisturbed: tuple[Path, Path, float], tmp_path: Path) -> None:
    finish(tmp_path / "run", undisturbed[1])
    assert_same_run(undisturbed[0], tmp_path / "run")


@pytest.mark.slow
@pytest.mark.parametrize("moment", range(KILLS))
def test_killed_at_a_random_moment(undisturbed: tuple[Path, Path, float], tmp_path: Path, moment: int) -> None:
    reference, data, seconds = undisturbed
    out, fate = tmp_path / "run", random.Random(moment)
    process = start(out, data)
    # Strata, so that the moments cover the run from start to end.
    process.join(timeout=seconds * (moment + fate.random()) / KILLS)
    process.kill()
    process.join()
    finish(out, data)
    assert_same_run(reference, out)


@pytest.mark.slow
@pytest.mark.parametrize("where", ["fsync", "replace", "save"])
@pytest.mark.parametrize("at", [1, 2, 4])
def test_killed_inside_a_checkpoint_write(
    undisturbed: tuple[Path, Path, float], tmp_path: Path, where: str, at: int
) -> None:
    reference, data, _ = undisturbed
    process = start(tmp_path / "run", data, where, at)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    again = start(tmp_path / "run", data, where, 2)  # and once more, while it resumes
    again.join()
    finish(tmp_path / "run", data)
    assert_same_run(reference, tmp_path / "run")
    assert list((tmp_path / "run").rglob("*.part")) == []


def stop_at(step: int, run: Run, data: str | Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> Finished:
    """Begin a run that is asked to stop during one of its steps."""
    import resmom.runs.training.loop as loop

    train_step, steps = loop.train_step, []

    def stepping(*args: Any) -> Any:
        steps.append(1)
        if len(steps) == step:
            signal.raise_signal(signal.SIGTERM)
        return train_step(*args)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "train_step", stepping)
        return pretrain(run, str(data), out, QUIET)


@pytest.fixture(scope="module")
def dino(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run with a memory that was never stopped, and its data."""
    folder = tmp_path_factory.mktemp("dino")
    data = write_images(folder / "images.npz")
    return pretrain(dino_run(), str(data), folder / "whole", QUIET).path, data


@pytest.mark.slow
@pytest.mark.parametrize("step", [3, 12])
def test_memory_schedules_and_local_views_resume_bitwise(
    dino: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """Stopped while the prototypes are frozen, and after."""
    whole, data = dino
    assert stop_at(step, dino_run(), data, tmp_path / "run", monkeypatch).step == step
    kept = load_checkpoint(RunDir(tmp_path / "run").last)["state"]
    assert kept["memory"]["centre"].any()
    resume(tmp_path / "run", QUIET)
    assert_same_run(whole, tmp_path / "run")
    assert not torch.equal(
        load_checkpoint(RunDir(tmp_path / "run").last)["state"]["memory"]["centre"], kept["memory"]["centre"]
    )
    lines = [line for line in read_lines(RunDir(tmp_path / "run").metrics) if line["kind"] == "train"]
    assert {"gap/local/z/intra", "gap/logits/intra", "weight_decay", "loss/cross_entropy_local"} < lines[-1].keys()


@pytest.mark.slow
@pytest.mark.usefixtures("small_transformers")
@pytest.mark.parametrize("run", [ibot_run(), dinov2_run()], ids=["ibot", "dinov2"])
def test_masks_and_two_centres_resume_bitwise(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped in the middle of an epoch; resumed with another number of threads that make batches."""
    data = write_images(tmp_path / "images.npz")
    pretrain(run, str(data), tmp_path / "whole", QUIET)
    assert stop_at(7, run, data, tmp_path / "run", monkeypatch).step == 7
    kept = load_checkpoint(RunDir(tmp_path / "run").last)["state"]["memory"]
    assert kept["centre"].any() and kept["patch_centre"].any()
    resume(tmp_path / "run", replace(QUIET, workers=3))
    assert_same_run(tmp_path / "whole", tmp_path / "run")
    lines = [line for line in read_lines(RunDir(tmp_path / "run").metrics) if line["kind"] == "train"]
    assert {"gap/patch/z/intra", "loss/cross_entropy_hidden", "loss/cross_entropy_local"} < lines[-1].keys()


QUEUES = [
    MoCoV2(hidden=8, out=4, queue=20),
    MoCoV2(hidden=8, out=4, queue=20, symmetric=True),
    ReSSL(hidden=8, out=4, queue=20),
    DenseCL(hidden=8, out=4, queue=20),
    MSF(3, 20, hidden=8, out=4, predictor_hidden=8),
    MSF(3, 20, hidden=8, out=4, predictor_hidden=8, symmetric=True),
    NNCLREma(0.2, 20, hidden=8, out=4, predictor_hidden=8),
]


@pytest.mark.slow
@pytest.mark.parametrize("method", QUEUES, ids=str)
def test_a_queue_resumes_where_it_was(method: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped in the middle of an epoch, with the pointer inside the queue; the whole checkpoint is compared."""
    data = write_images(tmp_path / "images.npz")
    run = with_residual(replace(small_run(), method=method, residual=Residual(site="z")))
    pretrain(run, str(data), tmp_path / "whole", QUIET)
    assert stop_at(7, run, data, tmp_path / "run", monkeypatch).step == 7
    saved = load_checkpoint(RunDir(tmp_path / "run").last)["state"]["memory"]
    pointers = [value.item() for name, value in saved.items() if name.endswith("pointer")]
    assert pointers and all(pointer == 7 * run.train.batch % 20 for pointer in pointers)
    resume(tmp_path / "run", QUIET)
    assert_same_run(tmp_path / "whole", tmp_path / "run")


@pytest.mark.slow
@pytest.mark.parametrize("ema", [{"batch_norm": "averaged"}, {"batch_norm": "copied"}, {"part": "projector"}], ids=str)
@pytest.mark.parametrize("method", [MoCoV2(hidden=8, out=4, queue=20), DenseCL(hidden=8, out=4, queue=20)], ids=str)
def test_a_teacher_of_another_kind_resumes_bitwise(
    method: Any, ema: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Teachers whose statistics or backbone are the student's, of methods with queues and, for one, a second head."""
    data, base = write_images(tmp_path / "images.npz"), small_run()
    run = with_residual(replace(base, method=method, residual=Residual(site="z"), ema=replace(base.ema, **ema)))
    pretrain(run, str(data), tmp_path / "whole", QUIET)
    assert stop_at(7, run, data, tmp_path / "run", monkeypatch).step == 7
    kept = load_checkpoint(RunDir(tmp_path / "run").last)["state"]
    student, teacher = kept["student"], kept["teacher"]
    backbone = [name for name in student if name.startswith("backbone.") and student[name].is_floating_point()]
    same = {name for name in backbone if torch.equal(student[name], teacher[name])}
    statistics = {name for name in backbone if name.endswith(("running_mean", "running_var"))}
    wanted = {"averaged": set(), "copied": statistics, "own": set(backbone) - statistics}
    assert same == wanted[ema.get("batch_norm", "own")] and statistics
    resume(tmp_path / "run", QUIET)
    assert_same_run(tmp_path / "whole", tmp_path / "run")


@pytest.mark.slow
def test_sigterm_saves_and_resume_finishes(
    undisturbed: tuple[Path, Path, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference, data, _ = undisturbed
    before = signal.getsignal(signal.SIGTERM)
    stopped = stop_at(7, small_run(), data, tmp_path / "run", monkeypatch)
    assert (stopped.step, stopped.interrupted_by) == (7, signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before
    assert load_checkpoint(RunDir(tmp_path / "run").last)["state"]["step"] == 7
    finished = resume(tmp_path / "run", QUIET)
    assert (finished.step, finished.interrupted_by) == (finished.steps, None)
    assert_same_run(reference, tmp_path / "run")


def test_resume_of_a_finished_run_changes_nothing(undisturbed: tuple[Path, Path, float]) -> None:
    """Nor does it count as another start."""
    folder = RunDir(undisturbed[0])
    before = [file.read_text() for file in (folder.metrics, folder.environment)]
    assert resume(undisturbed[0], QUIET).interrupted_by is None
    assert [file.read_text() for file in (folder.metrics, folder.environment)] == before


def test_a_run_whose_last_checkpoint_is_gone_is_not_begun_anew(
    undisturbed: tuple[Path, Path, float], tmp_path: Path
) -> None:
    """What is told brings it back; nothing of it is removed before."""
    shutil.copytree(undisturbed[0], tmp_path / "my run")
    folder = RunDir(tmp_path / "my run")
    folder.last.rename(folder.kept(20))
    before = folder.metrics.read_text()
    with pytest.raises(RunDirError, match=r"last.pt is missing, though the run has been at step 20; ") as refused:
        resume(folder.path, QUIET)
    assert folder.metrics.read_text() == before and not folder.last.exists()
    command = shlex.split(str(refused.value).partition("what helps: ")[2].partition(", then")[0])
    assert command[0] == "cp"
    shutil.copy(command[1], command[2])
    assert resume(folder.path, QUIET).step == 20
    folder.last.unlink()
    folder.kept(20).unlink()
    with pytest.raises(RunDirError, match="a copy of the folder from elsewhere; without one, start anew"):
        resume(folder.path, QUIET)


def test_a_run_in_progress_is_not_taken_over(undisturbed: tuple[Path, Path, float]) -> None:
    with RunDir(undisturbed[0]).locked(), pytest.raises(RunDirError, match="another process is working"):
        resume(undisturbed[0], QUIET)


@pytest.mark.slow
def test_changed_data_and_foreign_folders_are_refused(tmp_path: Path) -> None:
    data = write_images(tmp_path / "images.npz")
    pretrain(small_run(epochs=2), str(data), tmp_path / "run", QUIET)
    with pytest.raises(RunDirError, match=r"`resmom\.resume\("):
        pretrain(small_run(epochs=2), str(data), tmp_path / "run", QUIET)
    write_images(data, n=48)
    with pytest.raises(ValueError, match=r"not those of the run.*there were 40 of them, and there are 48 now.*init="):
        resume(tmp_path / "run", QUIET)
    random = np.load(data)
    np.savez(data, **{name: random[name][:40] for name in random.files} | {"train_images": random["train_images"][8:]})
    with pytest.raises(ValueError, match="their number, 40, is the same, but their labels"):
        resume(tmp_path / "run", QUIET)
    with pytest.raises(RunDirError, match="not a run folder"):
        resume(tmp_path, QUIET)
    text = json.loads((tmp_path / "run" / "run.json").read_text())
    assert text["data"] == str(data)


@pytest.mark.slow
def test_a_full_disk_says_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, out = write_images(tmp_path / "images.npz"), tmp_path / "run"
    whole = pretrain(small_run(epochs=2), str(data), tmp_path / "whole", QUIET).path
    save = loop.save_checkpoint

    def full(path: Path, content: Any) -> None:
        if content["state"]["step"] == 5:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        save(path, content)

    with monkeypatch.context() as patch, pytest.raises(RunDirError) as said:
        patch.setattr(loop, "save_checkpoint", full)
        pretrain(small_run(epochs=2), str(data), out, QUIET)
    assert f"last.pt: no space left on device; make room, and continue with `resmom.resume('{out}')`" in str(said.value)
    resume(out, QUIET)
    assert_same_run(whole, out)


@pytest.mark.slow
def test_photos_decoded_smaller_resume_and_are_evaluated_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Decoded at every reading at first, held in RAM after the stop; the size is part of what the images are."""
    for number in range(24):
        draw(tmp_path / f"photos/{'ab'[number % 2]}/{number:02}.jpg", number, 70 + number, 90)
    photos = f"{tmp_path}/photos@shorter-side=16"
    lazy, run = open_data(photos, ram_limit=0), small_run(epochs=3)
    pretrain(run, lazy, tmp_path / "whole", QUIET)
    assert stop_at(4, run, photos, tmp_path / "run", monkeypatch).step == 4
    with pytest.raises(DataError, match="not those of the run"):
        resume(tmp_path / "run", QUIET, str(tmp_path / "photos"))
    resume(tmp_path / "run", QUIET)
    assert_same_run(tmp_path / "whole", tmp_path / "run")
    assert json.loads(RunDir(tmp_path / "run").config.read_text())["data"] == photos
    loaded = load_run(tmp_path / "run")
    split, _ = labelled(loaded, loaded.opened())
    assert (split.test.sizes[:, 1] == 23).all()  # 90 at a quarter
