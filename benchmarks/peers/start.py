"""How long until something is there: the help of a command line, and the end of the first training step."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks.peers.case import HELP
from benchmarks.peers.driver import Contender, Dead, repository

OWN_RUN = "resmom, the whole command"
"""Ours once more: `resmom pretrain` on arrays without labels, until its first metrics line; not part of the ratios."""


def seconds_of_help(name: str, python: str, source: str, environment: Mapping[str, str]) -> float:
    """Seconds until `--help` of a contender's command line has ended. Raises Dead if it fails."""
    began = time.perf_counter()
    done = subprocess.run(
        [python, *HELP[name]], cwd=source or repository(), env=environment, capture_output=True, text=True, check=False
    )
    seconds = time.perf_counter() - began
    if done.returncode:
        lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        raise Dead(f"it ended with status {done.returncode}: {' | '.join(lines[-3:]) or 'nothing was written'}")
    return seconds


def seconds_to_first_step(start: Callable[[], Contender]) -> float:
    """Seconds from the start of a worker to the end of its first step, its model built in between. Raises Dead."""
    began = time.perf_counter()
    contender = start()
    try:
        about = contender.ready()
        if "missing" in about:
            raise Dead(about["missing"])
        contender.round()
        return time.perf_counter() - began
    finally:
        contender.close()


def seconds_of_command(arrays: Path, batch: int, precision: str, environment: Mapping[str, str]) -> float:
    """Seconds until `resmom pretrain` has told the loss of its first step. Raises Dead."""
    with tempfile.TemporaryDirectory() as place:
        out = Path(place) / "run"
        command = [sys.executable, "-m", "resmom", "pretrain", "mocov3_cifar100_r18", "--data", str(arrays)]
        command += [
            "--out",
            str(out),
            "--train.batch",
            str(batch),
            "--train.precision",
            precision,
            "--train.epochs",
            "1",
        ]
        command += ["--train.warmup-epochs", "0", "--log.line-steps", "1"]
        began = time.perf_counter()
        with (Path(place) / "log").open("w+") as log:
            process = subprocess.Popen(command, cwd=repository(), stdout=log, stderr=log, env=environment)
            try:
                while process.poll() is None:
                    if (out / "metrics.jsonl").exists() and '"train"' in (out / "metrics.jsonl").read_text():
                        return time.perf_counter() - began
                    time.sleep(0.01)
            finally:
                process.kill()
                process.wait()
            log.seek(0)
            raise Dead(f"it ended with status {process.returncode}: {log.read()[-300:]}")
