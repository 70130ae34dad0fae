"""What must hold of a comparison's folder and arms before anything is trained, each refusal with the arm's name."""

from collections.abc import Sequence
from pathlib import Path

import torch

from resmom.called import called
from resmom.config import ConfigError
from resmom.data.source import Data
from resmom.errors import RunDirError, UserError
from resmom.norun import CONFIG
from resmom.runs.comparisons.grid import Cell
from resmom.runs.comparisons.results import RESULTS
from resmom.runs.machine import Compile
from resmom.runs.settling.rehearsal import rehearse
from resmom.runs.training.channels import require_channels
from resmom.runs.training.compiling import require_compilable
from resmom.runs.training.job import fresh_method, prepare, put_weights, require_batch


def require_own(out: Path) -> None:
    """Raise RunDirError for a folder that holds something, and no comparison."""
    if (out / CONFIG).exists():
        raise RunDirError(f"{out} is a run; give another {called('out')}, for a comparison has a folder of its own")
    if out.exists() and not out.is_dir():
        raise RunDirError(
            f"{out} is a file; {called('out')} must be a folder that does not exist yet, or that of a comparison"
        )
    held = [entry.name for entry in out.iterdir() if not entry.name.startswith(".")] if out.exists() else []
    if held and not (out / RESULTS).exists() and not any(out.glob("*/seed-*")):
        raise RunDirError(f"{out} is not empty and no comparison (it holds {held[0]}); give another {called('out')}")


def require_trainable(cells: Sequence[Cell], images: Data, how: Compile = "no") -> None:
    """Raise ConfigError if an arm's batch cannot be filled, it does not take the images' channels, its networks cannot
    be built, or nothing of its method would be compiled as `how` says."""
    built = set()
    for cell in cells:
        run = cell.run
        sides = tuple(view.size for view in run.policy.views)
        networks = run.method, run.backbone, sides, run.train.sizes, len(run.policy.mean)
        try:
            require_batch(run, images)
            if cell.own.method is None:
                require_compilable(run.method, how)
            if networks not in built:
                own = cell.own.of(cell.seed)
                require_channels(run, own, images.train.channels)
                fresh_method(run, torch.device("cpu"), own)
        except UserError as error:
            named = isinstance(cell.settings.get("method"), str) and "method." in str(error)
            remedy = "; an arm of a grid file may have options of its own method (docs/compare.md)" if named else ""
            raise ConfigError(f"arm {cell.arm}: {error}{remedy}") from error
        built.add(networks)


def require_weights(cells: Sequence[Cell], out: Path) -> None:
    """Raise ConfigError if the file of weights that a cell will start from is missing, or does not fit its backbone."""
    tried = set()
    for cell in cells:
        run = cell.run
        what = run.init, run.backbone, run.policy.views[0].size, len(run.policy.mean)
        if not run.init or what in tried or cell.past_start(out):
            continue
        tried.add(what)
        own = cell.own.of(cell.seed)
        try:
            put_weights(run, fresh_method(run, torch.device("cpu"), own), own)
        except UserError as error:
            raise ConfigError(f"arm {cell.arm}: {error}") from error


def require_steps(cells: Sequence[Cell], images: Data, device: torch.device) -> None:
    """Raise ConfigError if a step fails in an arm whose modules no configuration describes."""
    for cell in {cell.arm: cell for cell in cells if cell.own.names}.values():
        try:
            rehearse(prepare(cell.run, images, device, cell.own.of(cell.seed)))
        except UserError as error:
            raise ConfigError(f"arm {cell.arm}: {error}") from error
