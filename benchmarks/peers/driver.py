"""Contenders as live processes that stop and are continued in turn, one round each.

So whatever else happens on a shared machine happens to all of them, and only ratios of one round to another are used.
"""

import json
import os
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

STUCK = 2.0
"""Seconds after its answer in which a contender has to be stopped."""


class Dead(Exception):
    """A contender ended, or said nothing for too long; the message has the last lines of what it wrote."""


class Contender:
    """A process that does a round for every line it reads, answers by a line of JSON, and then stops itself.

    It stops its whole process group (SIGSTOP), workers included, so that between rounds it can neither disturb the
    others nor work ahead. It does so itself because the driver would come some milliseconds late.
    """

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        self.name = name
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  lives as long as the process
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, env=environment,
            start_new_session=True,
        )  # fmt: skip
        self._text = b""

    def ready(self, seconds: float = 600.0) -> dict[str, Any]:
        """Wait until it is built; what it says about itself. Raises Dead."""
        return self._answer(seconds)

    def round(self, seconds: float = 600.0) -> dict[str, Any]:
        """Continue it for one round. Raises Dead."""
        assert self._process.stdin is not None
        self._signal(signal.SIGCONT)
        try:
            self._process.stdin.write(b"go\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise Dead(self._words()) from error
        return self._answer(seconds)

    def close(self) -> None:
        """End it and its workers, and wait until it has ended."""
        self._signal(signal.SIGKILL)
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._log):
            if stream is not None:
                try:
                    stream.close()
                except BrokenPipeError:  # a line that nobody read
                    continue

    def _answer(self, seconds: float) -> dict[str, Any]:
        assert self._process.stdout is not None
        until = time.monotonic() + seconds
        while b"\n" not in self._text:
            if not select.select([self._process.stdout], [], [], max(0.0, until - time.monotonic()))[0]:
                raise Dead(f"no answer within {seconds:.0f} s; {self._words()}")
            read = os.read(self._process.stdout.fileno(), 65536)
            if not read:
                self._process.wait()
                raise Dead(self._words())
            self._text += read
        self._still()
        line, _, self._text = self._text.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _still(self) -> None:
        """Wait until all of its group has stopped.

        A library that starts a program from a thread of its own (pip freeze, say) may be caught between fork and exec:
        the child is stopped there, its parent waits for it without being stoppable, and neither ever moves. Such a
        group is let go for a moment and stopped once more.
        """
        since = time.monotonic()
        # Not reaped, if it has ended: `close` does that.
        while os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
            if time.monotonic() - since > STUCK:
                self._signal(signal.SIGCONT)
                time.sleep(0.05)
                self._signal(signal.SIGSTOP)
                since = time.monotonic()
            time.sleep(0.001)

    def _words(self) -> str:
        self._log.seek(0)
        lines = [line for line in self._log.read().decode(errors="replace").splitlines() if line.strip()]
        status = self._process.poll()
        ended = "it is still there" if status is None else f"it ended with status {status}"
        return f"{ended}: {' | '.join(lines[-3:]) or 'nothing was written'}"

    def _signal(self, number: int) -> None:
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            return


@dataclass
class Result:
    """What the rounds of one case gave. `answers`: contender -> its answer to each round after the warm ones."""

    answers: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    about: dict[str, dict[str, Any]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    died: dict[str, str] = field(default_factory=dict)


def interleave(starts: Mapping[str, Callable[[], Contender]], rounds: int, warm: int) -> Result:
    """Start every contender, then `warm` + `rounds` rounds of all in turn, another one first each time.

    Who cannot be imported is listed in `missing`, who fails later in `died` and takes no further part.
    """
    result, live = Result(), list[Contender]()
    try:
        for name, start in starts.items():
            contender = start()
            live.append(contender)
            try:
                about = contender.ready()
            except Dead as dead:
                _drop(contender, live, result.died, str(dead))
                continue
            if "missing" in about:
                _drop(contender, live, result.missing, about["missing"])
            else:
                result.about[name], result.answers[name] = about, []
        for number in range(warm + rounds):
            shift = number % max(len(live), 1)
            for contender in live[shift:] + live[:shift]:
                try:
                    answer = contender.round()
                except Dead as dead:
                    _drop(contender, live, result.died, f"in round {number}: {dead}")
                    continue
                if number >= warm:
                    result.answers[contender.name].append(answer)
    finally:
        for contender in live:
            contender.close()
    return result


def _drop(contender: Contender, live: list[Contender], reasons: dict[str, str], reason: str) -> None:
    reasons[contender.name] = reason
    contender.close()
    live.remove(contender)


def repository() -> Path:
    """The folder that holds `benchmarks/`."""
    return Path(__file__).resolve().parents[2]
