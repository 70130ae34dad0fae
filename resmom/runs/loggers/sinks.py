"""What a run hands its lines of metrics to, beside the file: opened at each start, fed line by line, never in its way.

A sink is made from the lines that metrics.jsonl has at that moment, which a resumed run has cut back to its checkpoint,
so that nothing is in it twice or missing, whatever ended the process before.
"""

import copy
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Protocol, runtime_checkable

from resmom import dist
from resmom.called import setting
from resmom.errors import UserError
from resmom.rundir import RunDir
from resmom.runs.loggers.eventfiles import EventFile
from resmom.runs.loggers.lines import Line
from resmom.runs.loggers.packages import require_package
from resmom.runs.loggers.wandbrun import WandbRun
from resmom.runs.machine import Call, Logger, Machine, Trainer


@runtime_checkable
class Sink(Protocol):
    """Takes lines of metrics in the order of the file; it may raise whatever it likes."""

    def take(self, line: Line) -> None: ...

    def close(self) -> None: ...


class _Function:
    """A function of the user's own. It is given a copy, so that it cannot change what others see."""

    def __init__(self, call: Call) -> None:
        self._call = call

    def take(self, line: Line) -> None:
        self._call(copy.deepcopy(dict(line)))

    def close(self) -> None: ...


class Sinks:
    """All sinks of a start. One that fails is told of once, on standard error, and is given no more lines."""

    def __init__(self) -> None:
        self._open: dict[str, Sink] = {}

    def add(self, name: str, make: Callable[[], Sink]) -> None:
        """Open one. `name`: what a sentence about it begins with."""
        try:
            self._open[name] = make()
        except Exception as error:  # noqa: BLE001  other people's code, which must not end a run
            _tell(name, error)

    def take(self, line: Line) -> None:
        for name, sink in list(self._open.items()):
            try:
                sink.take(line)
            except Exception as error:  # noqa: BLE001  as above
                del self._open[name]
                _tell(name, error)
                self._close(name, sink, told=True)

    def close(self) -> None:
        for name, sink in self._open.items():
            self._close(name, sink)
        self._open.clear()

    def _close(self, name: str, sink: Sink, told: bool = False) -> None:
        try:
            sink.close()
        except Exception as error:  # noqa: BLE001  as above
            if not told:
                _tell(name, error)


def _tell(name: str, error: Exception) -> None:
    said = " ".join(str(error).split())
    what = said if isinstance(error, UserError) else f"{name} failed ({type(error).__name__}{': ' * bool(said)}{said})"
    print(
        f"attention: {what}; it is given no more lines until the run is started again. The run goes on, and "
        "metrics.jsonl has all lines",
        file=sys.stderr,
        flush=True,
    )


def loggers_to_use(machine: Machine, before: Sequence[Logger]) -> tuple[Logger, ...]:
    """The loggers of a start, each once: those asked for now, or else those of `before`, the start before this one.

    Raises UserError where the package of one that is asked for now is not here. One of before is told of by `opened`,
    and the run goes on without.
    """
    asked = machine.log_to if isinstance(machine, Trainer) else None
    for name in asked or ():
        require_package(name)
    return tuple(name for name in dict.fromkeys(before if asked is None else asked) if name != "none")


@contextmanager
def opened(folder: RunDir, names: Sequence[Logger], machine: Machine) -> Iterator[Sinks]:
    """The sinks of a start, on the first process of a group; the others have none."""
    sinks = Sinks()
    if dist.rank() == 0:
        for name in names:
            sinks.add(setting("log_to", name), partial(_made, folder, name))
        for call in machine.calls if isinstance(machine, Trainer) else ():
            called = getattr(call, "__qualname__", type(call).__qualname__)
            sinks.add(f"the function {called} of log_to", partial(_Function, call))
    try:
        yield sinks
    finally:
        sinks.close()


def _made(folder: RunDir, name: Logger) -> Sink:
    require_package(name)
    return EventFile.of(folder) if name == "tensorboard" else WandbRun(folder, online=name == "wandb-online")
