"""Which arm each arm is compared with: one for all of them, or its own, which is the same but for one option."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from resmom.errors import UserError
from resmom.runs.comparisons.combine import of_term, word
from resmom.runs.comparisons.results import Line
from resmom.runs.options import value_in

WEIGHT = "residual.weight"


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
    if "=" not in against:
        raise UserError(f"there is no arm {against} to compare with; there are {names}")
    option, _, value = against.partition("=")
    option = _option(option, {name: own[0]["settings"] for name, own in members.items()}, names)
    ones = {name: own[0] for name, own in members.items()}
    found = counterparts(ones, option, value)
    if not found:
        raise UserError(
            f"no two arms are the same but for {option}, with {value} in one of them; there are {names}. Name an arm "
            "to compare all others with"
        )
    return Bases(found, against)


def counterparts(ones: Mapping[str, Line], option: str, value: str) -> dict[str, str]:
    """For every arm the one that has this value of the option, in words, and is the same otherwise; a line of each."""
    told = {name: word(_value(line, option)) for name, line in ones.items()}
    firsts = [name for name, own in told.items() if own == value]
    found = {}
    for name in ones:
        for first in firsts:
            if name not in firsts and _rest(ones[name], option, value) == _rest(ones[first], option, value):
                found[name] = first
    return found


def own_of(members: Mapping[str, Sequence[Line]]) -> str:
    """What to ask for where several arms without the residual term have their own with it; else empty."""
    varied = any(WEIGHT in own[0]["settings"] for own in members.values())
    found = counterparts({name: own[0] for name, own in members.items()}, WEIGHT, "0") if varied else {}
    return f"{WEIGHT}=0" if len(set(found.values())) > 1 else ""


def _option(asked: str, settings: Mapping[str, Mapping[str, Any]], names: str) -> str:
    """The option by its whole name, of those that arms set."""
    asked = asked.strip().lstrip("-").replace("-", "_")
    known = dict.fromkeys(option for own in settings.values() for option in own)
    found = [option for option in known if option == asked] or [
        option for option in known if option.rpartition(".")[2] == asked
    ]
    if len(found) > 1:
        raise UserError(f"{asked} may be {' or '.join(found)}; give the whole name")
    if not found:
        raise UserError(
            f"there is no arm, and no option that arms set, of the name {asked}; there are the arms {names}"
            + (f", which set {', '.join(known)}" if known else "")
        )
    return found[0]


def _value(line: Line, option: str) -> Any:
    """What an arm has for an option, whether it sets it or not."""
    return line["settings"][option] if option in line["settings"] else value_in(line["run"], option)


def _rest(line: Line, option: str, value: str) -> dict[str, Any]:
    """What an arm sets beside the option, but for what is written down of a run. Where it is compared with the same
    without the term, neither the term's other options count nor the pairs that it alone needs."""
    without = option == WEIGHT and value == "0"
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
