"""The checks of types and shapes that the import hook applies to every signature of the package during tests.

jaxtyping binds the arguments of every call to keep the sizes that its letters stand for, which takes ten times as long
as the check itself. Only a signature that has shapes in it needs that; beartype checks the others alone.
"""

import inspect
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


def jaxtyped(*, typechecker: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """As `jaxtyping.jaxtyped`, whose place it takes in the code that the import hook makes."""

    def decorate(made: Any) -> Any:
        if inspect.isfunction(made) and not any(map(has_shapes, made.__annotations__.values())):
            return typechecker(made)
        return whole(made, typechecker=typechecker)

    return decorate
