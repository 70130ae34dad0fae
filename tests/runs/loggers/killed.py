"""A run that logs and kills itself at a chosen step."""

import os
import signal
from pathlib import Path
from typing import Any

from resmom.runs.machine import Trainer
from resmom.runs.pretrain import pretrain
from resmom.runs.training import loop
from tests.runs.crash import small_run


def killed_at(out: Path, data: Path, step: int) -> None:
    """Begin the run of `small_run` in `out`, with TensorBoard's files; SIGKILL comes after so many whole steps."""
    real, done = loop.train_step, 0

    def deadly(*given: Any) -> Any:
        nonlocal done
        if done == step:
            os.kill(os.getpid(), signal.SIGKILL)
        done += 1
        return real(*given)

    loop.train_step = deadly  # type: ignore[assignment]
    pretrain(small_run(), str(data), out, Trainer(device="cpu", quiet=True, log_to=("tensorboard",)))
