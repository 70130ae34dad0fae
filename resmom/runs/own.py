"""Modules and images of the user's own: a run folder names them; whoever continues the run brings them again."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import torch
from torch import nn

from resmom.build import Own
from resmom.called import either
from resmom.config import ConfigError, Run
from resmom.data.errors import DataError
from resmom.data.open import open_data
from resmom.data.source import Data
from resmom.method import Method
from resmom.methodnames import method_name
from resmom.nets.backbones import Backbone, BackboneConfig
from resmom.recipes import title_of
from resmom.rundir import GIVEN, RunDir, given_again

Part = Literal["method", "backbone"]


@dataclass(frozen=True)
class OwnEach:
    """The same for many runs: `backbone` is a module, whose weights all begin with, or makes one, from its seed."""

    backbone: nn.Module | Callable[[], nn.Module] | None = None
    method: Callable[[Backbone], Method] | None = None

    def of(self, seed: int) -> Own:
        """What a run with that seed brings. Raises UserError as `Own` does."""
        if self.backbone is None or isinstance(self.backbone, nn.Module) or not callable(self.backbone):
            return Own(self.backbone, self.method)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return Own(self.backbone(), self.method)

    @cached_property
    def names(self) -> dict[str, str]:
        """What run.json says of them, by the option that has no meaning beside what is given."""
        return names(self.of(0))


def names(own: Own) -> dict[str, str]:
    """What run.json says of the user's own modules; nothing where there are none."""
    backbone = {} if own.backbone is None else {"backbone": _name(type(own.backbone))}
    method = {} if own.method is None else {"method": _name(own.method)}
    return backbone | method


def given(written: Mapping[str, Any], part: Part) -> str:
    """The name of what was given from Python for a part of a run, by run.json; empty where a setting says it."""
    return str(dict(written.get("own", {})).get(part, ""))


def config_of(written: Mapping[str, Any], run: Run) -> BackboneConfig | None:
    """The configuration of a run's backbone; None for a module of the user's own."""
    return None if given(written, "backbone") else run.backbone


def part_words(written: Mapping[str, Any], run: Run, part: Part) -> str:
    """A run's method or backbone in a word, for people: what was given from Python, else what it is called."""
    if part == "method" and not given(written, part):
        return method_name(run.method)
    return part_kind(written, run, part)


def part_kind(written: Mapping[str, Any], run: Run, part: Part) -> str:
    """The same for files: what was given from Python, else the kind of its setting."""
    name = given(written, part)
    return f"{name}, given from Python" if name else type(getattr(run, part)).__name__


def title_words(written: Mapping[str, Any], run: Run) -> str:
    """The name of a run; with its method, where that is not the recipe's."""
    name = given(written, "method")
    return f"{run.recipe} with {name}, given from Python" if name else title_of(run)


def require(own: Own, written: Mapping[str, Any]) -> None:
    """Raise ConfigError unless exactly the modules that run.json names were brought."""
    wanted, brought = dict(written.get("own", {})), names(own)
    for part in ("backbone", "method"):
        if part in wanted and part not in brought:
            raise ConfigError(
                f"this run has a {part} of its own, {wanted[part]}, that no configuration describes; continue or load "
                f"it from Python and give it again, as in resmom.resume(RUN, "
                f"{given_again(written)}) or resmom.result(RUN, {part}=…)"
            )
        if part in brought and part not in wanted:
            raise ConfigError(f"this run was made with the {part} of its configuration; leave {part}= away")


def say_others(own: Own, written: Mapping[str, Any]) -> None:
    """Say on standard error where other modules were brought than those that run.json names.

    Not refused: a class may have been renamed, or moved from a notebook into a file. Weights whose names or shapes
    differ are refused where they are loaded; what else a module does with them nobody can tell.
    """
    wanted, brought = dict(written.get("own", {})), names(own)
    for part in sorted(wanted.keys() & brought.keys()):
        if brought[part] != wanted[part]:
            print(
                f"attention: the run began with the {part} {wanted[part]}, and {part}= is now {brought[part]}; go on "
                "only if both compute the same of the same weights",
                file=sys.stderr,
                flush=True,
            )


def again(written: Mapping[str, Any]) -> str:
    """What to do, as the end of a sentence, where weights do not fit the modules that were brought; may be empty."""
    parts = [f"{part}= as it was at the start ({name})" for part, name in dict(written.get("own", {})).items()]
    return f"; give {' and '.join(parts)}" if parts else ""


def written_data(written: Mapping[str, Any], call: str = "resume") -> str:
    """The data that run.json names. Raises DataError for images that were given in Python, and then says to which
    function of Python they are given again: `call`, resume or result.
    """
    data = str(written["data"])
    if data.startswith(GIVEN):
        others = (
            ""
            if call == "resume"
            else either(
                "; `resmom evaluate`, `gap` and `embed` take others with --data",
                "; evaluate, gap and embed of a result take others as data",
            )
        )
        raise DataError(
            f"the images of this run were {data}; give them again from Python, as in resmom.{call}(RUN, "
            f"{given_again(written)}){others}"
        )
    return data


def opened_again(folder: RunDir, written: Mapping[str, Any], place: str | Data | None, call: str = "resume") -> Data:
    """The images at a place, by default where the run in `folder` had them last; what is open already, as it is. `call`
    as in `written_data`.

    Raises DataError where there are none, which says how to name another place.
    """
    if place:
        return open_data(place)
    where = written_data(written, call)
    try:
        return open_data(where)
    except DataError as error:
        keep = either(f"resmom resume {folder.path} --data PLACE", f"resmom.resume({str(folder.path)!r}, data=PLACE)")
        how = keep if call == "resume" else either(f"--data PLACE (`{keep}` has it kept)", f"data ({keep} has it kept)")
        words = str(error) + ("" if str(error).endswith((".", "?")) else ".")
        raise DataError(f"{words} If the images of this run have moved, name their place: {how}") from error


def module_name(module: nn.Module) -> str:
    """The class of a module of the user's own, as run.json has it."""
    return _name(type(module))


def _name(thing: object) -> str:
    return f"{getattr(thing, '__module__', '')}.{getattr(thing, '__qualname__', type(thing).__qualname__)}"
