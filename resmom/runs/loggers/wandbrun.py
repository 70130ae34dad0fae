"""A run's lines for Weights & Biases, by a process of its own that follows metrics.jsonl.

wandb takes seconds to import, starts threads and programs, may ask at the terminal, and waits where its server does
not answer. None of that is in the training process, which only starts the other one and tells it when the run has
ended. The settings below hold for that process alone.
"""

import json
import os
import secrets
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from resmom.ondisk import write_whole
from resmom.rundir import RunDir
from resmom.runs.loggers.lines import Line

FOLLOWER = "resmom.runs.loggers.wandbfollow"
PATIENCE = 60.0
"""Seconds to wait at the end of a run until all is written or sent; what takes longer goes on by itself."""

QUIET = {
    "WANDB_SILENT": "true",
    "WANDB_CONSOLE": "off",
    "WANDB_DISABLE_GIT": "true",
    "WANDB_DISABLE_CODE": "true",
    "WANDB_SAVE_CODE": "false",
    "WANDB_X_DISABLE_META": "true",
    "WANDB_X_DISABLE_STATS": "true",
    "WANDB_X_DISABLE_MACHINE_INFO": "true",
    "WANDB_X_SAVE_REQUIREMENTS": "false",
    # Else it reports on itself to its makers, offline too: 0.31 looks their server up even then.
    "WANDB_ERROR_REPORTING": "false",
}
"""Nothing is told but the run's settings and numbers: no output, code, commit, packages, machine, and no reports."""


class WandbRun:
    """The other process, while a run trains. A run keeps its W&B id in `RUN/wandb/resmom-id`."""

    def __init__(self, folder: RunDir, online: bool) -> None:
        """Raises OSError where the process cannot be started, or the folder not be written."""
        # Where wandb is told by its own variable to stay offline, it does.
        mode = os.environ.get("WANDB_MODE", "online") if online else "offline"
        asked = {**_described(folder), "metrics": str(folder.metrics), "dir": str(folder.path), "id": _id(folder)}
        if mode != "online":  # the new files have all lines again, and two of one id would be sent one over the other
            for earlier in (folder.path / "wandb").glob(f"offline-run-*-{asked['id']}"):
                shutil.rmtree(earlier, ignore_errors=True)
        root = str(Path(__file__).parents[3])
        paths = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
        self._process = subprocess.Popen(
            [sys.executable, "-m", FOLLOWER, json.dumps(asked)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={**os.environ, **QUIET, "WANDB_MODE": mode, "PYTHONPATH": paths},
            start_new_session=True,  # Ctrl-C is for the run; this one hears of it when the run has saved
        )

    def take(self, line: Line) -> None:
        """The other process reads the line itself. Raises RuntimeError where it has ended."""
        if self._process.poll() is not None:
            raise RuntimeError(self._said())

    def close(self) -> None:
        """Tell it that no more lines come, and wait for it a while. Raises RuntimeError where it has failed."""
        process = self._process
        assert process.stdin is not None and process.stderr is not None
        try:
            with suppress(BrokenPipeError):  # of one that has ended
                process.stdin.write(b"end\n")
                process.stdin.close()
            status = process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            print(
                f"attention: wandb has not finished after {PATIENCE:.0f} seconds; it goes on by itself (process "
                f"{process.pid})",
                file=sys.stderr,
                flush=True,
            )
            return
        with process.stderr:
            if status:
                raise RuntimeError(self._said())

    def _said(self) -> str:
        """The last line that it wrote, which of an error is the error."""
        assert self._process.stderr is not None
        lines = self._process.stderr.read().decode(errors="replace").split("\n")
        return next((line for line in reversed(lines) if line.strip()), f"it ended with {self._process.returncode}")


def _id(folder: RunDir) -> str:
    """By which W&B knows the run again. It is drawn once."""
    path = folder.path / "wandb" / "resmom-id"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        write_whole(path, secrets.token_hex(6) + "\n")
    return path.read_text().strip()


def _described(folder: RunDir) -> dict[str, Any]:
    """What W&B is told of a run beside its lines: names and settings, and of paths the last part."""
    path = folder.path.resolve()
    run = folder.written()["run"]
    cell = path.name.startswith("seed-")
    return {
        "project": os.environ.get("WANDB_PROJECT", "resmom"),
        "name": f"{path.parent.name}/{path.name}" if cell else path.name,
        "group": os.environ.get("WANDB_RUN_GROUP", path.parents[1].name if cell else None),
        "config": run | {"init": Path(run.get("init") or "").name},
    }
