"""The arguments of what Python users call, held against their annotations before anything else happens.

An object of another kind would end deep inside in an AttributeError of a name that its caller has never read.
"""

import inspect
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, wraps
from numbers import Integral, Real
from os import PathLike
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeVar, Union, get_args, get_origin, get_type_hints

from resmom.errors import UserError

P = ParamSpec("P")
R = TypeVar("R")

KINDS: dict[Any, str] = {
    None: "None",
    types.NoneType: "None",
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    str: "a string",
    Path: "a path",
}
"""What a value of an annotation is called."""
SEVERAL: dict[Any, str] = {int: "whole numbers", float: "numbers", str: "strings"}


def arguments_checked(*others: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A decorator: a call with an argument of another kind than its annotation says raises UserError, which says what
    it is and what it may be.

    What is annotated as `object` may be anything, and so may the arguments `others`, of which the function itself says
    more. Which strings and numbers are allowed is left to the function, too.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        inner = inspect.unwrap(function)

        @cache  # annotations are read when the function is called first
        def hints() -> dict[str, Any]:
            return {name: hint for name, hint in get_type_hints(inner).items() if name not in ("return", *others)}

        signature = inspect.signature(inner)

        @wraps(function)
        def checked(*positional: P.args, **named: P.kwargs) -> R:
            try:
                bound = signature.bind(*positional, **named)
            except TypeError:  # Python's own words tell it best
                return function(*positional, **named)
            for name, value in bound.arguments.items():
                if name in hints() and not fits(value, hints()[name]):
                    raise UserError(f"{name} is {_short(value)}; {inner.__name__} takes {words(hints()[name])} there")
            return function(*positional, **named)

        return checked

    return decorate


def fits(value: object, hint: Any) -> bool:
    """Whether a value is of the kind that an annotation says. numpy's numbers are numbers, truths are none."""
    origin, parts = get_origin(hint), get_args(hint)
    if hint in (Any, object) or isinstance(hint, TypeVar):
        return True
    if origin in (Union, types.UnionType):
        return any(fits(value, part) for part in parts)
    if origin is Literal:
        return any(isinstance(value, type(part)) for part in parts)
    if hint in (None, types.NoneType):
        return value is None
    if hint is bool:
        return type(value).__name__ in ("bool", "bool_")  # numpy's, too
    if hint in (int, float):
        return isinstance(value, Integral if hint is int else Real) and not isinstance(value, bool)
    if hint is Path:
        return isinstance(value, PathLike)
    if origin is type:
        return isinstance(value, type)
    if origin is Callable or hint is Callable:
        return callable(value)
    kind = origin or hint
    if isinstance(kind, type) and issubclass(kind, Iterable) and not issubclass(kind, str | Mapping):
        return _listed(value, parts)
    return isinstance(value, kind)


def _listed(value: object, parts: Sequence[Any]) -> bool:
    """Whether something is a list, a tuple or an array of what an annotation says; a string is none of strings."""
    if not isinstance(value, Iterable) or isinstance(value, str | bytes | Mapping):
        return False
    each = [part for part in parts if part is not Ellipsis]
    return not isinstance(value, Sequence) or len(each) != 1 or all(fits(one, each[0]) for one in value)


def words(hint: Any) -> str:
    """What may stand where an annotation is, in words."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        # A path may be a string, and None is told last.
        alone = [part for part in parts if not (part is str and Path in parts)]
        alone.sort(key=lambda part: part is types.NoneType)
        found = list(dict.fromkeys(words(part) for part in alone))
        return found[0] if len(found) == 1 else f"{', '.join(found[:-1])} or {found[-1]}"
    if origin is Literal:
        return " or ".join(map(repr, parts))
    if hint in KINDS:
        return KINDS[hint]
    if origin is Callable or hint is Callable:
        return "a function"
    kind = origin or hint
    if isinstance(kind, type) and issubclass(kind, Mapping):
        return "a dict"
    if isinstance(kind, type) and issubclass(kind, Iterable) and parts:
        return f"a list of {SEVERAL.get(parts[0], 'these')}"
    if kind.__module__.startswith("torch.nn."):
        return "a torch module"
    # What is to be made by its name is told with where it lives.
    return (
        f"{kind.__module__}.{kind.__name__}"
        if kind.__module__.endswith(("settings", "backbones"))
        else f"a {kind.__name__}"
    )


def _short(value: object) -> str:
    """A value as Python shows it, and its kind where that is long."""
    told = repr(value)
    return told if len(told) <= 60 else f"of type {type(value).__name__}"
