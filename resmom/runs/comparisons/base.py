"""What a run, or the arms of a grid, begin as: a recipe, a run on disk, whose settings may have been derived, or a file
that holds a configuration."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resmom.called import verb
from resmom.config import ConfigError, Run, from_json
from resmom.data.order import steps_per_epoch
from resmom.export.record import trained_seconds
from resmom.jsonfiles import read_lines
from resmom.nets.backbones import patch_of
from resmom.norun import PUBLIC, no_run
from resmom.recipes import AUTOMATIC, names, recipe
from resmom.rundir import GIVEN, RunDir
from resmom.runs.environment import threads_of
from resmom.runs.training.growth import work
from resmom.train.plan import length


@dataclass(frozen=True)
class Base:
    """A run to begin from, and what is known of it beside its settings.

    `data` is where its images are: empty for a recipe, and for images that were given in Python. `step_seconds` is what
    a step at full size took, `began` the student's kNN in percent before it, `threads` those of one operation, where it
    has been trained. `note` is what has to be told of it. `images`: for how many the settings
    were derived, 0 where they were not: a method that is named is made for them then (`recipes.suited.with_method`).
    """

    run: Run
    name: str
    data: str = ""
    step_seconds: float | None = None
    began: float | None = None
    threads: int = 0
    note: str = ""
    images: int = 0


def base_named(name: str) -> Base:
    """The recipe of that name, the run in that folder as its run.json has it, or the configuration in a .json file.

    Raises ConfigError for none of them, with the nearest recipes or what the folder holds, and for a run with modules
    that no configuration describes.
    """
    path = Path(name)
    if path.suffix == ".json" and not path.exists():
        raise ConfigError(f"there is no file {path}")
    if name in names() or not (path.exists() or set(name) & set("./:") or name in PUBLIC):  # these have no such name
        return Base(recipe(name), name)
    if path.suffix == ".json" and path.is_file():
        return Base(run_in(path), path.stem)
    folder = RunDir(path)
    if not folder.config.is_file():
        raise ConfigError(f"there is no recipe '{name}': {no_run(path)}")
    written = folder.written()
    if own := written.get("own"):
        raise ConfigError(
            f"{path} has a {' and a '.join(own)} given from Python, that no configuration describes, so that nothing "
            "can begin from it here; name a recipe, or a run whose settings are all in its run.json (in Python "
            "resmom.compare begins from this run's configuration, resmom.result(RUN, ...).run, with the same backbone= "
            "and method=)"
        )
    run, data = from_json(written["run"]), str(written["data"])
    metrics = read_lines(folder.metrics)
    last, per_epoch = max((line["step"] for line in metrics), default=0), per_epoch_of(run, written, metrics)
    steps = 0 if per_epoch is None else length(run.train, per_epoch)
    first = [line["student"] for line in metrics if line["kind"] == "knn" and line["step"] == 0]
    return Base(
        run,
        path.resolve().name,
        "" if data.startswith(GIVEN) else data,
        _step_seconds(run, metrics, last, steps),
        first[0] if first else None,
        threads_of(path),
        f"{path} has not finished (step {last} of {steps}); only its settings are taken" if last < steps else "",
        int(written.get("images", 0)) if run.recipe == AUTOMATIC else 0,
    )


def run_in(path: Path) -> Run:
    """The configuration in a file: as `resmom recipes show NAME` prints it, its header included, or a run.json.

    Raises ConfigError for a file that is no JSON, and for a grid.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        content = json.loads("\n".join("" if line.startswith("#") else line for line in lines))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ConfigError(f"{path} cannot be read as JSON ({error})") from error
    if isinstance(content, dict) and ("arms" in content or "vary" in content):
        raise ConfigError(f"{path} is a grid of several runs; {verb('compare', path)} takes it")
    if isinstance(content, dict) and "run" in content:
        content = content["run"]
    try:
        return from_json(content)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def per_epoch_of(run: Run, written: Mapping[str, Any], lines: Sequence[Mapping[str, Any]]) -> int | None:
    """Steps of an epoch: from the number of images, or, of an older run that does not say it, from how far it is."""
    if written.get("images"):
        return steps_per_epoch(int(written["images"]), run.train.batch)
    last = next((line for line in reversed(lines) if line["epoch"] > 0), None)
    return None if last is None else round(last["step"] / last["epoch"])


def planned(run: Run, images: int) -> int:
    """Steps of a run on so many images."""
    return length(run.train, steps_per_epoch(images, run.train.batch))


def _step_seconds(run: Run, metrics: Sequence[Mapping[str, Any]], last: int, steps: int) -> float | None:
    seconds = trained_seconds(metrics)
    return seconds / work(run, last, steps, patch_of(run.backbone)) if seconds and last else None
