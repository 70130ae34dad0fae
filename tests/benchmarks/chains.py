"""A chain of seconds on drawn rectangles, in processes of their own that can be killed at chosen moments."""

import json
import os
import signal
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import benchmarks.chain.__main__ as command
import resmom.runs.comparisons.results as results
import resmom.runs.finetuned.tuned as tuned
import resmom.runs.finetuned.tuning as tuning
import resmom.runs.training.loop as loop
from tests import forked
from tests.runs.rectangles import write_rectangles

VIEW = {"policy.views.0.size": 16, "policy.views.1.size": 16}
CHAIN: dict[str, Any] = {
    "name": "drawn",
    "about": "Does the chain hold together?",
    "recipe": "mocov3_cifar100_small",
    "set": {
        "backbone.widths": [4, 8], "method.hidden": 8, "method.out": 4, "train.precision": "fp32", "train.batch": 16,
        "train.warmup_epochs": 0, "policy.mean": [0.485, 0.456, 0.406], "policy.std": [0.229, 0.224, 0.225], **VIEW,
    },
    "arms": {
        "mocov3": {},
        "densecl+res": {
            "method": "densecl", "method.hidden": 8, "method.out": 4, "method.queue": 16, "method.same_view": True,
            "residual.site": "z", "residual.weight": 1,
        },
    },
    "budgets": {"2ep": {"train.epochs": 2}},
    "against": {"densecl+res": "mocov3"},
    "detect": {
        "recipe": "detect_small",
        "set": {
            "detector.width": 8, "detector.hidden": 16, "detector.proposals": 20, "detector.samples": 16,
            "detector.anchor": 6, "steps": 3, "batch": 4, "warmup_steps": 1, "sides": [48, 64], "test_side": 64,
            "longest": 128, "line_steps": 1, "measure_steps": 2, "save_steps": 2,
        },
    },
    "seeds": [0, 1],
}  # fmt: skip


def write_chain(folder: Path, **changes: object) -> list[str]:
    """A grid file and drawn images in `folder`, and what the command is called with, --out apart."""
    (folder / "drawn.json").write_text(json.dumps(CHAIN | changes))
    for part, images in (("train", 20), ("test", 6)):
        write_rectangles(folder / part, images, images)
    train, test = str(folder / "train"), str(folder / "test")
    return [str(folder / "drawn.json"), "--photos", train, test, "--train", train, "--test", test]


def start(arguments: list[str], die_in: str = "", die_at: int = 0) -> ForkServerProcess:
    """The command; the process kills itself at the `die_at`-th call of `die_in`, if given."""
    return forked.start(_work, arguments, die_in, die_at)


def _work(arguments: list[str], die_in: str, die_at: int) -> None:
    if die_in:
        _arm(die_in, die_at)
    status = command.main([*arguments, "--device", "cpu", "--workers", "0", "--threads", "1", "--quiet"])
    os._exit(status)


def _arm(where: str, at: int) -> None:
    places: dict[str, tuple[Any, str]] = {
        "pretraining": (loop, "train_step"),
        "written": (tuned, "write_json"),
        "detector": (tuning, "_step"),
        "measurement": (tuning, "measured"),
        "line": (results, "append_line"),
    }
    owner, name = places[where]
    original, calls = getattr(owner, name), 0

    def deadly(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == at:
            if where == "line":  # half of it is already in the file
                with args[0].open("a") as file:
                    file.write('{"format": 1, "arm": "mo')
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*args, **kwargs)

    setattr(owner, name, deadly)
