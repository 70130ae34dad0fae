"""Comparisons of seconds, in processes of their own that can be killed, and lines of results made by hand."""

import contextlib
import json
import os
import signal
import sys
from dataclasses import replace
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import resmom.runs.comparisons.cell as cell
import resmom.runs.comparisons.results as results
import resmom.runs.training.loop as loop
from resmom import cli
from resmom.config import Log, Run, to_json
from resmom.recipes import recipe
from resmom.runs.comparisons.compare import compare
from resmom.runs.comparisons.grid import Grid
from tests import forked
from tests.runs.crash import QUIET, small_run

OPTIONS = {
    "backbone.widths": [4, 8], "train.batch": 8, "train.epochs": 2, "train.warmup_epochs": 0, "method.hidden": 8,
    "method.out": 4, "policy.views.0.size": 16, "policy.views.1.size": 16, "log.knn_epochs": 1,
}  # fmt: skip
"""What makes mocov3_digits a run of a second."""
TINY = [
    word
    for name, value in OPTIONS.items()
    for word in (f"--{name}", *(map(str, value) if isinstance(value, list) else [str(value)]))
] + ["--quiet", "--device", "cpu"]


def small_grid(seeds: tuple[int, ...] = (3, 4)) -> Grid:
    """Two arms, with the residual term and without."""
    base = replace(small_run(epochs=2), recipe="small", log=Log(line_steps=2, save_epochs=1, knn_epochs=1))
    return Grid("small", base, {"plain": {"residual.weight": 0}, "residual": {"residual.weight": 1.0}}, seeds)


def start(out: Path, data: Path, die_in: str = "", die_at: int = 0) -> ForkServerProcess:
    """Begin or continue the small grid; the process kills itself at the `die_at`-th call of `die_in`, if given."""
    return forked.start(_work, out, data, die_in, die_at)


def _work(out: Path, data: Path, die_in: str, die_at: int) -> None:
    if die_in:
        _arm(die_in, die_at)
    compare(small_grid(), str(data), out, QUIET)


def command(arguments: list[str], told: Path, die_in: str = "", die_at: int = 0) -> ForkServerProcess:
    """As `start`, with `resmom compare ARGUMENTS`, whose words go to the file `told`."""
    return forked.start(_command, arguments, told, die_in, die_at)


def _command(arguments: list[str], told: Path, die_in: str, die_at: int) -> None:
    if die_in:
        _arm(die_in, die_at)
    sys.argv = ["resmom", "compare", *arguments]
    with told.open("w") as file, contextlib.redirect_stdout(file):
        cli.main()


def _arm(where: str, at: int) -> None:
    owner, name = {"step": (loop, "train_step"), "gap": (cell, "gap"), "line": (results, "append_line")}[where]
    original, calls = getattr(owner, name), 0

    def deadly(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == at:
            if where == "line":  # half of it is already in the file
                with args[0].open("a") as file:
                    file.write('{"format": 1, "arm": "pl')
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*args, **kwargs)

    setattr(owner, name, deadly)


def line(arm: str, seed: int, place: int = 0, before: float | None = 10.0, **measures: float) -> dict[str, Any]:
    """A line of results; a measure's name has __ for /."""
    run: Run = recipe("mocov3_digits")
    run = replace(run, train=replace(run.train, seed=seed), residual=replace(run.residual, weight=float(place)))
    content = {
        "format": 1, "arm": arm, "place": place, "seed": seed, "settings": {"residual.weight": place},
        "digest": f"{place}{seed}", "steps": 100, "seconds": 50.0, "failed": None, "before": before, "queries": 1000,
        "measures": {name.replace("__", "/"): value for name, value in measures.items()},
        "protocols": {"knn": "knn-v1", "gap": "gap-v1"}, "run": to_json(run), "environment": {},
        "data": {"name": "x", "images": 10, "origin": "its split", "fingerprint": "f"},
    }  # fmt: skip
    read: dict[str, Any] = json.loads(json.dumps(content))  # as it comes from a file
    return read
