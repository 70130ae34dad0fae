"""A grid: a base run, arms that each set some options of it, and seeds. From a file, or from all combinations.

A grid file is JSON, and serves `resmom compare` and `python -m benchmarks.harness` alike:

    {"name": "weight", "about": "what is asked, and why", "recipe": "mocov3_cifar100_small",
     "set": {"train.epochs": 200}, "arms": {"plain": {}, "residual": {"residual.weight": 1}},
     "seeds": [0, 1, 2], "held_out": 0.1}

`recipe` may also name a run folder, whose settings are taken. `vary`, options with lists of values, may stand in place
of `arms`. `set`, `about`, `seeds` and `held_out` may be left away. Differences are against the first arm.
"""

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from resmom.called import called, called_by
from resmom.config import ConfigError, Run, from_json, to_json
from resmom.configcheck import check, check_term
from resmom.data.source import digest
from resmom.recipes import FROM, with_residual
from resmom.rundir import RunDir
from resmom.runs.comparisons.base import Base, base_named
from resmom.runs.comparisons.combine import Settings, combinations, of_term
from resmom.runs.initial.published import placed
from resmom.runs.options import changed, differing
from resmom.runs.own import OwnEach

SEEDS = (0, 1, 2)
"""One seed tells nothing of its spread, and two almost nothing."""
FIELDS = ("name", "about", "recipe", "set", "arms", "vary", "seeds", "held_out")


@dataclass(frozen=True)
class Cell:
    """One run of a grid. `place` is the arm's number in it."""

    arm: str
    place: int
    settings: Settings
    seed: int
    run: Run
    own: OwnEach = field(default_factory=OwnEach)

    @property
    def digest(self) -> str:
        """16 hexadecimal digits of the resolved configuration, the recipe's name apart."""
        return digest_of(self.run)

    def folder(self, out: Path) -> Path:
        """Where its run lies."""
        return out / self.arm / f"seed-{self.seed}"

    def past_start(self, out: Path) -> bool:
        """Whether its run has a checkpoint, and reads no weights to start from any more."""
        return RunDir(self.folder(out)).last.exists()


@dataclass(frozen=True)
class Grid:
    """Arms by name, each with the options that it sets, in the order of the table.

    `origin` is what is known of the base beside its settings, where it is a run. `own`: modules of the user's own that
    all runs have.
    """

    name: str
    base: Run
    arms: Mapping[str, Settings]
    seeds: tuple[int, ...] = SEEDS
    held_out: float = 0.0
    about: str = ""
    origin: Base | None = None
    own: OwnEach = field(default_factory=OwnEach)

    def cells(self) -> list[Cell]:
        """Every run, seed by seed, so that whatever is finished can be compared in pairs.

        Raises ConfigError, naming the arm, for options that do not exist or do not go together, and for two arms that
        are the same run.
        """
        _check_names(self.arms)
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ConfigError(f"the seeds are {list(self.seeds)}; give at least one, and each once")
        found = [
            Cell(arm, place, settings, seed, self._run(arm, settings, seed), self.own)
            for seed in self.seeds
            for place, (arm, settings) in enumerate(self.arms.items())
        ]
        _require_term(found[: len(self.arms)])
        for one, other in itertools.combinations(found[: len(self.arms)], 2):
            if not differing(one.run, other.run):
                raise ConfigError(f"the arms {one.arm} and {other.arm} are the same run; leave one of them out")
        return found

    def _run(self, arm: str, settings: Settings, seed: int) -> Run:
        if "train.seed" in settings:
            raise ConfigError(f"arm {arm} sets {called('train.seed')}; every arm has the grid's seeds, set them there")
        for option in settings:
            if (part := option.partition(".")[0]) in self.own.names:
                raise ConfigError(
                    f"arm {arm} sets {called(option)}, but the {part} is given from Python; leave one of the two out"
                )
        try:
            run = changed(self.base, {**settings, "train.seed": seed}, self.origin.images if self.origin else 0)
            run = _with_term(run, settings)
            if told := _no_effect(run, settings):
                raise ConfigError(told)
            check(run, "method" in self.own.names)
            if "method" not in self.own.names:
                check_term(run, settings)
        except ValueError as error:
            raise ConfigError(f"arm {arm}: {error}") from error
        # The weights as the run folder will have them.
        return replace(run, recipe=f"{self.name}: {arm}{FROM}{self.base.recipe}", init=placed(run.init))


def _with_term(run: Run, settings: Settings) -> Run:
    """An arm whose method is named has the term where that method can have it, as in twins, unless it says otherwise:
    one site may be none of another method's."""
    if not isinstance(settings.get("method"), str) or not run.residual.weight or not run.method.traits.teacher:
        return run
    twin = with_residual(run, run.residual.weight)
    residual = run.residual if "residual.site" in settings else twin.residual
    return replace(run, residual=residual, method=run.method if "method.same_view" in settings else twin.method)


def _no_effect(run: Run, settings: Settings) -> str:
    """That a length, or a warm-up, is in the unit that the run's length does not have: it would change nothing."""
    length, other = ("steps", "epochs") if run.train.steps else ("epochs", "steps")
    for option in ("train.epochs", "train.warmup_epochs") if run.train.steps else ("train.warmup_steps",):
        if settings.get(option):
            return (
                f"{called(option)} has no effect in a run whose length counts in {length}; set "
                f"{called(option.replace(other, length))}"
                f", or {called('train.steps')}{' to 0 beside it' if run.train.steps else ''}"
            )
    return ""


def _require_effect(base: Run, arms: Mapping[str, Settings], settings: Settings) -> None:
    """Refuse what is set for all arms, and has no effect in any: they may count in another unit than the base."""
    try:
        runs = [changed(base, own) for own in arms.values()]
    except ConfigError:  # told by `cells`, with the name of the arm
        return
    for option, value in settings.items():
        told = [_no_effect(run, {option: value}) for run in runs]
        if told and all(told):
            raise ConfigError(f"set: {told[0]}")


def _require_term(arms: Sequence[Cell]) -> None:
    """Refuse an option of the residual term that only arms without the term set."""
    setting = {
        option: [cell.run for cell in arms if option in cell.settings] for cell in arms for option in cell.settings
    }
    for option, runs in setting.items():
        if of_term(option) and not any(run.residual.weight for run in runs):
            raise ConfigError(
                f"{called(option)} changes nothing while {called('residual.weight')} is 0; set or vary that too"
            )


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON. Raises ConfigError for a name that stands in it twice, of which JSON keeps the last."""
    names = [name for name, _ in pairs]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"'{twice[0]}' stands twice in one object; give each arm and each option once")
    return dict(pairs)


def read_grid(path: Path) -> Grid:
    """The grid of a file. Raises ConfigError that names what is wrong in it."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=once)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not JSON: {error}") from error
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    try:
        with called_by("fields"):  # as the file has them
            return grid_of(content, path.stem)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def grid_of(content: Any, name: str = "grid") -> Grid:
    """The grid that the plain values of a file describe."""
    if not isinstance(content, dict) or "recipe" not in content:
        raise ConfigError(f"a grid is an object with 'recipe' and 'arms' or 'vary'; it may have {', '.join(FIELDS)}")
    unknown = sorted(content.keys() - set(FIELDS))
    if unknown:
        raise ConfigError(f"unknown '{unknown[0]}'; a grid has {', '.join(FIELDS)}")
    if ("arms" in content) == ("vary" in content):
        raise ConfigError("give either 'arms' or 'vary'")
    if not isinstance(content["recipe"], str):
        raise ConfigError(
            f"recipe is the name of one, as `resmom recipes` lists them, or a run folder; got {content['recipe']!r}"
        )
    named = base_named(content["recipe"])
    base = changed(named.run, _object(content, "set"), named.images)
    if "vary" in content:
        lists = _object(content, "vary")
        if not all(isinstance(values, list) for values in lists.values()):
            raise ConfigError('vary has options with lists of values: {"residual.weight": [0, 1]}')
        arms: Mapping[str, Settings] = combinations(base, lists)
    else:
        arms = _object(content, "arms")
        if not all(isinstance(settings, dict) for settings in arms.values()):
            raise ConfigError('arms are objects of options: {"plain": {}, "residual": {"residual.weight": 1}}')
    seeds, share = content.get("seeds", list(SEEDS)), content.get("held_out", 0)
    if not isinstance(seeds, list) or not all(type(seed) is int for seed in seeds):
        raise ConfigError(f"seeds are a list of whole numbers, [0, 1, 2]; got {seeds!r}")
    title, about = str(content.get("name", name)), str(content.get("about", ""))
    _require_effect(base, arms, _object(content, "set"))
    return Grid(title, base, arms, tuple(seeds), share_of(share), about, named)


def seeds_of(text: str) -> tuple[int, ...]:
    """Seeds as typed on the command line, `0,1,2`."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise ConfigError(f"--seeds is '{text}'; write whole numbers with commas between, 0,1,2") from error


def part_of(cells: Sequence[Cell], part: str) -> list[Cell]:
    """The share `I/N` of the cells, from 1/N to N/N: stretches of the list, so that most pairs share a machine."""
    found = re.fullmatch(r"(\d+)/(\d+)", part)
    number, parts = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= number <= parts:
        raise ConfigError(f"--part is '{part}'; write 1/3, 2/3 and 3/3 for three machines")
    return list(cells[len(cells) * (number - 1) // parts : len(cells) * number // parts])


def digest_of(run: Run) -> str:
    """16 hexadecimal digits of a configuration, the recipe's name apart."""
    read = to_json(from_json(to_json(run)))  # a recipe may say 1 where a field is 1.0
    plain = {name: value for name, value in read.items() if name != "recipe"}
    return digest([json.dumps(plain, sort_keys=True).encode()])


def _object(content: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = content.get(name, {})
    if not isinstance(found, dict):
        raise ConfigError(f"{name} is an object; got {found!r}")
    return found


def _check_names(arms: Mapping[str, Settings]) -> None:
    if not arms:
        raise ConfigError("a grid needs at least one arm")
    for name in arms:  # it is a folder's name, and stands in results for ever
        if not re.fullmatch(r"[\w+=][\w.,+=\[\]:-]*", name, re.ASCII):
            raise ConfigError(f"an arm cannot be called '{name}'; use letters, digits and . , _ = + - : without spaces")


def share_of(share: object) -> float:
    """The share of the images that is held out. Raises ConfigError for anything but a number."""
    if isinstance(share, bool) or not isinstance(share, int | float):
        raise ConfigError(f"held_out is a share of the training images, 0.1 for a tenth; got {share!r}")
    return float(share)
