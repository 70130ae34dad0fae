"""The checks of types and shapes that the import hook applies to every signature of the package during tests.

jaxtyping binds the arguments of every call to keep the sizes that its letters stand for, which takes ten times as long
as the check itself. Only a signature that has shapes in it needs that; beartype checks the others alone.

What a module imports for the type checker alone is looked up for the signatures, and is not put into the module: there
it would hide that a function does not import what it calls.
"""

import ast
import functools
import inspect
import re
import sys
from collections.abc import Callable
from typing import Any, get_args

import jaxtyping
from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int is welcome where a float is asked for
whole = jaxtyping.jaxtyped


def has_shapes(annotation: Any) -> bool:
    """Whether an annotation is of an array, or might be: a name in quotes is not looked up."""
    if isinstance(annotation, str):
        return True
    if isinstance(annotation, list):  # the arguments of a Callable
        return any(map(has_shapes, annotation))
    if inspect.isclass(annotation) and issubclass(annotation, jaxtyping.AbstractArray):
        return True
    return any(map(has_shapes, get_args(annotation)))


@functools.cache
def for_types(module: str) -> dict[str, Any]:
    """What a module imports under TYPE_CHECKING, by name."""
    names: dict[str, Any] = {}
    for part in ast.parse(inspect.getsource(sys.modules[module])).body:
        if isinstance(part, ast.If) and ast.unparse(part.test) == "TYPE_CHECKING":
            exec(compile(ast.Module(part.body, []), module, "exec"), names)
    return names


def look_up(function: Any) -> None:
    """Put types in place of the annotations in quotes that name what is imported for the type checker alone."""
    for name, annotation in function.__annotations__.items():
        if isinstance(annotation, str):
            names = for_types(function.__module__)
            if not names.keys().isdisjoint(re.findall(r"\w+", annotation)):
                function.__annotations__[name] = eval(annotation, vars(sys.modules[function.__module__]), names)


def jaxtyped(*, typechecker: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """As `jaxtyping.jaxtyped`, whose place it takes in the code that the import hook makes."""

    def decorate(made: Any) -> Any:
        if inspect.isfunction(made):
            look_up(made)
        if inspect.isfunction(made) and not any(map(has_shapes, made.__annotations__.values())):
            return typechecker(made)
        return whole(made, typechecker=typechecker)

    return decorate
