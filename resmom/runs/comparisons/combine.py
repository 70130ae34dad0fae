"""Arms from options with several values each: all combinations, with a name for each."""

import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from resmom.called import either
from resmom.config import ConfigError, Run
from resmom.runs.options import parsed, require_option

Settings = Mapping[str, Any]


def varied(run: Run, options: Sequence[str]) -> dict[str, Settings]:
    """Arms from `option=value,value` as typed on the command line: all combinations."""
    lists: dict[str, list[Any]] = {}
    for text in options:
        name, equals, values = text.partition("=")
        name = name.strip().lstrip("-").replace("-", "_")
        if not equals or not values or not name:
            raise ConfigError(f"'{text}' varies nothing; write --vary residual.weight=0,1")
        if name in lists:
            raise ConfigError(f"{name} is varied twice; give all its values at once")
        lists[name] = [parsed(run, name, value) for value in _split(values)]
    return combinations(run, lists)


def combinations(run: Run, lists: Mapping[str, Sequence[Any]]) -> dict[str, Settings]:
    """All combinations of values, by names such as `weight=1,site=z`; the first values come first.

    Without the residual term its other options change nothing, so that such a run comes once. Raises ConfigError for
    no values, or the same one twice. Options of the term where no arm has it are left to `Grid.cells`, since the base
    may yet become another.
    """
    if not lists or not all(lists.values()):
        vary = either("--vary residual.weight=0,1", "vary={'residual.weight': [0, 1]}")
        raise ConfigError(f"nothing is varied; give {vary}, or name a grid file")
    for option, values in lists.items():
        if any(one == other for one, other in itertools.combinations(values, 2)):
            raise ConfigError(f"{option} has the same value twice; give each once")
        if of_term(option):  # its fields are the same in every arm: a slip is told as one, here as on the command line
            require_option(run, option)
    short = _short(list(lists))
    arms: dict[str, Settings] = {}
    for values in itertools.product(*lists.values()):
        settings = dict(zip(lists, values, strict=True))
        if settings.get("residual.weight") == 0 and any(lists["residual.weight"]):
            settings = {option: value for option, value in settings.items() if not of_term(option)}
        name = ",".join(f"{short[option]}={word(value)}" for option, value in settings.items())
        if arms.setdefault(name, settings) != settings:
            raise ConfigError(f"two arms would be called {name}; give them names of your own in a grid file")
    return arms


def of_term(option: str) -> bool:
    """Whether an option changes nothing without the residual term."""
    return option.startswith("residual.") and option != "residual.weight"


def _short(options: Sequence[str]) -> dict[str, str]:
    """The last part of each name, and the whole name where two end alike."""
    ends = [option.rpartition(".")[2] for option in options]
    return {option: end if ends.count(end) == 1 else option for option, end in zip(options, ends, strict=True)}


def word(value: Any) -> str:
    """A value of an option as the names of arms have it, which are those of folders too: of a path its last part."""
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    if isinstance(value, dict):
        return str(value.get("kind", "given"))
    if isinstance(value, str):
        return re.sub(r"[^\w.+:-]", "_", value.rstrip("/").rpartition("/")[2], flags=re.ASCII)
    return json.dumps(value).replace(" ", "").replace('"', "")


def _split(text: str) -> Iterator[str]:
    """At the commas that do not lie in brackets."""
    depth, start = 0, 0
    for at, letter in enumerate(text):
        depth += (letter in "[{") - (letter in "]}")
        if letter == "," and depth == 0:
            yield text[start:at]
            start = at + 1
    yield text[start:]
