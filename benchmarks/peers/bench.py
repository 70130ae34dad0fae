"""What is compared: steps, input, memory, and how long a start takes."""

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.peers.case import CHECKOUTS, PEERS, Case
from benchmarks.peers.driver import Contender, Dead, Result, interleave, repository
from benchmarks.peers.start import OWN_RUN, seconds_of_command, seconds_of_help, seconds_to_first_step
from benchmarks.peers.table import memory_ratios, row, speed_ratios

OURS = "resmom"


class Bench:
    """The options of one call, and how a contender is started under them."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.sources = {"solo-learn": options.solo_learn, "moco-v3": options.moco_v3}
        asked = [name for name in options.peers.split(",") if name]
        if set(asked) - set(PEERS):
            raise SystemExit(f"--peers knows {', '.join(PEERS)}; got {options.peers}")
        self.peers = [name for name in asked if name not in CHECKOUTS or self.sources[name]]
        self.without = {name: f"give --{name} PATH, a checkout" for name in asked if name not in self.peers}

    def python(self, name: str) -> str:
        return sys.executable if name in (OURS, "plain") else self.options.python

    def environment(self) -> dict[str, str]:
        quiet = {"HF_HUB_OFFLINE": "1", "WANDB_MODE": "disabled", "NO_ALBUMENTATIONS_UPDATE": "1"}
        quiet |= {"LIGHTLY_TRAIN_EVENTS_DISABLED": "1", "DO_NOT_TRACK": "1"}
        threads = {"OMP_NUM_THREADS": str(self.options.threads)}
        if self.options.wait_policy != "unset":
            threads["OMP_WAIT_POLICY"] = self.options.wait_policy.upper()
        return {**os.environ, **quiet, **threads, "PYTHONPATH": str(repository())}

    def starts(self, case: Case, names: list[str]) -> dict[str, Callable[[], Contender]]:
        return {name: partial(self._start, case, name) for name in names}

    def _start(self, case: Case, name: str) -> Contender:
        own = replace(case, source=str(Path(self.sources[name]).resolve()) if name in CHECKOUTS else "")
        command = [self.python(name), "-m", "benchmarks.peers.worker", name, own.text()]
        return Contender(name, command, self.environment())

    def seconds_of_help(self, name: str) -> float:
        return seconds_of_help(name, self.python(name), self.sources.get(name) or "", self.environment())


def step_cases(bench: Bench) -> Iterator[Case]:
    """The batch and precision of every comparison of a step."""
    for batch in bench.options.batch or (128, 256):
        for precision in bench.options.precision:
            options = bench.options
            where = {"device": options.device, "steps": options.steps, "compile": options.compile}
            yield Case("step", batch, options.side, precision, options.threads, **where)


def step(bench: Bench) -> Iterator[dict[str, Any]]:
    for case in step_cases(bench):
        result = interleave(bench.starts(case, [OURS, *bench.peers]), bench.options.rounds, bench.options.warm)
        result.missing.update(bench.without)
        yield row(f"step, batch {case.batch}, {case.precision}", case, result, speed_ratios(result, OURS), "s")


def images(bench: Bench) -> Iterator[dict[str, Any]]:
    from benchmarks.peers.pictures import file_of_arrays, folder_of_images

    options = bench.options
    for size in options.size:
        files = size >= 64
        batch = (options.batch or ((64,) if files else (256,)))[0]
        data = folder_of_images(options.images, 512) if files else file_of_arrays(options.arrays, 4096)
        with data as where:
            # Enough batches that those read ahead (two per worker) do not count, from the second round on.
            case = Case("images", batch, size, cores=options.cores, data=str(where))
            case = replace(case, batches=(4 if files else 16) * options.cores)
            result = interleave(bench.starts(case, [OURS, "plain", *bench.peers]), options.rounds, options.warm)
        result.missing.update(bench.without)
        title = f"input, {'files' if files else 'arrays'} to two views of {size} pixels, {options.cores} core(s)"
        yield row(title, case, result, speed_ratios(result, OURS), "s")


def memory(bench: Bench) -> Iterator[dict[str, Any]]:
    for case in step_cases(bench):
        result = Result()
        for name, start in bench.starts(replace(case, keep_memory=False), [OURS, *bench.peers]).items():
            alone = interleave({name: start}, rounds=2, warm=0)
            for mine, its in zip(vars(result).values(), vars(alone).values(), strict=True):
                mine.update(its)
        result.missing.update(bench.without)
        title = f"peak memory, batch {case.batch}, {case.precision}"
        yield row(title, case, result, memory_ratios(result, OURS), "MiB")


def start(bench: Bench) -> Iterator[dict[str, Any]]:
    from benchmarks.peers.pictures import file_of_arrays

    options = bench.options
    case = Case("step", (options.batch or (128,))[0], options.side, options.precision[0], options.threads)
    starts = bench.starts(case, [OURS, *bench.peers])

    helps = {name: partial(bench.seconds_of_help, name) for name in starts}
    result = in_turn(helps, options.rounds)
    result.missing.update(bench.without)
    yield row("start, --help", case, result, speed_ratios(result, OURS), "s")
    firsts: dict[str, Callable[[], float]] = {name: partial(seconds_to_first_step, one) for name, one in starts.items()}
    with file_of_arrays(None, 2048) as arrays:
        firsts[OWN_RUN] = partial(seconds_of_command, arrays, case.batch, case.precision, bench.environment())
        result = in_turn(firsts, options.rounds)
    result.missing.update(bench.without)
    ratios = {name: ratio for name, ratio in speed_ratios(result, OURS).items() if name != OWN_RUN}
    yield row("start, first step", case, result, ratios, "s")


def in_turn(measures: Mapping[str, Callable[[], float]], rounds: int) -> Result:
    """Seconds of each, `rounds` times, one after the other, after one that does not count and fills the caches."""
    result = Result(answers={name: [] for name in measures})
    for number in range(1 + rounds):
        for name, measure in measures.items():
            if name not in result.died:
                try:
                    seconds = measure()
                except Dead as dead:
                    result.died[name] = str(dead)
                    continue
                if number:
                    result.answers[name].append({"seconds": seconds})
    return result


WHAT: dict[str, Callable[[Bench], Iterator[dict[str, Any]]]] = {
    "step": step,
    "input": images,
    "memory": memory,
    "start": start,
}
