"""The demonstration: make a data set, pretrain without and with residual momentum, compare."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from resmom.data.digits import write_digits
from resmom.errors import UserError
from resmom.recipes import TWIN, recipe
from resmom.runs.evaluate import Row, evaluate
from resmom.runs.gap import GapResult, gap
from resmom.runs.pretrain import Machine, pretrain

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

    Raises DemoFailed if an arm does not beat raw pixels by `MARGIN` points, RunDirError if `out` was used before.
    """
    if out.exists() and any(out.iterdir()):
        raise UserError(f"{out} is not empty; remove it, or give another --out")
    images = out / "images"
    write_digits(images)
    say(f"wrote coloured handwritten digits to {images}: an ordinary folder of image files")
    arms = []
    for name in (RECIPE, RECIPE + TWIN):
        path = out / name
        say(f"\n$ resmom pretrain {name} --data {images} --out {path}")
        finished = pretrain(recipe(name), str(images), path, machine)
        if finished.interrupted_by is not None:
            raise UserError(f"stopped; {path} can be continued with `resmom resume {path}`")
        rows = evaluate(path, baselines=name == RECIPE)
        arms.append(Arm(name, path, rows, gap(path)))
    pixels = _knn(arms[0], "raw pixels")
    for arm in arms:
        for network in ("student", "teacher"):
            reached = _knn(arm, network)
            if reached < pixels + MARGIN:
                raise DemoFailed(
                    f"{arm.name}: kNN of the {network} is {reached:.1f} %, raw pixels have {pixels:.1f} %, and "
                    f"{MARGIN:g} points between them are always reached; please report this with {arm.path}/run.json"
                )
    return arms


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
            lines.append(f"{arm.name + ' ' + row.site:<34}{row.intra:>8.4f}{row.inter:>9.4f}{row.chance:>9.4f}")
    protocols = dict.fromkeys(row.score.protocol for row in arms[0].rows if row.network == "student")
    lines += ["", "protocols:", *(f"  {protocol}" for protocol in protocols), f"  {arms[0].gap.protocol}"]
    lines.append("One seed and a toy data set: a look at the machine at work, no evidence for or against the term.")
    return "\n".join(lines)
