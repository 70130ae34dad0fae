"""Runs beside each other: which options differ, which runs differ by their seed alone, and their mean and spread."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from resmom.diagnose.paired import Spread, spread
from resmom.protocols import shared_protocol
from resmom.report.contents import RunRecord
from resmom.report.numbers import setting
from resmom.which import UNLEARNED

Network = str
Column = tuple[str, str, str]
"""Protocol's short name, network, protocol in full with the images it was measured on."""

ORDER = ("knn", "linear", "online")
TRAINING = "measured while training, at the precision of the run"
"""Said of what a run measured by itself: at its own precision, and perhaps on fewer images."""

NETWORKS = ("student", "teacher")
MOST_PROTOCOLS = 3
"""Protocols that stand side by side in the table of scores; of more each has a row."""
FEW = 4
"""Settings that name a configuration; the table has all of them."""


def flat(config: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a configuration by their dotted names. Left out is what changes nothing of the training: the
    recipe's name, how often is measured, and the epochs of a run whose length is given in steps or the other way round;
    and the seed, which tells runs of one configuration apart."""
    found: dict[str, Any] = {}

    def walk(value: Any, path: str) -> None:
        if isinstance(value, Mapping):
            for name, part in value.items():
                walk(part, f"{path}.{name}" if path else name)
        elif isinstance(value, list | tuple) and any(isinstance(part, Mapping) for part in value):
            for number, part in enumerate(value):
                walk(part, f"{path}.{number}")
        else:
            found[path] = value

    walk({name: part for name, part in config.items() if name not in ("recipe", "log")}, "")
    unused = ("epochs", "warmup_epochs") if found.get("train.steps") else ("steps", "warmup_steps")
    for name in ("seed", *unused):
        found.pop(f"train.{name}", None)
    return found


def differences(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """The options that are not the same in all configurations, in the order of the configurations."""
    names = dict.fromkeys(name for config in configs for name in config)
    return [name for name in names if len({_key(config.get(name)) for config in configs}) > 1]


@dataclass(frozen=True)
class Measured:
    """A run's score at a step; of several draws it is their mean, `sd` their sample standard deviation."""

    value: float
    step: int
    sd: float | None = None
    draws: int = 0


@dataclass(frozen=True)
class Cell:
    """Mean and sample standard deviation over seeds (None for one) of measurements at one step."""

    mean: float
    sd: float | None
    n: int
    step: int
    only: Measured | None
    """Of one seed, its measurement: its spread over draws is another one than that over seeds."""


@dataclass(frozen=True)
class Group:
    """Runs of one configuration, as far as each other. `repeats` have the seed of an earlier one and do not count."""

    values: Mapping[str, str]
    runs: tuple[RunRecord, ...]
    repeats: tuple[RunRecord, ...]
    cells: Mapping[Column, Cell]

    @property
    def step(self) -> int:
        return self.runs[0].step

    @property
    def label(self) -> str:
        """The configuration in a few words: what sets it apart, by what it has rather than by what it has not."""
        had = [f"{name} {value}" for name, value in self.values.items() if value not in ("absent", "empty")]
        more = f" and {len(had) - FEW} more" if len(had) > FEW + 1 else ""
        return ", ".join(had[:FEW] if more else had) + more


@dataclass(frozen=True)
class Table:
    """All groups, the options that differ between them, and the columns of scores that any of them has."""

    options: tuple[str, ...]
    columns: tuple[Column, ...]
    groups: tuple[Group, ...]


def table(runs: Sequence[RunRecord]) -> Table:
    """Group the runs by configuration and by how far they are, in the order in which they were given."""
    names = differences([run.config for run in runs])
    members: dict[tuple[str, int], list[RunRecord]] = {}
    for run in runs:
        members.setdefault((_key(run.config), run.step), []).append(run)
    groups = []
    for own in members.values():
        first = {run.seed: run for run in reversed(own)}
        counted = tuple(run for run in own if first[run.seed] is run)
        values = {name: setting(own[0].config.get(name)) for name in names}
        groups.append(Group(values, counted, tuple(run for run in own if run not in counted), _cells(counted)))
    columns = sorted({column for group in groups for column in group.cells}, key=_rank)
    return Table(tuple(names), tuple(columns), tuple(groups))


def letters(compared: Table) -> dict[str, str]:
    """A letter for each protocol, by which a column refers to it."""
    protocols = dict.fromkeys(protocol for _, _, protocol in compared.columns)
    return {
        protocol: chr(ord("a") + number) if number < 26 else str(number) for number, protocol in enumerate(protocols)
    }


def by_protocol(compared: Table) -> list[tuple[str, str, list[Column]]]:
    """Protocols as rows, each with its short name and its columns; none where they are few enough to be columns."""
    rows = list(dict.fromkeys((name, protocol) for name, _, protocol in compared.columns))
    if len(rows) <= MOST_PROTOCOLS:
        return []
    return [(name, protocol, [(name, network, protocol) for network in NETWORKS]) for name, protocol in rows]


def scores(run: RunRecord) -> dict[Column, Measured]:
    """The newest finite top-1 of each protocol and network; measurements before training do not count."""
    found: dict[Column, Measured] = {}

    def add(network: str, protocol: str, value: Any, step: int, sd: float | None = None, draws: int = 0) -> None:
        column = (protocol.split("-")[0].split(" ")[0], network, shared_protocol(protocol))
        known = step > 0 and isinstance(value, int | float) and math.isfinite(value)
        if known and (column not in found or found[column].step <= step):
            found[column] = Measured(float(value), step, sd, draws)

    for line in run.lines:
        if line["kind"] in ("knn", "online"):
            for network in NETWORKS:
                add(network, f"{line.get('protocol', line['kind'])}; {TRAINING}", line.get(network), line["step"])
    for line in run.evaluations:
        if line["network"] in NETWORKS:
            on = f"; on {line['data']}" if line.get("data") else ""
            drawn = (line.get("sd"), len(line.get("draws", ())))
            add(line["network"], line["protocol"] + on, line["top1"], line["step"], *drawn)
    return found


def unlearned(runs: Sequence[RunRecord]) -> dict[str, dict[str, Spread]]:
    """By protocol, top-1 of what needs no learning, where it was measured: the newest of each run, over the runs."""
    found: dict[str, dict[str, list[float]]] = {}
    for run in runs:
        newest: dict[tuple[str, str], float] = {}
        for line in run.evaluations:
            if line["network"] in UNLEARNED:
                on = f"; on {line['data']}" if line.get("data") else ""
                newest[shared_protocol(line["protocol"]) + on, line["network"]] = line["top1"]
        for (protocol, what), top1 in newest.items():
            found.setdefault(protocol, {}).setdefault(what, []).append(top1)
    return {protocol: {what: spread(own[what]) for what in UNLEARNED if what in own} for protocol, own in found.items()}


def _cells(runs: Sequence[RunRecord]) -> dict[Column, Cell]:
    found: dict[Column, list[Measured]] = {}
    for run in runs:
        for column, measured in scores(run).items():
            found.setdefault(column, []).append(measured)
    cells = {}
    for column, all_measured in found.items():
        newest = max(measured.step for measured in all_measured)
        counted = [measured for measured in all_measured if measured.step == newest]
        seeds = spread([measured.value for measured in counted])
        cells[column] = Cell(seeds.mean, seeds.sd, seeds.n, newest, counted[0] if len(counted) == 1 else None)
    return cells


def _key(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def _rank(column: Column) -> tuple[int, str, str]:
    kind, network, protocol = column
    return (ORDER.index(kind) if kind in ORDER else len(ORDER), protocol, network)
