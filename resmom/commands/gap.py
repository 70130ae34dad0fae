"""resmom gap RUN [--data DATA]"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from resmom.commands import parse, print_json, set_threads
from resmom.rundir import find_run

if TYPE_CHECKING:
    from resmom.runs.measuring.gap import CheckpointGap, GapRow

ABOUT = "The gap between a run's student and teacher, checkpoint by checkpoint: same view, other view, other image."

HEAD = "1 - cos between student and teacher, eval mode: not to be compared with the gaps of training in metrics.jsonl"


@dataclass(frozen=True)
class Arguments:
    run: tyro.conf.Positional[Path]
    """A run folder (all its checkpoints), or one checkpoint of it."""
    data: str | None = None
    """Images: a folder, an .npz file or a name; the run's own data by default."""
    images: int = 2048
    """Most images to measure the gaps on."""
    layers: bool = False
    """Also after the stem and every stage or block of the backbone."""
    accuracy: bool = True
    """kNN of both networks, where there are labels."""
    device: str = "auto"
    threads: int = 0
    """CPU threads; 0 is torch's choice."""
    json: bool = False
    """Print the results as JSON."""


def main(arguments: list[str]) -> int:
    """Measure, and print a table per checkpoint as soon as it is there."""
    a = parse(Arguments, arguments, "resmom gap", ABOUT)
    from resmom.runs.measuring.gap import gap, gap_by_checkpoint

    set_threads(a.threads)
    if a.json:
        measured = gap(a.run, a.data, a.images, a.device, a.layers, a.accuracy).checkpoints
        print_json({"checkpoints": [found.plain() for found in measured]})
        return 0 if all(found.kept for found in measured) else 1
    found, kept = None, True
    for number, found in enumerate(gap_by_checkpoint(a.run, a.data, a.images, a.device, a.layers, a.accuracy)):
        if number == 0:
            print(HEAD)
        print(_table(found), flush=True)
        kept = kept and found.kept
    if found is not None:
        print(f"\n{found.protocol}" + (f"\nalso in {find_run(a.run)[0].gaps}" if kept else ""))
    return 0 if kept else 1


def _table(found: "CheckpointGap") -> str:
    width = max(6, *(len(row.site) for row in found.layers + found.rows))
    lines = [
        f"\nstep {found.step}, epoch {found.epoch:g} ({found.checkpoint})",
        f"  {'':<{width}}{'intra':>10}{'inter':>10}{'chance':>10}",
        *(_line(row, width) for row in found.layers + found.rows),
    ]
    if found.accuracy is not None:
        a = found.accuracy
        lines.append(f"  top-1 student {a.student:.2f}, teacher {a.teacher:.2f}: teacher minus student {a.gap:+.2f}")
        lines.append(f"  ({a.protocol})")
    return "\n".join(lines)


def _line(row: "GapRow", width: int) -> str:
    inter = "-" if row.inter is None else f"{row.inter:.4f}"
    return f"  {row.site:<{width}}{row.intra:>10.4f}{inter:>10}{row.chance:>10.4f}"
