"""The process that hands the lines of metrics.jsonl to wandb: `python -m resmom.runs.loggers.wandbfollow JSON`.

It ends when the process that started it says so, or is gone: its standard input ends then.
"""

import json
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from resmom.runs.loggers.lines import numbers

PAUSE = 0.5
"""Seconds between two looks at the file."""


def main(asked: dict[str, Any]) -> None:
    """Hand over every line that W&B does not have yet, then what comes.

    A line's step at W&B is its number in the file, which only grows, as W&B wants it (some lines are of the start and
    written later); charts go by `step`, the steps of training.
    """
    import wandb

    run = wandb.init(
        project=asked["project"],
        name=asked["name"],
        group=asked["group"],
        id=asked["id"],
        dir=asked["dir"],
        config=asked["config"],
        resume="allow",
    )
    run.define_metric("step")
    run.define_metric("*", step_metric="step")
    told: list[str] = []
    ended = threading.Event()
    threading.Thread(target=_listen, args=(told, ended), daemon=True).start()

    def hand(number: int, line: dict[str, Any]) -> None:
        run.log({**numbers(line), "step": line["step"], "epoch": line["epoch"]}, step=number)

    follow(Path(asked["metrics"]), int(run.step), hand, ended.is_set)
    run.finish(exit_code=0 if told else 1)  # else the process that trains was killed


def _listen(told: list[str], ended: threading.Event) -> None:
    told += sys.stdin.readlines()
    ended.set()


def follow(
    path: Path,
    first: int,
    hand: Callable[[int, dict[str, Any]], None],
    ended: Callable[[], bool],
    pause: float = PAUSE,
) -> None:
    """Hand over the lines of a file that grows, with their numbers, from number `first` (of 0, 1, …) on, until it has
    `ended` and all are handed over. A line is taken when it is whole."""
    number, rest = 0, b""
    while not path.exists() and not ended():
        time.sleep(pause)
    if not path.exists():
        return
    with path.open("rb") as file:
        while True:
            last = ended()  # asked before reading: what was written until then is read
            *whole, rest = (rest + file.read()).split(b"\n")
            for line in filter(None, whole):
                if number >= first:
                    hand(number, json.loads(line))
                number += 1
            if last:
                return
            time.sleep(pause)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
