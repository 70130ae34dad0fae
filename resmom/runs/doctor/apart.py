"""Probes in a process of their own: one that raises, crashes or hangs ends that process, and nothing else.

Broken installations do all three (an import that raises whatever it likes, an instruction that the processor lacks, a
driver or a network disk that never answers), and an exception that nobody handles is told by the interpreter's hook: so
the caller needs no handler for every exception there is.
"""

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from resmom.called import called_by
from resmom.runs.doctor.finding import Answer, Finding

Probes = Mapping[str, Callable[..., Answer]]
"""Probes by name; their arguments are words."""

_MOST = 400
"""Characters of a message that are told."""


@dataclass(frozen=True)
class Failure:
    """A probe that gave no answer: what became of it, in words, and whether it was only too slow."""

    words: str
    late: bool = False


class Apart:
    """Asks the probes that `module` serves, in a process that is started when needed and kept as long as it lives."""

    def __init__(self, module: str) -> None:
        self._module = module
        self._process: subprocess.Popen[str] | None = None
        self._errors: TextIO | None = None

    def ask(self, probe: str, arguments: Sequence[str] = (), seconds: float = 60.0) -> Answer | Failure:
        """What a probe says, or what became of it within so many seconds. No exception of the probe comes out."""
        process = self._process or self._start()
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(json.dumps([probe, *arguments]) + "\n")
            process.stdin.flush()
        except BrokenPipeError:
            return self._dead(process)
        if not select.select([process.stdout], [], [], seconds)[0]:
            self.close()
            return Failure(f"there was no answer within {seconds:g} s", late=True)
        line = process.stdout.readline()
        if not line:
            return self._dead(process)
        content = json.loads(line)
        if "raised" in content:
            self.close()
            return Failure(content["raised"])
        return Answer(tuple(Finding(**finding) for finding in content["findings"]), content["facts"])

    def close(self) -> None:
        """End the process, if there is one."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None
        if self._errors is not None:
            self._errors.close()
            self._errors = None

    def __enter__(self) -> "Apart":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _start(self) -> subprocess.Popen[str]:
        self._errors = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115  lives as long as the process
        # The packages of this process and no others: with -P the current folder is on the path only if it is on ours.
        path = os.pathsep.join(place or str(Path.cwd()) for place in sys.path)
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", self._module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={**os.environ, "PYTHONPATH": path},
            text=True,
        )
        return self._process

    def _dead(self, process: subprocess.Popen[str]) -> Failure:
        """The last words of a process that ended by itself."""
        code = process.wait()
        assert self._errors is not None
        self._errors.seek(0)
        lines = [line.strip() for line in self._errors.read().splitlines() if line.strip()]
        self.close()
        if code < 0:
            return Failure(f"its process was ended by a signal ({signal.strsignal(-code) or -code})")
        return Failure(_short(lines[-1]) if lines else f"its process ended with status {code}")


def serve(probes: Probes) -> None:
    """Answer what is asked on standard input until it ends. An exception is told, and ends the process."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a package prints is no answer

    def tell(content: dict[str, Any]) -> None:
        print(json.dumps(content), file=answers, flush=True)

    def hook(kind: type[BaseException], error: BaseException, at: TracebackType | None) -> None:
        tell({"raised": _short(f"{kind.__name__}: {error}")})

    sys.excepthook = hook
    with called_by("options"):  # whoever asks has typed `resmom doctor`
        for line in sys.stdin:
            name, *arguments = json.loads(line)
            tell(asdict(probes[name](*arguments)))


def _short(words: str) -> str:
    """In one line of bounded length."""
    line = " ".join(words.split())
    return line if len(line) <= _MOST else line[:_MOST] + " …"
