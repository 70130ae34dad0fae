"""Training comparisons: the next undone cells of a grid, each trained, evaluated on the spot, and one line long.

A grid file is JSON: {"name": "cifar100", "recipe": "mocov3_cifar100_r18", "set": {"train.epochs": 200},
"arms": {"mocov3": {}, "residual": {"residual.weight": 1.0}}, "seeds": [0, 1, 2]}. Every field of a run is set by its
path. Cells are ordered seed by seed, so that whatever is finished can be compared in pairs.
"""

import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from resmom.config import Run, from_json, to_json
from resmom.errors import UserError
from resmom.recipes import recipe
from resmom.rundir import RunDir, append_line, read_lines
from resmom.runs.environment import environment
from resmom.runs.evaluate import evaluate
from resmom.runs.gap import gap
from resmom.runs.pretrain import Finished, Machine, pretrain, resume

RESERVE = 60.0
"""Seconds kept free at the end for evaluation, which follows a finished run at once."""


def work(grid: Path, data: str, state: Path, results: Path, device: str, toy: bool, until: float) -> int:
    """Train undone cells until the time is up; 0 when none is left, 3 when there is more to do."""
    content = json.loads(grid.read_text())
    lines = results / f"{content['name']}.jsonl"
    for arm, seed, run in cells(content, toy):
        if any((line["arm"], line["seed"], line["toy"]) == (arm, seed, toy) for line in read_lines(lines)):
            continue
        reserve = 1.0 if toy else RESERVE
        if time.monotonic() > until - reserve:
            return 3
        folder = state / f"{content['name']}-{arm}-{seed}{'-toy' if toy else ''}"
        began = time.perf_counter()
        finished = train(run, data, folder, device, until - reserve)
        spent = _add_seconds(folder, time.perf_counter() - began)
        if finished.step < finished.steps:
            print(f"{arm}, seed {seed}: at step {finished.step} of {finished.steps}; call again to go on")
            return 3
        append_line(lines, line(folder, arm, seed, toy, run, spent, data, device))
        print(f"{arm}, seed {seed}: done", flush=True)
        shutil.rmtree(folder)
    return 0


def cells(content: Mapping[str, Any], toy: bool) -> Iterator[tuple[str, int, Run]]:
    """Arm, seed and run of every cell of a grid. Raises UserError for fields that no run has."""
    for seed in content["seeds"]:
        for arm, own in content["arms"].items():
            settings = {**content.get("set", {}), **own, "train.seed": seed}
            if toy:
                settings |= {"train.steps": 6, "train.warmup_steps": 1, "train.batch": 16, "log.save_epochs": 1}
            run = changed(recipe(content["recipe"]), settings)
            yield arm, seed, replace(run, recipe=f"{content['name']}: {arm}")


def changed(run: Run, settings: Mapping[str, Any]) -> Run:
    """A run with fields set by their paths, checked as a configuration file is."""
    plain = to_json(run)
    for path, value in settings.items():
        place = plain
        *above, last = path.split(".")
        for name in above:
            if not isinstance(place.get(name), dict):
                raise UserError(f"the grid sets '{path}', and a run has no '{name}' there")
            place = place[name]
        if last not in place:
            raise UserError(f"the grid sets '{path}', which no run has; there are {', '.join(place)}")
        place[last] = value
    return from_json(plain)


def train(run: Run, data: str, folder: Path, device: str, until: float) -> Finished:
    """Start or continue a run, and stop it by a signal to ourselves when the time is up; it saves itself then."""
    machine = Machine(device=device)
    with _alarm(until):
        if RunDir(folder).config.exists():
            return resume(folder, machine, data)
        return pretrain(run, data, folder, machine)


@contextmanager
def _alarm(until: float) -> Iterator[None]:
    """SIGTERM to this process from `until` on, again and again: a run hears it only once it is under way.

    While it is set up or measured the signal means nothing, instead of the end of the process.
    """
    before = signal.signal(signal.SIGTERM, lambda number, frame: None)
    over = threading.Event()

    def ring() -> None:
        over.wait(max(0.0, until - time.monotonic()))
        while not over.wait(0.5):
            os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=ring, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        signal.signal(signal.SIGTERM, before)


def line(
    folder: Path, arm: str, seed: int, toy: bool, run: Run, seconds: float, data: str, device: str
) -> dict[str, Any]:
    """What is kept of a run: its numbers under every protocol, its gaps, its curves, thinned, and where it ran."""
    rows = evaluate(folder, data, device=device)
    measured = gap(folder, data, device=device)
    metrics = read_lines(RunDir(folder).metrics)
    curves = {
        kind: [{k: v for k, v in entry.items() if k != "kind"} for entry in metrics if entry["kind"] == kind]
        for kind in ("knn", "online")
    }
    every = [entry for entry in metrics if entry["kind"] == "train"]
    thin = every[:: max(1, len(every) // 50)]
    return {
        "arm": arm,
        "seed": seed,
        "toy": toy,
        "seconds": seconds,
        "rows": [row.plain() for row in rows],
        "gap": [
            {"site": row.site, "intra": row.intra, "inter": row.inter, "chance": row.chance}
            for row in measured.checkpoints[-1].rows
        ],
        "curves": {**curves, "train": thin},
        "run": to_json(run),
        "environment": environment(),
    }


def _add_seconds(folder: Path, seconds: float) -> float:
    """The seconds that all calls have spent on a run so far."""
    file = folder / "harness-seconds"
    total = seconds + (float(file.read_text()) if file.exists() else 0.0)
    file.write_text(str(total))
    return total
