"""Which arm each arm is compared with: one for all of them, or its own, which is the same but for one option."""

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from resmom.config import ConfigError
from resmom.errors import UserError
from resmom.runs.comparisons.combine import of_term, word
from resmom.runs.comparisons.results import Line, as_begun
from resmom.runs.options import IMAGE_SIZE, ORIENTATION, PARTS, differing, value_in

WEIGHT = "residual.weight"
SEVERAL = (*PARTS, IMAGE_SIZE, ORIENTATION)
"""Options that change others, too."""


class Bases(NamedTuple):
    """`of` has the arm that each other arm is compared with, by name; an arm that is in neither place has none.

    `shared`: the option and value of those arms, `weight=0`, where each arm has its own; empty where one is for all.
    """

    of: Mapping[str, str]
    shared: str


def bases(members: Mapping[str, Sequence[Line]], against: str) -> Bases:
    """What `against` asks for: an arm by its name, the first one if it is empty, or the option and value (weight=0,
    residual.weight=0) of the arms that the others are each to be compared with.

    Raises UserError for an arm that there is not, and for an option that tells no arms apart.
    """
    if against in members or not against:
        first = against or next(iter(members), "")
        return Bases({name: first for name in members if name != first}, "")
    names = ", ".join(members) or "none"
    settings = {name: own[0]["settings"] for name, own in members.items()}
    ones = {name: own[0] for name, own in members.items()}
    asked, given, value = against.partition("=")
    if not given:
        hint = ""
        for option in _options(asked, settings)[:1]:
            each = ", ".join(f"{asked}={one}" for one in _values(ones, option))
            hint = f". Of an option name one of its values, too: {each}"
        raise UserError(f"there is no arm {against} to compare with; there are {names}{hint}")
    option = _option(asked, settings, names)
    found = counterparts(ones, option, value)
    if not found:
        raise UserError(
            f"no two arms are the same but for {option}, with {value} in one of them; there are {names}, in which "
            f"{option} is {', '.join(_values(ones, option))}. Name another value, or an arm to compare all others with"
        )
    return Bases(found, against)


def counterparts(ones: Mapping[str, Line], option: str, value: str) -> dict[str, str]:
    """For every arm the one that has this value of the option, as it is typed, and is the same otherwise; a line of
    each."""
    firsts = [name for name, line in ones.items() if _is(_value(line, option), value)]
    found = {}
    for name in ones:
        for first in firsts:
            alike = _rest(ones[name], option, value) == _rest(ones[first], option, value)
            if name not in firsts and alike and _same_beside(ones[name], ones[first], option):
                found[name] = first
    return found


def _same_beside(one: Line, other: Line, option: str) -> bool:
    """Whether two arms with the same settings, but for the option, are the same in what all arms of their comparisons
    have, and no setting says: other options, or a method from Python."""
    if one.get("own", {}) != other.get("own", {}):
        return False
    try:
        runs = as_begun(one), as_begun(other)
    except ConfigError:  # lines of another version, or of more than a run
        return True
    if option in SEVERAL:
        return True  # what they bring with them is not told from what was there
    free = [option, "train.seed", "log"]
    if not all(run.residual.weight for run in runs):
        free += ["residual", "method.same_view"]
    return all(f"{name}.".startswith(tuple(f"{part}." for part in free)) for name in differing(*runs))


def own_of(members: Mapping[str, Sequence[Line]]) -> str:
    """What to ask for where several arms without the residual term have their own with it; else empty."""
    varied = any(WEIGHT in own[0]["settings"] for own in members.values())
    found = counterparts({name: own[0] for name, own in members.items()}, WEIGHT, "0") if varied else {}
    return f"{WEIGHT}=0" if len(set(found.values())) > 1 else ""


def _option(asked: str, settings: Mapping[str, Mapping[str, Any]], names: str) -> str:
    """The option by its whole name, of those that arms set."""
    found = _options(asked, settings)
    if len(found) > 1:
        raise UserError(f"{asked} may be {' or '.join(found)}; give the whole name")
    if not found:
        known = _set(settings)
        raise UserError(
            f"there is no arm, and no option that arms set, of the name {asked}; there are the arms {names}"
            + (f", which set {', '.join(known)}" if known else "")
        )
    return found[0]


def _options(asked: str, settings: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Those that arms set whose name, or the last part of it, is asked for."""
    asked, known = asked.strip().lstrip("-").replace("-", "_"), _set(settings)
    return [option for option in known if option == asked] or [
        option for option in known if option.rpartition(".")[2] == asked
    ]


def _set(settings: Mapping[str, Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(option for own in settings.values() for option in own))


def _values(ones: Mapping[str, Line], option: str) -> list[str]:
    """What the arms have for an option, in words."""
    return list(dict.fromkeys(word(_value(line, option)) for line in ones.values()))


def _is(own: Any, value: str) -> bool:
    """Whether an arm's value is the one that is typed, in whatever form: 0 and 0.0, .0001 and 1e-4, a path or its last
    part."""
    if value.strip() in (word(own), own):
        return True
    if isinstance(own, bool):
        return str(own) == value.strip().capitalize()
    try:
        return bool(own == (float(value) if isinstance(own, int | float) else json.loads(value)))
    except ValueError:  # it is another kind of value
        return False


def _value(line: Line, option: str) -> Any:
    """What an arm has for an option, whether it sets it or not."""
    return line["settings"][option] if option in line["settings"] else value_in(line["run"], option)


def _rest(line: Line, option: str, value: str) -> dict[str, Any]:
    """What an arm sets beside the option, but for what is written down of a run. Where it is compared with the same
    without the term, neither the term's other options count nor the pairs that it alone needs."""
    without = option == WEIGHT and _is(0, value)
    return {
        name: own
        for name, own in line["settings"].items()
        if name != option
        and not name.startswith("log.")
        and not (without and (of_term(name) or name == "method.same_view"))
    }


def in_groups(names: Collection[str], found: Bases) -> list[str]:
    """The arms in their order, each after the one that it is compared with; those without one at the end."""
    firsts = [name for name in names if name in found.of.values()]
    groups = [(first, *(name for name in names if found.of.get(name) == first)) for first in firsts]
    grouped = [name for group in groups for name in group]
    return grouped + [name for name in names if name not in grouped]
