"""One cell of a grid: whose hands it is in, its training, and the line that is kept of it."""

import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import get_args

from resmom.called import called
from resmom.checkpoint import load_checkpoint
from resmom.config import to_json
from resmom.data.source import Data
from resmom.diagnose.noise import images_of
from resmom.errors import RunDirError
from resmom.export.record import trained_seconds
from resmom.jsonfiles import read_lines
from resmom.ondisk import lock
from resmom.protocols import shared_protocol
from resmom.rundir import RunDir
from resmom.runs.comparisons.agree import began_with
from resmom.runs.comparisons.grid import Cell
from resmom.runs.comparisons.results import Line
from resmom.runs.environment import compile_used, environment
from resmom.runs.machine import Machine
from resmom.runs.measuring.evaluate import evaluate
from resmom.runs.measuring.gap import gap
from resmom.runs.measuring.rows import in_part
from resmom.runs.pretrain import pretrain, resume
from resmom.runs.training.interrupt import Finished
from resmom.runs.training.loop import Diverged
from resmom.which import Network

LABEL_FREE = tuple(f"{network}/{measure}" for measure in ("retrieval", "rankme") for network in get_args(Network))
"""What is kept of the measures that need no labels."""


@contextmanager
def claimed(cell: Cell, out: Path) -> Iterator[bool]:
    """Hold a cell for this process; False if another holds it. A killed holder's claim is gone with it.

    Raises RunDirError on a disk without locks: processes may share the folder of a comparison, and only by these claims
    do they not train the same cell into the same run folder, with every line of its metrics twice.
    """
    # Not in the run folder, which has a lock of its own, nor beside it, so that OUT/*/* are the run folders alone.
    with (out / f".{cell.arm}.seed-{cell.seed}.lock").open("a") as file:
        try:
            unlocked = lock(file)
        except BlockingIOError:
            yield False
            return
        if unlocked:
            raise RunDirError(
                f"files in {out} cannot be locked ({unlocked}), and by locks the processes of a comparison keep off "
                f"each other's cells; give an {called('out')} on a local disk, or mount this one with locks (flock)"
            )
        yield True


def finished(line: Line | None, linear: bool) -> bool:
    """Whether a line has all that is asked for."""
    if line is None:
        return False
    return line["failed"] is not None or not linear or any(name.startswith("linear/") for name in line["measures"])


def train_cell(cell: Cell, images: Data, out: Path, machine: Machine) -> Finished:
    """Train a cell from its start or from its last checkpoint; nothing is trained again of a finished one."""
    folder, own = RunDir(cell.folder(out)), cell.own.of(cell.seed)
    if folder.config.exists():
        return resume(folder.path, machine, images, own, brief=True)
    return pretrain(cell.run, images, folder.path, machine, own, brief=True)


def line_of(cell: Cell, images: Data, out: Path, linear: bool, machine: Machine) -> Line:
    """What is kept of a finished run: the numbers of its last epoch with their protocols, and where it ran."""
    folder, own = RunDir(cell.folder(out)), cell.own.of(cell.seed)
    metrics = read_lines(folder.metrics)
    last = max(line["step"] for line in metrics)
    measures: dict[str, float] = {}
    protocols: dict[str, str] = {}
    for found in metrics:
        if found["kind"] in ("knn", "online") and found["step"] == last:
            protocols[found["kind"]] = found["protocol"]
            measures |= {f"{found['kind']}/{n}": found[n] for n in ("student", "teacher") if n in found}
        if found["kind"] == "health" and found["step"] == last:
            protocols["health"] = found["protocol"]
            measures |= {
                f"health/{name}": found[name] for name in LABEL_FREE if math.isfinite(found.get(name, math.nan))
            }
    if linear:
        probe = partial(evaluate, folder.path, images, protocols=("linear",), device=machine.device, own=own)
        rows, missing = in_part(probe)
        for sentence in missing:  # what is compared is compared without it
            print(f"{cell.arm}, seed {cell.seed}: {sentence}", file=sys.stderr)
        for row in rows:
            measures[f"linear/{row.network}"] = row.score.top1
            protocols["linear"] = shared_protocol(row.score.protocol)
    gaps = gap(folder.last, images, device=machine.device, accuracy=False, own=own)
    protocols["gap"] = gaps.protocol
    for site in gaps.rows:
        values = {"intra": site.intra, "inter": site.inter, "chance": site.chance}
        measures |= {f"gap/{site.site}/{what}": value for what, value in values.items() if value is not None}
    start = [line for line in metrics if line["kind"] == "knn" and line["step"] == 0]
    return bare_line(cell, images, out, last, metrics, compile_used(folder.path)) | {
        "before": start[0]["student"] if start else None,
        "queries": images_of(protocols.get("knn", "")),
        "measures": measures,
        "protocols": protocols,
    }


def diverged_line(cell: Cell, images: Data, out: Path, error: Diverged) -> Line:
    """What is kept of a run whose loss did not stay finite: that it did not."""
    folder = cell.folder(out)
    metrics = read_lines(RunDir(folder).metrics)
    last = max((line["step"] for line in metrics), default=0)
    return bare_line(cell, images, out, last, metrics, compile_used(folder)) | {"failed": str(error)}


def steps_done(cell: Cell, out: Path) -> int:
    """The step from which an unfinished cell goes on: that of its last checkpoint, which metrics may be ahead of."""
    last = RunDir(cell.folder(out)).last
    return int(load_checkpoint(last, mapped=True)["state"]["step"]) if last.exists() else 0


def images_line(images: Data) -> Line:
    """What a line says of the images: by their fingerprints it is known whether two cells had the same."""
    return {
        "name": images.train.name,
        "images": len(images.train),
        "origin": images.origin,
        "fingerprint": images.train.fingerprint(),
        "test": None if images.test is None else images.test.fingerprint(),
    }


def times_of(metrics: Sequence[Line]) -> Line:
    """Seconds of training, and the processor's, all threads together, where they were recorded."""
    processor = trained_seconds(metrics, "processor_seconds")
    return {"seconds": trained_seconds(metrics) or 0.0, "processor_seconds": processor}


def bare_line(cell: Cell, images: Data, out: Path, steps: int, metrics: Sequence[Line], how: str = "no") -> Line:
    """What every line says, before there are results: the cell, its images and configuration, and where it ran."""
    own = cell.own.names
    return {
        "format": 1,
        "arm": cell.arm,
        "place": cell.place,
        "seed": cell.seed,
        "settings": dict(cell.settings),
        "digest": cell.digest,
        "steps": steps,
        **times_of(metrics),
        "failed": None,
        "before": None,
        "queries": None,
        "measures": {},
        "protocols": {},
        "data": images_line(images),
        "run": to_json(cell.run),
        **({"own": own} if own else {}),
        **({"init": began_with(cell, out)} if cell.run.init else {}),
        "environment": {**environment(), "compile": how},
    }
