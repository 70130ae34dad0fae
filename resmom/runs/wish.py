"""What Python users ask of a run with plain arguments: what it begins as, and what they change of it."""

import sys
from collections.abc import Callable
from pathlib import Path

from resmom.config import Run, as_kept, method_named
from resmom.errors import UserError
from resmom.runs.comparisons.base import Base, base_named
from resmom.runs.initial.recognise import by_name
from resmom.runs.options import changed, patch_told, taken_back
from resmom.runs.settling.offer import Asked


def wish(
    run: object, backbone: object, method: object, change: Callable[[Run], Run], init: str, say: Callable[[str], None]
) -> Asked:
    """What is asked for: a run, of which a method or a backbone that is named changes this part; or one to be derived
    with them. Says what else of the run they change."""
    named = {part: name for part, name in (("method", method), ("backbone", backbone)) if isinstance(name, str)}
    if run is None:
        body, kind = named.get("backbone"), named.get("method")
        return Asked(
            change=checked(change),
            init=init,
            backbone=None if body is None else by_name(body, init),
            method=None if kind is None else method_named(kind),
        )
    base = begun(run)
    if not named:
        return Asked(base.run, checked(change), init)
    made = changed(base.run, ({"init": init} if init else {}) | named, base.images)
    if told := taken_back(base.run, made):
        say(told)
    if "backbone" in named and (told := patch_told(named["backbone"], made)):
        say(told)
    return Asked(made, checked(change), init)


def begun(run: object) -> Base:
    """A configuration as it is given, by its recipe's name, as a run on disk has it, or in a .json file."""
    if isinstance(run, Run):
        return Base(run, run.recipe)
    if isinstance(run, str | Path):
        return base_named(str(run))
    raise UserError(f"{run!r} is no run; give a recipe's name, or a configuration as resmom.recipe(NAME) returns it")


def checked(change: Callable[[Run], Run]) -> Callable[[Run], Run]:
    """A user's change, refused if it returns no run, or one that could not be read again."""

    def ask(run: Run) -> Run:
        changed = change(run)
        if not isinstance(changed, Run):
            raise UserError(
                f"change returned {changed!r}; it must return the run, as dataclasses.replace(run, ...) makes it"
            )
        return as_kept(changed)

    return ask


def saying(quiet: bool) -> Callable[[str], None]:
    """What says something on standard error, unless nothing is to be said."""

    def say(text: str) -> None:
        if not quiet:
            print(text, file=sys.stderr, flush=True)

    return say
