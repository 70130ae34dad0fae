"""The tables of what becomes of the same photos in the same time (benchmarks/sametime)."""

from pathlib import Path

from benchmarks.sametime.table import sizes, table
from resmom.jsonfiles import read_lines
from resmom.runs.environment import machine_of


def same_time(docs: Path, file: str) -> str:
    """A row per arm, then on what it was run, and what of lightly-train."""
    cells = read_lines(docs / "results" / file)
    about = [line["environment"] for line in cells]
    machines = "; ".join(sorted({machine_of(each) for each in about}))
    versions = {f"torch {each['packages']['torch']}" for each in about}
    versions |= {f"lightly-train {line['speed']['version']}" for line in cells if line["speed"]}
    minutes = " and ".join(f"{value:g}" for value in sorted({line["minutes"] for line in cells}))
    return "\n".join(table(cells)) + f"\n\n{minutes} minutes each; {machines} a run; {', '.join(sorted(versions))}."


def each_size(docs: Path, file: str) -> str:
    """What each arm comes to on images of each size."""
    return "\n".join(sizes(read_lines(docs / "results" / file)))
