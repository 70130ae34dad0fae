"""What a report says instead of paths: it is passed on, and need not tell where folders lie, nor whose they are."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path, PurePath

from resmom.data.open import short_name
from resmom.report.contents import RunRecord
from resmom.runs.environment import HOMES


def names_of(folders: Sequence[Path]) -> list[str]:
    """The folders' own names, with as many of the folders above as it takes to tell them apart, but none from the home
    folder on upwards; those that are alike even so are numbered."""
    parts = [_below_home(path.resolve()) for path in folders]
    for depth in range(1, max(map(len, parts), default=0) + 1):
        names = ["/".join(part[-depth:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    names = ["/".join(part) for part in parts]
    return [f"{name} ({at})" for at, name in enumerate(names, start=1)]


def _below_home(path: Path) -> tuple[str, ...]:
    if path.is_relative_to(Path.home()):
        below = path.relative_to(Path.home()).parts
    else:
        below = path.parts[3:] if path.parts[1:2] and path.parts[1] in HOMES else path.parts[1:]
    return below or ("a home folder",)


def without_places(runs: Sequence[RunRecord]) -> list[RunRecord]:
    """The runs with data and weights to start from by their last names; other ones of the same name are numbered."""
    data = _told_apart([str(run.config["data"]) for run in runs], short_name)
    starts = _told_apart([str(run.config.get("init") or "") for run in runs], lambda place: PurePath(place).name)
    told = []
    for run, name, start in zip(runs, data, starts, strict=True):
        config = {**run.config, "data": name} | ({"init": start} if "init" in run.config else {})
        rows = [(row, name if row == "data" else value) for row, value in run.data]
        told.append(replace(run, config=config, data=rows))
    return told


def _told_apart(places: Sequence[str], short: Callable[[str], str]) -> list[str]:
    named: dict[str, list[str]] = {}
    for place in dict.fromkeys(places):
        named.setdefault(short(place), []).append(place)
    return [_numbered(short(place), place, named) for place in places]


def _numbered(name: str, place: str, named: dict[str, list[str]]) -> str:
    alike = named[name]
    return name if len(alike) == 1 else f"{name} ({alike.index(place) + 1})"
