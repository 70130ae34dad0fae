"""One cell of a chain: its pretraining, its detectors, and the line that is kept of it.

OUT/ARM/seed-S/         the pretraining, a run folder like any other (none of `random`)
OUT/ARM/seed-S/detect/  its student and teacher as detectors, a folder like any other of `resmom detect`
OUT/cells.jsonl         one line per finished cell, of the form of `resmom compare`
"""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.chain.places import Places
from benchmarks.chain.plan import RANDOM, Chain
from resmom.config import part_from_json, part_to_json
from resmom.errors import RunDirError
from resmom.evaluate.detection import Detect
from resmom.jsonfiles import read_lines
from resmom.rundir import RunDir
from resmom.runs.comparisons.agree import require_same
from resmom.runs.comparisons.cell import bare_line, images_line, times_of, train_cell
from resmom.runs.comparisons.grid import Cell
from resmom.runs.comparisons.results import Line
from resmom.runs.comparisons.sound import require_trainable, require_weights
from resmom.runs.environment import shareable
from resmom.runs.finetuned.detect import detect_resume, detect_train
from resmom.runs.finetuned.tuned import Ended
from resmom.runs.machine import Machine
from resmom.runs.origin import Origin
from resmom.runs.outcome import before_after
from resmom.runs.training.loop import Diverged
from resmom.which import Network

SCORES = ("ap", "ap50", "ap75", "voc07_ap", "voc07_ap50", "voc07_ap75")
"""What is kept of a detector as measures; the classes one by one stand beside them."""


def waiting(chain: Chain, places: Places, out: Path, done: dict[tuple[str, int], Line]) -> list[Cell]:
    """The cells without a line, after a check of all: options, batch, networks, and what `out` and `done` hold.

    Raises UserError, naming the arm.
    """
    cells = chain.cells()
    trained = [cell for cell in cells if cell.arm != RANDOM]
    require_trainable(trained, places.photos)
    require_weights([cell for cell in trained if (cell.arm, cell.seed) not in done], out)
    for cell in cells:
        line = done.get((cell.arm, cell.seed))
        require_same(cell, out, line, images_line(places.photos))
        file = _detectors(cell, out) / "detect.json"
        try:
            settings = json.loads(file.read_text())["settings"]
        except FileNotFoundError:  # there is none, or another process has just finished and removed it
            settings = None
        wanted = chain.detector(cell.seed)
        for where, found in (("its line", line and line["detect"]), (str(file), settings)):
            # Read as settings, so that an option that came later counts by its default.
            if found is not None and part_from_json(found, Detect) != wanted:
                raise RunDirError(f"{cell.arm}, seed {cell.seed}: {where} has other settings of the detector")
        if line is not None and line.get("network", "both") != chain.network:
            raise RunDirError(
                f"{cell.arm}, seed {cell.seed}: its line tells of {line.get('network', 'both')}, the grid asks for "
                f"{chain.network}; say so there, or take another folder"
            )
        if line is not None and line["boxes"] != places.written():
            raise RunDirError(
                f"{cell.arm}, seed {cell.seed} was measured with other boxes; give the same --train and --test, or "
                "another folder"
            )
    return [cell for cell in cells if (cell.arm, cell.seed) not in done]


def run_cell(
    cell: Cell, chain: Chain, places: Places, out: Path, machine: Machine, say: Callable[[str], None]
) -> Line | int:
    """Do what is left of a cell; its line, or the signal that stopped it. Whatever was finished is not done again."""
    line = bare_line(cell, places.photos, out, 0, ())
    line |= {
        "environment": shareable(line["environment"]),
        "against": chain.against.get(cell.arm),
        "boxes": places.written(),
        "detect": part_to_json(chain.detector(cell.seed)),
        "network": chain.network,
    }
    try:
        if cell.arm != RANDOM:
            say(f"{cell.arm}, seed {cell.seed}: pretraining")
            finished = train_cell(cell, places.photos, out, machine)
            if finished.interrupted_by is not None:
                say(f"{cell.arm}, seed {cell.seed}: at step {finished.step} of {finished.steps} of pretraining")
                return finished.interrupted_by
            metrics = read_lines(RunDir(cell.folder(out)).metrics)
            line |= {
                "steps": finished.steps,
                **times_of(metrics),
                "pretraining": [asdict(change) for change in before_after(metrics)],
            }
        say(f"{cell.arm}, seed {cell.seed}: detectors")
        ended = _detect(cell, chain, places, out, machine)
    except Diverged as error:
        return line | {"failed": str(error)}
    if ended.interrupted_by is not None:
        say(f"{cell.arm}, seed {cell.seed}: stopped while detectors learn")
        return ended.interrupted_by
    return line | _results(ended, chain.networks)


def _detectors(cell: Cell, out: Path) -> Path:
    return cell.folder(out) / "detect"


def _detect(cell: Cell, chain: Chain, places: Places, out: Path, machine: Machine) -> Ended:
    folder = _detectors(cell, out)
    if (folder / "detect.json").is_file():
        return detect_resume(folder, machine)
    if folder.exists():  # killed before detect.json, which is written last, and before the first step
        shutil.rmtree(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    origin = Origin(backbone=cell.run.backbone) if cell.arm == RANDOM else Origin(cell.folder(out), chain.network)
    return detect_train(chain.detector(cell.seed), origin, places.train, places.test, folder, machine)


def _results(ended: Ended, wanted: Sequence[Network]) -> Line:
    """`measures` of the networks `wanted`, which are one network before any pretraining; the classes; the course."""
    networks = {row.network: row for row in ended.rows}
    measures: dict[str, float] = {}
    courses: dict[str, dict[str, list[dict[str, float]]]] = {}
    for name in wanted:
        scores = networks[name if name in networks else RANDOM].scores
        measures |= {f"{score}/{name}": scores[score] for score in SCORES}
    for trained in networks:
        lines = read_lines(RunDir(ended.path / trained).metrics)
        losses = [{"step": one["step"], "loss": one["loss"]} for one in lines if one["kind"] == "train"]
        scored = [{k: one[k] for k in ("step", *SCORES)} for one in lines if one["kind"] == "detection"]
        courses[trained] = {"train": losses[:: max(1, len(losses) // 12)], "detection": scored}
    return {
        "measures": measures,
        "protocols": {"detect": next(iter(networks.values())).protocol},
        "per_class": {
            name: {key: row.scores[key] for key in ("per_class", "voc07_ap50_per_class")}
            for name, row in networks.items()
        },
        "curves": courses,
    }
