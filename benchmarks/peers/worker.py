"""One contender in a process of its own: does a round whenever a line comes on standard input.

    python -m benchmarks.peers.worker NAME CASE     (a contender's name, a `Case` as JSON)

Answers are lines of JSON: {"note", "versions"} when it is ready, {"missing"} if it cannot be imported, and
{"seconds", "peak_mib", "mib"} after each round. After an answer the process group stops itself. Whatever a library
prints goes to standard error.
"""

import ctypes
import gc
import importlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TextIO

from benchmarks.peers.case import MODULES, Case

ALWAYS = ("torch", "torchvision", "numpy", "pillow")


class Gate:
    """Called by a contender before each of its rounds: ends the round before, and waits for the next to be asked for.

    Everything between two calls is timed, so what a library does around its step counts as well; of so many `calls`,
    where one is too short to be told from a process's waking up. On a GPU the round ends when the GPU is done.
    """

    def __init__(self, answers: TextIO, about: dict[str, Any], calls: int = 1, on_gpu: bool = False) -> None:
        self._answers, self._about, self._calls, self._on_gpu = answers, about, calls, on_gpu
        self._began, self._done = 0.0, 0

    def __call__(self) -> None:
        if self._began:
            self._done += 1
            if self._done % self._calls:
                return
            self._wait()
            self.say({"seconds": time.perf_counter() - self._began, **_memory(self._on_gpu)})
            self._forget_first()
        else:
            gc.collect()
            self._wait()
            self.say(self._about | _memory(self._on_gpu))
        os.killpg(0, signal.SIGSTOP)  # until the driver continues this process, and all it has started
        if not sys.stdin.readline():
            sys.exit(0)
        self._began = time.perf_counter()

    def _wait(self) -> None:
        if self._on_gpu:
            import torch

            torch.cuda.synchronize()

    def _forget_first(self) -> None:
        """Have the peak on a GPU be that of the later rounds: in the first one cuDNN's search for the fastest kernel
        may take many times a step's memory, and only of those who have it search."""
        if self._on_gpu and self._done == self._calls:
            import torch

            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    def say(self, content: dict[str, Any]) -> None:
        self._answers.write(json.dumps(content) + "\n")
        self._answers.flush()


def die_with_parent(_: int = 0) -> None:
    """Have the system end this process when its parent ends (Linux): a stopped process would else be left for ever."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, int(signal.SIGKILL))  # PR_SET_PDEATHSIG


def _memory(on_gpu: bool) -> dict[str, float]:
    """The largest memory of this process so far, and that of now, in MiB: the GPU's, where it works there.

    There it is what torch's allocator has taken from the device, tensors and what it keeps for the next ones.
    """
    if on_gpu:
        import torch

        return {"peak_mib": torch.cuda.max_memory_reserved() / 2**20, "mib": torch.cuda.memory_reserved() / 2**20}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "linux" else 1024**2)
    status = Path("/proc/self/statm")
    now = int(status.read_text().split()[1]) * resource.getpagesize() / 2**20 if status.exists() else peak
    return {"peak_mib": peak, "mib": now}


def _versions(packages: tuple[str, ...], source: str) -> dict[str, str]:
    found = {}
    for name in (*ALWAYS, *packages):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    if source:
        asked = subprocess.run(["git", "-C", source, "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
        found["commit"] = asked.stdout.strip() or "unknown"
    return found


def main() -> None:
    die_with_parent()
    name, case = sys.argv[1], Case.read(sys.argv[2])
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    if case.cores and sys.platform == "linux":
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: case.cores])
    if case.source:
        sys.path.insert(0, case.source)
    try:
        import torch

        contender = importlib.import_module(f"benchmarks.peers.{MODULES[name]}")
    except ImportError as error:
        Gate(answers, {}).say({"missing": f"{type(error).__name__}: {error}"})
        return
    torch.set_num_threads(case.threads)
    if case.on_gpu:
        torch.cuda.set_device(case.gpu)  # the one that is waited for, and whose memory is told
    about = {"note": contender.NOTES[case.what], "versions": _versions(contender.PACKAGES, case.source)}
    gate = Gate(answers, about, case.steps, case.on_gpu)
    getattr(contender, case.what)(case, gate)


if __name__ == "__main__":
    main()
