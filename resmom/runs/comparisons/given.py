"""Arms, seeds and images of a comparison as Python users give them, each mistake told in a sentence."""

import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, SupportsIndex, TypeGuard

from resmom.config import ConfigError, Run
from resmom.data.errors import DataError
from resmom.runs.comparisons.combine import Settings, combinations
from resmom.runs.comparisons.grid import Grid


def arms_of(run: Run, arms: object, vary: object) -> Mapping[str, Settings]:
    """The arms that are given, or all combinations of what is varied. Raises ConfigError for neither, and for both."""
    if (arms is None) == (vary is None):
        raise ConfigError('give either arms={"plain": {}, ...} or vary={"residual.weight": [0, 1]}')
    if arms is not None:
        if not _named(arms) or not all(_named(settings) for settings in arms.values()):
            form = '{"plain": {}, "residual": {"residual.weight": 1}}'
            raise ConfigError(f"arms are options by the names of arms, {form}; got {arms!r}")
        return arms
    if not _named(vary):
        raise ConfigError(f'vary has options with lists of values, {{"residual.weight": [0, 1]}}; got {vary!r}')
    for option, values in vary.items():
        if not isinstance(values, Sequence) or isinstance(values, str):
            raise ConfigError(f"vary has a list of values for every option; got {values!r} for {option}, give [0, 1]")
    return combinations(run, vary)


def listed_seeds(seeds: object) -> tuple[int, ...]:
    """The seeds that are given. Raises ConfigError for anything but whole numbers."""
    found: list[Any] = list(seeds) if isinstance(seeds, Iterable) else [None]
    if not all(isinstance(seed, SupportsIndex) and not isinstance(seed, bool) for seed in found):
        raise ConfigError(f"seeds are a list of whole numbers, [0, 1, 2]; got {seeds!r}")
    return tuple(operator.index(seed) for seed in found)  # of numpy too


def images_named(grid: Grid) -> str:
    """Where the images are of the run that a grid begins as. Raises DataError where nothing names them."""
    origin = grid.origin
    if origin is None or not origin.data:
        raise DataError(
            f"data is None, and {grid.base.recipe if origin is None else origin.name} names no images: a recipe has "
            "none, and of a run those that were given from Python are not stored; give data= (a place, an array, a "
            "Dataset)"
        )
    return origin.data


def _named(thing: object) -> TypeGuard[Mapping[str, Any]]:
    return isinstance(thing, Mapping) and all(isinstance(name, str) for name in thing)
