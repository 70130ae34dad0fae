"""resmom predict TRAINED --data PLACE --out OUT"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from resmom.commands import parse, print_json, say, set_threads

if TYPE_CHECKING:
    from resmom.runs.predicting.predict import Predicted

ABOUT = "What was trained, on images without labels: boxes, masks, or classes, written to files."
MOST = 10
"""Images that could not be read, or classes, that are told one by one."""


@dataclass(frozen=True)
class Arguments:
    trained: tyro.conf.Positional[Path]
    """A folder of `resmom detect train` or `resmom segment train`, or a file of `resmom evaluate --save-classifier`."""
    data: str
    """Images, of which labels are not needed: a folder, a list, an archive, or anything else that training takes."""
    out: Path
    """Where to write: a new folder; for a classifier a new file ending in .csv."""
    network: Literal["student", "teacher", "init", "random"] | None = None
    """Which of the folder's networks; the student where there are several."""
    threshold: float | None = None
    """Least score of the detections that are written (0.05, the detector's own, without it) and drawn (then 0.5)."""
    draw: int | None = None
    """Also draw so many photos, evenly spread, with what was found in them."""
    device: str = "auto"
    threads: int = 0
    """CPU threads; 0 is torch's choice."""
    json: bool = False
    """Print what was written as JSON."""


def main(arguments: list[str]) -> int:
    """Write the predictions, and say what is in them."""
    a = parse(Arguments, arguments, "resmom predict", ABOUT)
    from resmom.runs.predicting.predict import predict

    set_threads(a.threads)
    found = predict(a.trained, a.data, a.out, a.network, a.threshold, a.draw, a.device, say)
    if a.json:
        print_json(found.plain())
        return 0
    print("\n".join(_words(found)))
    return 0


def _words(found: "Predicted") -> list[str]:
    lines = [f"{found.path}: {found.images:,} images, {_counted(found)}"]
    if found.kind != "classes":
        lines.append(f"by the {found.info['network']} at step {found.info['step']}")
    said = sorted(((name, n) for name, n in found.counts.items() if n), key=lambda item: -item[1])
    total = sum(found.counts.values())
    for name, count in said[:MOST]:
        amount = f"{100 * count / total:6.2f} %" if found.kind == "masks" else f"{count:8,}"
        lines.append(f"  {amount}  {name}")
    if len(said) > MOST:
        lines.append(f"  and {len(said) - MOST} other classes")
    if found.passed_over:
        lines.append(f"passed over: {found.passed_over}")
    if found.unreadable:
        lines.append(f"{len(found.unreadable)} could not be read, and are listed there:")
        lines += [f"  {each.name!a}: {each.reason}" for each in found.unreadable[:MOST]]
        lines += [f"  and {len(found.unreadable) - MOST} more"] if len(found.unreadable) > MOST else []
    return lines


def _counted(found: "Predicted") -> str:
    match found.kind:
        case "detections":
            return f"{sum(found.counts.values()):,} detections"
        case "masks":
            return "a mask of each"
        case "classes":
            return "a class of each"
