"""The harness: cut off and called again, it does every cell once; at toy size it runs on a CPU."""

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

import resmom.runs.finetuned.tuning as tuning
import resmom.runs.training.loop as loop
from benchmarks.chain.plan import read_chain
from benchmarks.chain.table import found_in
from benchmarks.harness import chain, check, checkruns, throughput, training
from benchmarks.harness.throughput import Case, measure, measure_compiled
from benchmarks.harness.training import shrunk
from resmom.errors import UserError
from resmom.jsonfiles import read_lines
from resmom.methodconfig import METHODS
from resmom.runs.comparisons.arms import comparison
from resmom.runs.comparisons.cell import claimed
from resmom.runs.comparisons.grid import read_grid
from resmom.runs.comparisons.results import read_results
from resmom.train.optim import Sgd
from tests.benchmarks.chains import write_chain

GRID = {
    "name": "tiny",
    "recipe": "mocov3_digits",
    "set": {"policy.mean": [0.5, 0.5, 0.5]},
    "arms": {
        "mocov3": {},
        "residual": {"residual.weight": 1.0},
        "cross": {"residual.weight": 1, "residual.pairing": "cross"},
    },
    "seeds": [0, 1],
}

SMALL = Case("mocov3_digits", 4, 32, 16)


@pytest.fixture
def grid(tmp_path: Path) -> Path:
    file = tmp_path / "tiny.json"
    file.write_text(json.dumps(GRID))
    return file


@pytest.fixture
def data(tmp_path: Path) -> str:
    draws = np.random.default_rng(0)
    labels = draws.integers(0, 3, 64)
    pixels = (draws.integers(0, 128, (64, 32, 32, 3)) + 40 * labels[:, None, None, None]).astype(np.uint8)
    np.savez(
        tmp_path / "data.npz",
        train_images=pixels[:48], train_labels=labels[:48], test_images=pixels[48:], test_labels=labels[48:],
    )  # fmt: skip
    return str(tmp_path / "data.npz")


def work(grid: Path, data: str, seconds: float) -> int:
    place = grid.parent
    (place / "results").mkdir(exist_ok=True)
    return training.work(grid, data, place / "state", place / "results", "cpu", True, time.monotonic() + seconds)


def cut_off(monkeypatch: pytest.MonkeyPatch, module: ModuleType, steps: int) -> None:
    """Have the time of a cell be up whenever it has taken so many steps, of whatever kind."""

    @contextmanager
    def alarm(until: float) -> Iterator[None]:
        taken: list[str] = []

        def counted(real: Callable[..., Any]) -> Callable[..., Any]:
            def step(*arguments: Any) -> Any:
                taken.append("step")
                if len(taken) == steps:
                    signal.raise_signal(signal.SIGTERM)
                return real(*arguments)

            return step

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(loop, "train_step", counted(loop.train_step))
            patch.setattr(tuning, "_step", counted(tuning._step))
            yield

    monkeypatch.setattr(module, "alarm", alarm)


@pytest.mark.slow
def test_a_grid_cut_off_is_finished_by_calling_again(grid: Path, data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert work(grid, data, 0.0) == 3  # no time at all: nothing is begun
    cut_off(monkeypatch, training, steps=4)
    for _ in range(6):  # once in each cell
        assert work(grid, data, 60.0) == 3
    assert work(grid, data, 60.0) == 0
    file = grid.parent / "results" / "tiny-toy.jsonl"
    lines = read_lines(file)
    assert sorted((line["arm"], line["seed"]) for line in lines) == [
        ("cross", 0), ("cross", 1), ("mocov3", 0), ("mocov3", 1), ("residual", 0), ("residual", 1),
    ]  # fmt: skip
    for line in lines:
        names = {"knn/student", "knn/teacher", "linear/student", "linear/teacher", "online/student"}
        assert names | {"gap/h/intra", "gap/z/inter", "gap/p/chance"} <= line["measures"].keys()
        assert line["run"]["train"]["steps"] == 6 and line["seconds"] > 0 and line["beside"] == 0
        assert line["curves"]["knn"] and line["curves"]["train"]
        if line["arm"] == "mocov3":  # at its weights nothing is to be made equal
            assert line["pulls"] == {}
        else:
            assert line["pulls"]["step"] == 6 and line["pulls"]["weights"]["residual"] == 1
            assert line["pulls"]["norms"].keys() == {"residual", "cross"}
    assert not list((grid.parent / "state").rglob("*.pt"))  # nothing large is left
    assert work(grid, data, 60.0) == 0  # and nothing is done twice
    assert len(read_lines(file)) == 6
    table = comparison(read_results([file]))  # `resmom compare show` reads it
    assert [arm.name for arm in table.arms] == ["mocov3", "residual", "cross"] and table.arms[1].seeds == (0, 1)
    other = grid.with_name("other.json")
    other.write_text(json.dumps(GRID | {"set": {"policy.mean": [0.4, 0.5, 0.5]}}))
    with pytest.raises(UserError, match=r"another configuration: policy\.mean was"):
        work(other, data, 60.0)


@pytest.mark.slow
def test_a_cell_cut_off_in_its_last_step_is_measured(grid: Path, data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cut_off(monkeypatch, training, steps=6)
    assert work(grid, data, 60.0) == 3
    assert not read_lines(grid.parent / "results" / "tiny-toy.jsonl")
    monkeypatch.undo()
    assert work(grid, data, 60.0) == 0
    lines = read_lines(grid.parent / "results" / "tiny-toy.jsonl")
    assert len(lines) == 6 and all("knn/student" in line["measures"] and line["curves"]["knn"] for line in lines)


@pytest.mark.slow
def test_processes_that_share_the_folders_pass_over_each_others_cells(
    grid: Path, data: str, capsys: pytest.CaptureFixture[str]
) -> None:
    first = shrunk(read_grid(grid)).cells()[0]
    out = grid.parent / "state" / "tiny-toy"
    out.mkdir(parents=True)
    file = grid.parent / "results" / "tiny-toy.jsonl"
    with claimed(first, out) as mine:
        assert mine
        assert work(grid, data, 60.0) == 3
        assert "one cell in the hands of other processes; call again" in capsys.readouterr().out
        other = shrunk(read_grid(grid)).cells()[1]
        assert training.beside(out, other) == 0  # the first is claimed, but not under way
        first.folder(out).mkdir(parents=True)
        with claimed(other, out):
            assert training.beside(out, other) == 1  # before it has a folder of its own, and after
            other.folder(out).mkdir(parents=True)
            assert training.beside(out, other) == 1 and training.beside(out, first) == 1
        for cell in (first, other):
            cell.folder(out).rmdir()
        assert len(read_lines(file)) == 5 and ("mocov3", 0) not in {
            (line["arm"], line["seed"]) for line in read_lines(file)
        }
    assert work(grid, data, 60.0) == 0 and len(read_lines(file)) == 6


@pytest.mark.slow
def test_a_stopped_cell_goes_on(
    grid: Path, data: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(training, "TOY", training.TOY | {"train.steps": 4000})
    # The first time is up before the run is set up: it is not killed, does a step, saves, and says how far it is.
    steps, alarm = [], training.alarm
    for seconds in (0.0, 1.0):
        monkeypatch.setattr(training, "alarm", lambda until, after=seconds: alarm(time.monotonic() + after))
        assert work(grid, data, 60.0) == 3
        said = re.search(r"mocov3, seed 0: at step (\d+) of 4000", capsys.readouterr().out)
        assert said is not None
        steps.append(int(said[1]))
    assert 0 < steps[0] < steps[1] < 4000


@pytest.mark.slow
def test_a_chain_cut_off_is_finished_by_calling_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    call = write_chain(tmp_path, seeds=[0])
    named = call[2:4], call[5:6], call[7:8]
    state, results = tmp_path / "state", tmp_path / "results"
    results.mkdir()

    def go_on(seconds: float) -> int:
        until = time.monotonic() + seconds
        return chain.work(Path(call[0]), named, state, results, "cpu", True, until)

    assert go_on(0.0) == 3 and not state.exists()  # no time at all: nothing is begun
    out = state / "drawn-toy"
    out.mkdir(parents=True)
    with ExitStack() as others:
        for cell in chain.shrunk(read_chain(Path(call[0]))).cells():
            assert others.enter_context(claimed(cell, out))
        assert go_on(60.0) == 3 and read_lines(results / "drawn-toy.jsonl") == []  # all in the hands of others
    cut_off(monkeypatch, chain, steps=5)  # of six of pretraining, and of four of each detector
    calls = 0
    while go_on(60.0):
        calls += 1
    assert calls == 4
    lines = read_lines(results / "drawn-toy.jsonl")
    assert [line["arm"] for line in lines] == ["random", "mocov3-2ep", "densecl+res-2ep"]
    assert all(line["detect"]["steps"] == 4 for line in lines) and [line["steps"] for line in lines] == [0, 6, 6]
    assert not list(state.rglob("*.pt"))  # nothing large is left
    assert go_on(60.0) == 0 and len(read_lines(results / "drawn-toy.jsonl")) == 3
    assert "AP of the student" in str(found_in(lines))


@pytest.mark.slow
def test_compiled_steps_are_set_against_ours_and_one_that_fails_costs_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Compiling is stood in for: a form that runs as it is, and one that fails when it is called."""
    import torch
    from torch import nn

    modes: list[str] = []

    def compiling(module: nn.Module, mode: str, dynamic: bool) -> None:
        assert not dynamic
        modes.append(mode)
        if mode == "reduce-overhead":
            module.register_forward_pre_hook(lambda *_: (_ for _ in ()).throw(RuntimeError("no graphs here\nat all")))

    monkeypatch.setattr(nn.Module, "compile", compiling)
    line = measure_compiled(SMALL, "fp32", torch.device("cpu"), toy=True)
    assert modes == ["default"] * 2 + ["reduce-overhead"] * 2  # student and teacher
    assert line["compiled"] == {"compiled": "runs, but nothing of it was compiled", "CUDA graphs": "no graphs here"}
    assert set(line["images_per_second"]) == {"ours", "compiled"} and line["ratio_to_ours"]["compiled"] > 0


COMPILED_TWICE = """
import torch
from torch import nn
from benchmarks.harness.throughput import Case, measure_compiled

torch.set_num_threads(1)
torch._dynamo.config.recompile_limit = 2
original = nn.Module.compile
nn.Module.compile = lambda module, mode, dynamic: original(module, backend="eager", dynamic=dynamic)
for _ in range(2):
    line = measure_compiled(Case("mocov3_digits", 4, 32, 16), "fp32", torch.device("cpu"), toy=True)
    print(line["compiled"]["compiled"])
"""


@pytest.mark.slow
def test_every_case_is_compiled_whatever_came_before() -> None:
    """All cases share the code of their networks, and dynamo keeps few forms of one code: then it runs as it is.

    In a process of its own, without the checks of types that tests have and dynamo cannot follow.
    """
    said = subprocess.run([sys.executable, "-c", COMPILED_TWICE], capture_output=True, text=True, check=True)
    assert said.stdout.splitlines() == ["runs, 2 pieces compiled"] * 2  # student and teacher


@pytest.mark.slow
def test_a_form_that_fails_late_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    calls = []

    def step(job: object) -> None:
        calls.append(job)
        if len(calls) > 5:
            raise AssertionError("a graph was recorded twice\nand more")

    monkeypatch.setattr(throughput.PlainLoop, "step", lambda loop, batch: step(batch))
    line = measure(SMALL, "fp32", torch.device("cpu"), toy=True)
    assert len(line["rounds"]["plain"]) == 2 and "failed" not in line
    line = measure(SMALL, "fp32", torch.device("cpu"), toy=True)
    assert line["failed"] == {"plain": "a graph was recorded twice"} and len(line["rounds"]["plain"]) == 1
    assert set(line["images_per_second"]) == {"ours", "ours, with loader", "plain"}


@pytest.mark.slow
def test_throughput_of_chosen_cases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throughput, "CASES", {"ResNet, CIFAR": SMALL, "ViT": None})
    file = tmp_path / "throughput.jsonl"
    for _ in range(2):  # the second time nothing is left
        assert throughput.work(file, "cpu", True, time.monotonic() + 100, "cifar", ("bf16",)) == 0
    (line,) = read_lines(file)
    assert (line["case"], line["precision"], line["ratio_to_plain"]["ours"] > 0) == ("ResNet, CIFAR", "bf16", True)
    assert set(line["images_per_second"]) == {"ours", "plain", "ours, with loader"}
    assert all(speed > 0 for speed in line["images_per_second"].values())
    with pytest.raises(UserError, match="--only is 'resnet-18', which is in none of ResNet, CIFAR; ViT"):
        throughput.work(file, "cpu", True, time.monotonic() + 100, "resnet-18")


@pytest.mark.slow
def test_checks_run_at_toy_size_on_a_cpu() -> None:
    import torch

    found = check.check_losses(torch.device("cpu"), toy=True)
    assert found["holds"] and found["fp32_to_cpu"] == 0.0
    assert check.check_views(torch.device("cpu"))["holds"]


def test_checks_go_on_where_they_were_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What holds is not done again; what failed is; the time is kept; and a part of the names may be asked for."""
    done: list[str] = []

    def checked(name: str, holds: bool = True) -> Callable[..., dict[str, Any]]:
        return lambda *_, **__: (done.append(name), {"holds": holds})[1]

    monkeypatch.setattr(check, "KINDS", {"fp16": object()})
    monkeypatch.setattr(check, "check_views", checked("views"))
    monkeypatch.setattr(check, "check_losses", checked("losses", holds=False))
    monkeypatch.setattr(check, "check_synchronisation", checked("synchronisation"))
    monkeypatch.setattr(check, "check_run", checked("run"))
    monkeypatch.setattr(check, "check_kind", lambda kind, device: checked("kind")())
    results = tmp_path / "check.jsonl"
    assert check.work(results, "cpu", True, until=0.0) == 3 and done == []
    assert check.work(results, "cpu", True, only="views") == 0 and done == ["views"]
    assert check.work(results, "cpu", True) == 1 and done[1:] == ["losses", "synchronisation", "run", "kind"]
    assert check.work(results, "cpu", True) == 1 and done[5:] == ["losses"]
    with pytest.raises(UserError, match="--only is 'vews', which is in none of views equal the CPU's; losses"):
        check.work(results, "cpu", True, only="vews")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["micro-batches", "images in files", "begun on the CPU"])
def test_runs_of_other_kinds_go_through(name: str) -> None:
    import torch

    found = checkruns.check_kind(checkruns.KINDS[name], torch.device("cpu"))
    assert found["holds"] and all(own == other for own, other in found["knn_here_and_on_the_cpu"].values())
    assert checkruns.check_kind(checkruns.KINDS["CUDA graphs"], torch.device("cpu")).keys() == {"skipped"}


@pytest.mark.slow
def test_a_run_that_is_not_resumed_exactly_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    cpu = torch.device("cpu")
    found = checkruns.check_run(cpu)
    assert found == {"holds": True, "resumed_differs_by": 0.0, "most_in": found["most_in"], "not_deterministic": []}
    assert not torch.are_deterministic_algorithms_enabled()
    cut_off_run = checkruns._cut_off
    monkeypatch.setattr(checkruns, "_cut_off", lambda run, *given: cut_off_run(replace(run, optim=Sgd(0.31)), *given))
    found = checkruns.check_run(cpu)
    assert not found["holds"] and found["resumed_differs_by"] > 0


def test_slow_steps_make_short_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    job: Any = SimpleNamespace(device=torch.device("cpu"))
    for seconds, steps in ((1e-3, throughput.STEPS), (0.5, 2), (60.0, 1)):
        monkeypatch.setattr(throughput, "_stepping", lambda step, job, many, seconds=seconds: lambda: seconds)
        assert throughput._steps(lambda: None, job, toy=False, turns=8) == steps
    assert throughput._steps(lambda: None, job, toy=True, turns=8) == 1


@pytest.mark.slow
def test_every_method_is_watched_and_the_ones_that_read_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(check, "CASES", {})
    assert {run.recipe.removesuffix("_residual") for run in check.watched_runs()} == set(METHODS)
    assert {type(run.optim).__name__ for run in check.watched_runs()} == {"Sgd", "Lars", "AdamW"}
    found = check.check_synchronisation(torch.device("cpu"))
    assert found == {"holds": True, "watched": False, "runs": len(METHODS), "read": {}}
    real, calls = check.train_step, []

    def step(*given: Any, **named: Any) -> Any:
        calls.append(given)
        if len(calls) in (2, 6):  # the second step of two runs
            raise RuntimeError("called a synchronizing CUDA operation\nat all")
        return real(*given, **named)

    def seen(*given: Any) -> Any:
        seen_.append(given)
        if len(seen_) == 4:  # the second time of the second run
            raise RuntimeError("called a synchronizing CUDA operation")
        return real_views(*given)

    real_views, seen_ = check.views, list[Any]()
    monkeypatch.setattr(check, "train_step", step)
    monkeypatch.setattr(check, "views", seen)
    found = check.check_synchronisation(torch.device("cpu"))
    assert not found["holds"] and found["runs"] == len(METHODS)
    second = [run.recipe for run in check.watched_runs()][1]
    names = ["mocov3_residual", f"{second}, views", "simsiam"]
    assert found["read"] == dict.fromkeys(names, "called a synchronizing CUDA operation")


def test_a_check_that_compiles_is_begun_only_with_time_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, float] = {}
    for name in ("CUDA graphs", "fp16"):

        def up(until: float, seconds: float, name: str = name) -> bool:
            asked.setdefault(name, seconds)
            return True

        monkeypatch.setattr(check, "time_is_up", up)
        assert check.work(tmp_path / "check.jsonl", "cpu", False, only=name) == 3
    assert asked == {"CUDA graphs": check.COMPILING, "fp16": 60}
