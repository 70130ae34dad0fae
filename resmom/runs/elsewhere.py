"""Options that a run would have with another method, backbone or optimiser."""

from collections.abc import Iterable, Iterator
from dataclasses import fields, is_dataclass
from typing import Any, get_args

from resmom.called import called
from resmom.methodconfig import METHODS
from resmom.nets.backbones import BackboneConfig
from resmom.train.optim import OptimConfig


def elsewhere(known: Iterable[str]) -> dict[str, str]:
    """Those that are none of the `known` ones, as their reader calls them, each with who has it, in words."""
    here = {name.lstrip("-").replace("-", "_") for name in known}
    members = {
        "method": METHODS,
        "backbone": {kind.__name__: kind for kind in get_args(BackboneConfig)},
        "optim": {kind.__name__: kind for kind in get_args(OptimConfig)},
    }
    found: dict[str, list[str]] = {}
    for part, kinds in members.items():
        for name, kind in kinds.items():
            for field in _fields(kind):
                found.setdefault(f"{part}.{field}", []).append(name)
    return {
        called(option): f"{called('method') if option.startswith('method.') else 'the settings of'} {', '.join(names)}"
        for option, names in found.items()
        if option not in here
    }


def _fields(kind: Any) -> Iterator[str]:
    """The names of a dataclass's fields, dotted where a field has fields of its own."""
    for field in fields(kind):
        if is_dataclass(field.type):
            yield from (f"{field.name}.{inner}" for inner in _fields(field.type))
        else:
            yield field.name
