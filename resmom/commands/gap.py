"""resmom gap RUN [--data DATA]"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import tyro

from resmom.commands import parse, print_json
from resmom.runs.gap import gap

ABOUT = "The gap between a run's student and teacher: same view, other view, other image."


@dataclass(frozen=True)
class Arguments:
    run: tyro.conf.Positional[Path]
    """A run folder, or one checkpoint of it."""
    data: str | None = None
    """Images: a folder, an .npz file or a name; the run's own data by default."""
    images: int = 2048
    """Most images to measure on."""
    device: str = "auto"
    json: bool = False
    """Print the results as JSON."""


def main(arguments: list[str]) -> int:
    """Measure, and print a line per site."""
    a = parse(Arguments, arguments, "resmom gap", ABOUT)
    result = gap(a.run, a.data, a.images, a.device)
    if a.json:
        print_json(dataclasses.asdict(result))
        return 0
    print(f"{'site':<6}{'intra':>10}{'inter':>10}{'chance':>10}")
    for row in result.rows:
        print(f"{row.site:<6}{row.intra:>10.4f}{row.inter:>10.4f}{row.chance:>10.4f}")
    print(f"1 - cos; {result.protocol}; step {result.step}")
    return 0
