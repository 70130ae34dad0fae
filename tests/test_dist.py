"""Two processes with half of the batch each against one process with all of it, weight by weight."""

import math
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch

from resmom import dist
from resmom.losses.residual import Residual
from resmom.nets.teacher import PLAIN, Ema, set_mode
from resmom.train.optim import Sgd, build_optimizer
from resmom.train.plan import Plan
from resmom.train.state import State, memory_of, student_of
from resmom.train.step import Rules, train_step
from resmom.types import Batch
from tests import forked, toy

STEPS, N, WORLD = 3, 8, 2
PLAN = Plan(lr=0.1, momentum=0.9, residual=1.0)


def part(batch: Batch, rank: int, world: int) -> Batch:
    """This rank's stretch of the batch."""
    rows = slice(rank * N // world, (rank + 1) * N // world)
    return batch.rows(rows)


def trained(kind: str, rank: int = 0, world: int = 1, micro_batch: int = 0, broken: bool = False) -> dict[str, Any]:
    """Weights, losses and skips of a few steps; `broken` puts a NaN into the second batch, seen by the last rank.

    `kind EMAN`: a teacher with averaged statistics.
    """
    kind, _, eman = kind.partition(" ")
    method = toy.method(kind, batch_norm=kind in toy.GROUPS)
    state = State(method, build_optimizer(Sgd(), method.student))
    method.student = dist.data_parallel(method.student)
    residual = Residual() if method.teacher is None else Residual(1.0, toy.site(kind))
    ema = Ema(batch_norm="averaged") if eman else PLAIN
    if method.teacher is not None:
        set_mode(method.teacher, ema)
    losses, rules = [], Rules(residual, micro_batch=micro_batch, ema=ema)
    for step in range(STEPS):
        batch = toy.batch(step, N)
        if broken and step == 1:
            batch.views[0][N - 1, 0, 0, 0] = math.nan
        mine = part(batch, rank, world)
        if step == 0:  # at the start both networks are the same on every rank
            targets = method.teach(mine)
            assert not any(keys.requires_grad for keys in targets.keys)
        losses.append(train_step(state, mine, PLAN, rules)["loss"].item())
    return {
        "student": student_of(method).state_dict(),
        "teacher": {} if method.teacher is None else method.teacher.state_dict(),
        "memory": memory_of(method),
        "losses": losses,
        "skipped": state.skipped,
        "offset": targets.offset,
        "keys": list(targets.keys),
    }


CASES = {  # method, micro-batch, and whether one rank meets a NaN
    "mocov3": ("mocov3", 0, False),
    "mocov3 in micro-batches": ("mocov3", 2, False),
    "byol": ("byol", 0, False),
    **{kind: (kind, 0, False) for kind in ("simsiam", "simclr", "barlow", "vicreg", "nnclr", "nnclr_nt_xent")},
    "dino": ("dino", 0, False),
    "dino in micro-batches": ("dino", 2, False),
    "ibot": ("ibot", 0, False),
    "ibot in micro-batches": ("ibot", 3, False),
    "broken ibot": ("ibot", 0, True),
    "dinov2_mean": ("dinov2_mean", 0, False),
    "dinov2_even": ("dinov2_even", 0, False),
    "broken dinov2_mean": ("dinov2_mean", 0, True),
    "broken mocov3": ("mocov3", 0, True),
    "broken byol": ("byol", 0, True),
    "broken dino": ("dino", 0, True),
    **{kind: (kind, 0, False) for kind in toy.QUEUES},
    "mocov2 in micro-batches": ("mocov2", 3, False),
    "msf in micro-batches": ("msf", 3, False),
    "nnclr_ema in micro-batches": ("nnclr_ema", 3, False),
    "broken mocov2": ("mocov2", 0, True),
    "densecl in micro-batches": ("densecl", 3, False),
    **{kind: (kind, 0, False) for kind in toy.GROUPS},
    "EMAN": ("mocov2_groups EMAN", 0, False),
    "broken groups": ("densecl_groups", 0, True),
    "mocov2_groups in micro-batches": ("mocov2_groups", 2, False),
    "densecl_groups in micro-batches": ("densecl_groups", 2, False),
}


def _work(rank: int, folder: str) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=WORLD)
    try:
        assert (dist.rank(), dist.world(), dist.active()) == (rank, WORLD, True)
        assert dist.anywhere(rank == 1) and not dist.anywhere(False)
        _flagged_by_the_hosts(rank)
        assert dist.everywhere(torch.tensor(True)) and not dist.everywhere(torch.tensor(rank == 1))
        _gathered(rank)
        results = {name: trained(kind, rank, WORLD, micro, nan) for name, (kind, micro, nan) in CASES.items()}
        torch.save(results, Path(folder) / f"{rank}.pt")
    finally:
        dist.stop()


def _flagged_by_the_hosts(rank: int) -> None:
    """As where the group itself takes tensors of a GPU alone: flags go through another one, which is made once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.distributed, "get_backend", lambda: "nccl")
        dist._hosts.cache_clear()
        assert dist.anywhere(rank == 1) and not dist.anywhere(False)
        hosts = dist._hosts()
    assert hosts is not None and hosts.name() == "gloo"
    dist._hosts.cache_clear()


def _gathered(rank: int) -> None:
    """Rank r weighs the rows of everybody by (r + 1) x their place: each gets back the sum over ranks."""
    rows = torch.full((2, 1), float(rank), dtype=torch.float64, requires_grad=True)
    everybodys = dist.gather_with_gradient(rows)
    assert everybodys.flatten().tolist() == [0.0, 0.0, 1.0, 1.0]
    (everybodys.flatten() * torch.arange(4.0) * (rank + 1)).sum().backward()
    assert rows.grad is not None and rows.grad.flatten().tolist() == [3.0 * place for place in (2 * rank, 2 * rank + 1)]


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, dict[str, Any]]]:
    """What each of two processes ends with, case by case."""
    folder = tmp_path_factory.mktemp("ranks")
    processes = [forked.start(_work, rank, str(folder)) for rank in range(WORLD)]
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * WORLD
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(WORLD)]


STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
"""Of BatchNorm, which move once for every micro-batch."""


def assert_close(ours: dict[str, torch.Tensor], whole: dict[str, torch.Tensor], but: tuple[str, ...] = ()) -> None:
    assert ours.keys() == whole.keys()
    for name, value in whole.items():
        if but and name.endswith(but):
            continue
        assert (ours[name] - value).double().norm() <= 1e-10 * value.double().norm(), name


@pytest.mark.slow
@pytest.mark.parametrize("case", [name for name, (_, _, broken) in CASES.items() if not broken])
def test_two_processes_are_one(ranks: list[dict[str, dict[str, Any]]], case: str) -> None:
    kind = CASES[case][0]
    whole, parts = trained(kind), [rank[case] for rank in ranks]
    for ours in parts:
        assert_close(ours["student"], whole["student"], STATISTICS if CASES[case][1] else ())
        assert_close(ours["teacher"], whole["teacher"])
        assert_close(ours["memory"], whole["memory"])
        assert ours["skipped"] == 0
    together = [sum(losses) / WORLD for losses in zip(*(ours["losses"] for ours in parts), strict=True)]
    assert together == pytest.approx(whole["losses"], rel=1e-10)
    for rank, ours in enumerate(parts if kind == "mocov3" else []):
        assert ours["offset"] == rank * N // WORLD
        for mine, everybodys in zip(ours["keys"], whole["keys"], strict=True):
            torch.testing.assert_close(mine, everybodys, rtol=1e-10, atol=0.0)


@pytest.mark.slow
@pytest.mark.parametrize("case", [name for name, (_, _, broken) in CASES.items() if broken])
def test_a_step_that_is_not_finite_on_one_rank_is_skipped_on_both(
    ranks: list[dict[str, dict[str, Any]]], case: str
) -> None:
    """NaN pixels of rank 1 alone: both ranks skip the step, and end with the weights of a run without it."""
    whole = trained(CASES[case][0], broken=True)
    assert whole["skipped"] == 1
    for rank in ranks:
        assert rank[case]["skipped"] == 1
        assert_close(rank[case]["student"], whole["student"])
        assert_close(rank[case]["teacher"], whole["teacher"])
        assert_close(rank[case]["memory"], whole["memory"])
    if case == "broken byol":  # where no keys are shared, rank 0's own loss was fine
        assert math.isfinite(ranks[0][case]["losses"][1]) and math.isnan(ranks[1][case]["losses"][1])


@pytest.mark.parametrize(
    ("device", "backend"), [("auto", "nccl"), ("cuda", "nccl"), ("cpu", "gloo"), ("cpu:0", "gloo")]
)
def test_the_group_speaks_what_its_device_does(device: str, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine with a GPU; and whoever waits for the first process, which measures alone, waits for hours."""
    asked: list[tuple[str, timedelta]] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(
        torch.distributed, "init_process_group", lambda name, timeout: asked.append((name, timeout)) or None
    )
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    assert str(dist.start(device)) == ("cuda:1" if backend == "nccl" else "cpu")
    assert [name for name, _ in asked] == [backend] and asked[0][1] >= timedelta(hours=6)


def test_a_flag_goes_where_the_group_takes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A group on the CPU of a machine with a GPU: nothing is put there."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(dist, "active", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_backend", lambda: "gloo")
    seen: list[torch.device] = []
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda count, op, group: seen.append(count.device))
    assert dist.anywhere(True) and not dist.anywhere(False)
    dist._hosts.cache_clear()
    assert {device.type for device in seen} == {"cpu"}


def test_without_a_group_there_is_one_process() -> None:
    student = toy.method().student
    rows = torch.ones(2, 3, requires_grad=True)
    assert (dist.rank(), dist.world(), dist.active()) == (0, 1, False)
    assert dist.data_parallel(student) is student
    assert torch.equal(dist.gather(rows), rows) and not dist.gather(rows).requires_grad
    assert dist.gather_with_gradient(rows) is rows
    assert dist.anywhere(True) and not dist.anywhere(False)
    assert dist.everywhere(torch.tensor(True))
    assert dist.gathered("x") == ["x"] and dist.least(3) == 3
    dist.stop()
