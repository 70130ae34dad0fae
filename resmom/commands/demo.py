"""resmom demo"""

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from resmom.commands import Flat, parse, print_json, set_process
from resmom.runs.machine import Machine

ABOUT = "Pretrain on an embedded data set without and with residual momentum, and compare. A few minutes on 2 cores."


@dataclass(frozen=True)
class Arguments:
    out: Path | None = None
    """Where images and runs go; a new temporary folder by default."""
    machine: Flat[Machine] = field(default_factory=lambda: Machine(threads=1))
    json: bool = False
    """Print the results as JSON."""


def main(arguments: list[str]) -> int:
    """Run it and print what was measured."""
    a = parse(Arguments, arguments, "resmom demo", ABOUT)
    from resmom.runs.demo import demo, require_learning, tables

    set_process(a.machine)
    out = a.out or Path(tempfile.mkdtemp(prefix="resmom-demo-"))
    arms = demo(out, (lambda _: None) if a.json else print, a.machine)
    if a.json:
        print_json({arm.name: [row.plain() for row in arm.rows] for arm in arms})
    else:
        print(tables(arms))
    require_learning(arms)
    if a.json:
        return 0
    print(f"\nImages and runs are in {out}. Look closer:\n  resmom gap {arms[1].path}\n  resmom recipes")
    return 0
