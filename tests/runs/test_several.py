"""Whole runs in two processes, as torchrun starts them: with each other's images, against one process, and resumed."""

import os
import shutil
import signal
import socket
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from resmom import dist
from resmom.build import Own
from resmom.config import Run
from resmom.data.errors import DataError
from resmom.errors import RunDirError
from resmom.jsonfiles import read_lines
from resmom.nets.backbones import DinoViT
from resmom.rundir import RunDir
from resmom.runs.loaded import load_run
from resmom.runs.pretrain import pretrain, resume
from resmom.runs.python import pretrain as pretrain_in_python
from resmom.runs.settling.offer import Asked
from resmom.runs.training import loop
from resmom.runs.training.loop import _list_unreadable
from resmom.train.optim import Sgd
from resmom.train.state import State, networks_of
from tests import forked
from tests.runs.crash import QUIET, ibot_run, small_run, write_images
from tests.runs.settling.derived import tiny
from tests.runs.test_own import Body
from tests.runs.test_resume import assert_same_run

WORLD, STOPPED, BUDGET = 2, 7, 15.0


def alike() -> Run:
    """A run of which nothing depends on how its batch is shared out: no BatchNorm, no paths dropped at random, and no
    optimiser to which a gradient of 1e-12 is as long as one of 1."""
    run = ibot_run()
    train = replace(run.train, epochs=2, clip_each=False)
    return replace(run, backbone=DinoViT("tiny", image=16, patch=4), optim=Sgd(lr=3.0), train=train)


def derived(run: Run) -> Run:
    """What is derived, with a small network."""
    return replace(tiny(run), train=run.train)


def _work(rank: int, port: int, folder: Path, data: Path) -> None:
    announced = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": WORLD, "LOCAL_WORLD_SIZE": WORLD}
    os.environ |= {name: str(value) for name, value in announced.items()}
    os.environ |= {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    try:
        pretrain(small_run(), str(data), folder / "whole", QUIET)
        if rank == 1:  # one alone is told to stop
            _stop_at(STOPPED)
        stopped = pretrain(small_run(), str(data), folder / "parts", QUIET)
        dist.wait()
        if rank == 0:
            shutil.copytree(folder / "parts", folder / "left")
        dist.wait()
        said: dict[str, Any] = {"stopped": (stopped.step, int(stopped.interrupted_by or 0))}
        said["resumed"] = resume(folder / "parts", QUIET).step
        pretrain(alike(), str(data), folder / "alike", QUIET)
        try:
            pretrain(small_run(), str(data), folder / "whole", QUIET)
        except RunDirError as error:
            said["again"] = str(error)
        try:
            pretrain(small_run(), str(data if rank == 0 else folder / "fewer.npz"), folder / "unlike", QUIET)
        except DataError as error:
            said["unlike"] = str(error)
        _list_unreadable(_with_unreadable(f"{rank}.png"), RunDir(folder / "whole"))
        torch.manual_seed(rank)  # as scripts do
        seen = _first_teachers()
        pretrain(small_run(epochs=2), str(data), folder / "own", QUIET, Own(Body()))
        said["teacher"] = seen[0]
        said["derived"] = pretrain(Asked(None, derived, "", BUDGET), str(data), folder / "derived", QUIET).steps
        with torch.random.fork_rng():
            result = pretrain_in_python(str(data), folder / "python", small_run(epochs=2), device="cpu", quiet=True)
        said["result"] = str(result)
        torch.save(said, folder / f"{rank}.pt")
    finally:
        dist.stop()


def _first_teachers() -> list[dict[str, torch.Tensor]]:
    """Of every step to come, the teacher before it."""
    real, seen = loop.train_step, list[dict[str, torch.Tensor]]()

    def looked_at(state: State, *given: Any) -> Any:
        assert state.method.teacher is not None
        seen.append({name: value.clone() for name, value in state.method.teacher.state_dict().items()})
        return real(state, *given)

    loop.train_step = looked_at  # type: ignore[assignment]
    return seen


def _with_unreadable(name: str) -> Any:
    """As much of a job as tells which images could not be read."""
    return SimpleNamespace(data=SimpleNamespace(train=SimpleNamespace(unreadable=[(name, "damaged")])))


def _stop_at(step: int) -> None:
    real, done = loop.train_step, iter(range(step))

    def signalled(*given: Any) -> Any:
        if next(done, None) == step - 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return real(*given)

    loop.train_step = signalled  # type: ignore[assignment]


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """The folder of all these runs, in which the images are too, and what each process said."""
    folder = tmp_path_factory.mktemp("several")
    data = write_images(folder / "images.npz", 80)
    write_images(folder / "fewer.npz", 72)
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    processes = [forked.start(_work, rank, port, folder, data) for rank in range(WORLD)]
    while any(process.exitcode is None for process in processes):
        if any(process.exitcode for process in processes):  # as torchrun does: the others would wait for hours
            for process in processes:
                process.kill()
        time.sleep(0.1)
    assert [process.exitcode for process in processes] == [0] * WORLD
    return folder, [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(WORLD)]


pytestmark = pytest.mark.slow


def test_what_the_first_process_writes_is_a_whole_run(together: tuple[Path, list[dict[str, Any]]]) -> None:
    folder, said = together
    lines = read_lines(RunDir(folder / "whole").metrics)
    assert {(line["kind"], line["step"]) for line in lines} >= {("train", 40), ("knn", 40), ("health", 40)}
    assert len({(line["kind"], line["step"]) for line in lines}) == len(lines)
    assert (folder / "whole/export/backbone-student.safetensors").exists()
    assert [line["world"] for line in read_lines(RunDir(folder / "whole").environment)] == [WORLD]
    for each in said:
        assert "already holds a run" in each["again"]
        assert "kNN" in each["result"]  # the others read what the first has measured, and only when it has


def test_images_of_one_alone_are_refused_by_both(together: tuple[Path, list[dict[str, Any]]]) -> None:
    """One would else end before the other, which waited for it for hours."""
    folder, said = together
    for each in said:
        assert (
            "the first has 80 for training (0 more are unreadable), process 1, counted from 0, has 72" in each["unlike"]
        )
    assert not (folder / "unlike").exists()


def test_modules_drawn_with_another_seed_are_those_of_the_first(
    together: tuple[Path, list[dict[str, Any]]],
) -> None:
    """Teachers too: the student alone is made alike by what averages its gradients."""
    one, other = (each["teacher"] for each in together[1])
    assert one and all(torch.equal(other[name], value) for name, value in one.items())


def test_what_any_of_them_cannot_read_is_listed(together: tuple[Path, list[dict[str, Any]]]) -> None:
    listed = read_lines(RunDir(together[0] / "whole").unreadable)
    assert [line["path"] for line in listed] == ["0.png", "1.png"]


def test_a_stop_of_one_stops_both_and_resumed_they_end_the_same(
    together: tuple[Path, list[dict[str, Any]]],
) -> None:
    folder, said = together
    assert [each["stopped"] for each in said] == [(STOPPED, signal.SIGTERM)] * WORLD
    assert [each["resumed"] for each in said] == [40] * WORLD
    assert_same_run(folder / "whole", folder / "parts")


def test_one_process_continues_what_two_have_begun(together: tuple[Path, list[dict[str, Any]]]) -> None:
    """With the same images in the same views; BatchNorm then sees the whole batch."""
    out = together[0] / "left"
    assert resume(out, QUIET).step == 40
    assert [line["world"] for line in read_lines(RunDir(out).environment)] == [WORLD, 1]


def test_two_processes_are_one(together: tuple[Path, list[dict[str, Any]]]) -> None:
    """Order, views, masks, gradients, centres, teacher, and the numbers that are logged."""
    folder = together[0]
    pretrain(alike(), str(folder / "images.npz"), folder / "one", QUIET)
    ours, whole = (networks_of(load_run(folder / name, "cpu").method) for name in ("alike", "one"))
    for name, network in whole.items():
        for key, value in network.state_dict().items():
            torch.testing.assert_close(
                ours[name].state_dict()[key],
                value,
                rtol=1e-3,
                atol=1e-5,
                msg=lambda words, at=(name, key): f"{at}: {words}",
            )
    logged = [
        [
            (line["step"], line["loss"], line["grad_norm"])
            for line in read_lines(RunDir(folder / name).metrics)
            if "loss" in line
        ]
        for name in ("alike", "one")
    ]
    assert len(logged[1]) >= 5
    for one, other in zip(*logged, strict=True):
        assert one == pytest.approx(other, rel=1e-4)


def test_settings_are_derived_and_fitted_into_a_time_together(together: tuple[Path, list[dict[str, Any]]]) -> None:
    folder, said = together
    steps = RunDir(folder / "derived").written()["run"]["train"]["steps"]
    assert [each["derived"] for each in said] == [steps] * WORLD and steps >= 100
    (line,) = read_lines(RunDir(folder / "derived").environment)
    assert line["world"] == WORLD
