"""The demonstration: make a data set, pretrain without and with residual momentum, compare."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL, Popen

from resmom.data.digits import write_digits
from resmom.errors import UserError
from resmom.recipes import TWIN, recipe
from resmom.runs.machine import Machine
from resmom.runs.measuring.evaluate import evaluate
from resmom.runs.measuring.gap import GapResult, gap
from resmom.runs.measuring.rows import Row
from resmom.runs.pretrain import pretrain

RECIPE = "mocov3_digits"
MARGIN = 20.0
"""Points of kNN accuracy by which both arms must exceed raw pixels; less means that data or recipe is wrong."""


class DemoFailed(UserError):
    """The demonstration did not learn what it always learns; the message gives the numbers."""


@dataclass(frozen=True)
class Arm:
    """One run of the demonstration and what was measured of it."""

    name: str
    path: Path
    rows: list[Row]
    gap: GapResult


def demo(out: Path, say: Callable[[str], None], machine: Machine | None = None) -> list[Arm]:
    """Write FOLDER/images, run both arms beside it, measure them.

    Raises UserError if `out` was used before, or if the runs were stopped.
    """
    machine = machine or Machine()
    if out.exists() and any(out.iterdir()):
        raise UserError(f"{out} is not empty; remove it, or give another --out")
    images = out / "images"
    write_digits(images)
    say(f"wrote coloured handwritten digits to {images}: an ordinary folder of image files")
    names = (RECIPE, RECIPE + TWIN)
    commands = {name: ["pretrain", name, "--data", str(images), "--out", str(out / name)] for name in names}
    for command in commands.values():
        say(f"$ resmom {' '.join(command)}")
    say("both at once, each on one core; this one shows the first")
    # A network this small gains nothing from a second core, so the twin gets it.
    with Popen([sys.executable, "-m", "resmom", *commands[names[1]], *_same(machine)], stdout=DEVNULL) as twin:
        try:
            finished = pretrain(recipe(names[0]), str(images), out / names[0], machine)
        except BaseException:
            twin.terminate()
            raise
        status = twin.wait()
    if finished.interrupted_by is not None or status != 0:
        raise UserError(f"stopped; the runs in {out} can be continued with `resmom resume`")
    return [
        Arm(
            name,
            out / name,
            evaluate(out / name, baselines=name == RECIPE, device=machine.device),
            gap(out / name, accuracy=False, device=machine.device),
        )
        for name in names
    ]


def _same(machine: Machine) -> list[str]:
    """The options by which another process computes as this one does: two arms of a table must not differ in it."""
    options = ["--device", machine.device, "--workers", str(machine.workers), "--threads", "1", "--quiet"]
    return [*options, "--deterministic"] if machine.deterministic else options


def require_learning(arms: list[Arm]) -> None:
    """Raise DemoFailed unless the student of every arm beats raw pixels by `MARGIN` points of kNN accuracy."""
    pixels = _knn(arms[0], "raw pixels")
    for arm in arms:
        reached = _knn(arm, "student")
        if reached < pixels + MARGIN:
            raise DemoFailed(
                f"{arm.name}: kNN of the student is {reached:.1f} %, that of raw pixels {pixels:.1f} %; a distance of "
                f"{MARGIN:g} points is always reached, so please report this with {arm.path}/run.json"
            )


def _knn(arm: Arm, network: str) -> float:
    return next(row.score.top1 for row in arm.rows if row.network == network and row.score.protocol.startswith("knn"))


def tables(arms: list[Arm]) -> str:
    """What was measured, as text."""
    lines = ["", f"{'':<34}{'kNN':>8}{'linear':>9}{'online':>9}    top-1, %, last epoch, one seed"]
    for arm in arms:
        for network in dict.fromkeys(row.network for row in arm.rows):
            found = {row.score.protocol.split("-")[0]: row.score.top1 for row in arm.rows if row.network == network}
            cells = "".join(
                f"{found[name]:>{width}.1f}" if name in found else " " * width
                for name, width in (("knn", 8), ("linear", 9), ("online", 9))
            )
            learned = network in ("student", "teacher")
            lines.append(f"{(arm.name + ' ' if learned else '') + network:<34}{cells}")
    lines += ["", f"{'gap between student and teacher':<34}{'intra':>8}{'inter':>9}{'chance':>9}    1 - cos"]
    for arm in arms:
        for row in arm.gap.rows:
            inter = "-" if row.inter is None else f"{row.inter:.4f}"
            lines.append(f"{arm.name + ' ' + row.site:<34}{row.intra:>8.4f}{inter:>9}{row.chance:>9.4f}")
    protocols = dict.fromkeys(row.score.protocol for row in arms[0].rows if row.network == "student")
    lines += ["", "protocols:", *(f"  {protocol}" for protocol in protocols), f"  {arms[0].gap.protocol}"]
    lines.append("One seed and a toy data set: a look at the machine at work, no evidence for or against the term.")
    return "\n".join(lines)
