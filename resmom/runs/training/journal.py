"""The metrics of a run: a line on disk for each measurement, and all of them at hand for whoever judges the run."""

from collections.abc import Mapping
from typing import Any

from resmom import dist
from resmom.diagnose.rules import Finding, findings
from resmom.jsonfiles import append_line, read_lines
from resmom.rundir import RunDir
from resmom.runs.loggers.sinks import Sinks


class Journal:
    """Writes on the first process of a group only; the others keep nothing.

    `sinks` is handed each line when it is in the file, where one is set.
    """

    def __init__(self, folder: RunDir, steps: int, per_epoch: int) -> None:
        self._path, self._steps, self._per_epoch = folder.metrics, steps, per_epoch
        self._writes = dist.rank() == 0
        self._lines: list[Mapping[str, Any]] = list(read_lines(folder.metrics)) if self._writes else []
        self._told = {finding.name for finding in self.findings()}
        self.sinks = Sinks()

    def write(self, kind: str, step: int, values: Mapping[str, Any]) -> None:
        """One line of metrics after `step` steps."""
        if self._writes:
            line = {"kind": kind, "step": step, "epoch": step / self._per_epoch, **values}
            append_line(self._path, line)
            self._lines.append(line)
            self.sinks.take(line)

    def has(self, kind: str, step: int) -> bool:
        """Whether there is such a line of that step."""
        return any((line["kind"], line["step"]) == (kind, step) for line in self._lines)

    def findings(self) -> list[Finding]:
        """What is wrong with the run so far, in words."""
        return findings(self._lines, self._steps)

    def news(self) -> list[Finding]:
        """The findings that this was not asked for before; each kind is told once."""
        fresh = [finding for finding in self.findings() if finding.name not in self._told]
        self._told |= {finding.name for finding in fresh}
        return fresh
