"""A run with options set by their dotted names, from text or from plain values, typed and checked as its fields are."""

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

from resmom.called import called, either, setting
from resmom.config import ConfigError, Run, from_json, method_named, to_json
from resmom.nearest import nearest, similar
from resmom.nets.backbones import backbone_named, patch_of
from resmom.recipes.orientation import Orientation, with_orientation
from resmom.recipes.side import fitted, with_side
from resmom.recipes.suited import with_method
from resmom.recipes.words import named
from resmom.runs.elsewhere import elsewhere
from resmom.runs.initial.recognise import by_name
from resmom.views.policy import SMALLEST

PARTS = ("method", "backbone")
"""Parts that may be named, as on the command line, instead of being given whole."""
IMAGE_SIZE = "image_size"
ORIENTATION = "orientation"
"""No fields but several at once, as on the command line."""


def changed(run: Run, settings: Mapping[str, Any], images: int = 0) -> Run:
    """The run with options set by names such as `residual.weight` or `policy.views.0.size`, all at once.

    A whole part may be given as an object (with its `kind`, where there are several), method and backbone also by their
    short names, a transformer with the image and patch that suit the views; what is set after that speaks of the new
    part. `image_size` sets the views, and what is made for them, as `with_side` does, and `orientation` their flips and
    turns, as `with_orientation` does. `images`: of a derived run, for how many it was derived; a method that is named
    comes before all else then, and is made for them and the network, as `with_method` does. Raises ConfigError for a
    name that the run does not have, with the nearest ones, and for a value that does not fit.
    """
    kind = settings.get("method")
    if images and isinstance(kind, str):
        settings = {option: value for option, value in settings.items() if option != "method"}
        run = with_method(run, method_named(kind), images)
    plain = to_json(run)
    for option, value in settings.items():
        if option == IMAGE_SIZE:
            plain = to_json(_sized(from_json(plain), value))
            continue
        if option == ORIENTATION:
            plain = to_json(_oriented(from_json(plain), value))
            continue
        place, last = _place(plain, option)
        if option in PARTS and isinstance(value, str):
            place[last] = to_json(_named(run, option, value, str(settings.get("init", run.init))))[option]
        else:
            place[last] = value
        if isinstance(value, dict):  # the fields that it leaves to their defaults may be set next
            plain = to_json(from_json(plain))
    made = from_json(plain)
    return _fitted(made, settings) if isinstance(settings.get("backbone"), str) else made


def _fitted(run: Run, settings: Mapping[str, Any]) -> Run:
    """The run with the backbone that was named made for its views, but for what the settings say of it themselves."""
    fit = fitted(run.backbone, run.policy.views[0].size, run.init)
    kept = {name: getattr(run.backbone, name) for name in ("image", "patch") if f"backbone.{name}" in settings}
    return dataclasses.replace(run, backbone=dataclasses.replace(fit, **kept))


def parsed(run: Run, option: str, text: str) -> Any:
    """A value as typed on the command line, by the kind of value that the run has there. Raises as `changed` does."""
    if option in PARTS or option == ORIENTATION:
        return text
    here = _side(run) if option == IMAGE_SIZE else _value(run, option)
    if isinstance(here, str):
        return text
    example = json.dumps(here) if here != [] else "[0.5, 1]"
    wrong = f"{called(option)} cannot be '{text}'; it is {example} in this run, write it in this form"
    if here == []:
        wrong = f"{called(option)} cannot be '{text}'; it takes a list, such as {example}"
    try:
        value = json.loads({"True": "true", "False": "false"}.get(text, text))
    except json.JSONDecodeError as error:
        raise ConfigError(wrong) from error
    if isinstance(here, list) and not isinstance(value, list):
        raise ConfigError(wrong)
    return value


def require_option(run: Run, option: str) -> None:
    """Raise ConfigError, with the nearest names, for an option that the run does not have."""
    _place(to_json(run), option)


def option_values(run: Run) -> dict[str, Any]:
    """Every option of a run by its dotted name; parts are in it too, by the names that their members have."""
    return dict(_walk(to_json(run), ""))


def differing(one: Run, other: Run) -> list[str]:
    """The options in which two runs differ; the recipe's name is none."""
    a, b = option_values(one), option_values(other)
    return [name for name in dict.fromkeys([*a, *b]) if name != "recipe" and a.get(name) != b.get(name)]


def difference_words(
    then: Mapping[str, Any], now: Mapping[str, Any], names: Sequence[str], absent: str = "absent"
) -> str:
    """What options were and are, the first three of them and the number of the others, as the middle of a sentence."""

    def word(values: Mapping[str, Any], name: str) -> str:
        return json.dumps(values[name]) if name in values else absent

    def option(name: str) -> str:  # the kind of a part is chosen by its own name
        return called(name.removesuffix(".kind"))

    words = ", ".join(f"{option(name)} was {word(then, name)} and is {word(now, name)}" for name in names[:3])
    return words + (f" and {len(names) - 3} more" if len(names) > 3 else "")


ASKED = ("backbone.depth", "backbone.size", "backbone.name", "backbone.image", "backbone.patch")
"""What the short name of a backbone says itself, or what follows the views where it is named (`patch_told`)."""


def taken_back(before: Run, after: Run, words: Sequence[str] = ()) -> str:
    """What a run had set of a method or backbone, and one of the same kind that was named anew has not, in a sentence.

    `words`: those of the command line, whose own options are not told. Empty where nothing was lost: a part of another
    kind has nothing in common with what stood there.
    """
    then, now = option_values(before), option_values(after)
    given = {word.partition("=")[0].removeprefix("--").replace("-", "_") for word in words if word.startswith("--")}
    given |= {name.replace(".no_", ".") for name in given}
    told = []
    for part in PARTS:
        if type(getattr(before, part)) is not type(getattr(after, part)):
            continue
        names = [n for n in differing(before, after) if n.startswith(f"{part}.") and n not in {*ASKED, *given}]
        if names:
            changes = ", ".join(f"{name} {_typed(now[name])} instead of {_typed(then[name])}" for name in names)
            kept = either(
                " ".join(_option(name, then[name]) for name in names),
                "change with " + ", ".join(setting(name, then[name]) for name in names),
            )
            told.append(f"{called(part)} brings its own defaults: {changes} ({kept} keeps what was)")
    return "; ".join(told)


def patch_told(name: str, run: Run, words: Sequence[str] = ()) -> str:
    """That the backbone asked for by that name is a transformer with another patch than usual; nothing for others.

    `words`: those of the command line; nothing is told where they set the patch, or a file of weights does.
    """
    usual, patch = patch_of(backbone_named(name)), patch_of(run.backbone)
    given = any(word.partition("=")[0] in ("--backbone.patch", "--init") for word in words)
    if patch == usual or given or run.init:
        return ""
    other = f" ({setting('backbone.patch', usual)} has the usual)" if run.policy.views[0].size % usual == 0 else ""
    return f"backbone: {named(run.backbone)}: patches by the size of the views{other}"


def _option(name: str, value: Any) -> str:
    """An option as it is typed; a switch has no value."""
    part, _, field = name.replace("_", "-").rpartition(".")
    if isinstance(value, bool):
        return f"--{part}.{'' if value else 'no-'}{field}"
    return f"--{part}.{field} {_typed(value)}"


def _typed(value: Any) -> str:
    """A value as it is typed on the command line."""
    return " ".join(map(_typed, value)) if isinstance(value, list) else str(value)


def _named(run: Run, part: str, name: str, init: str) -> Run:
    if part == "method":
        return dataclasses.replace(run, method=method_named(name))
    return dataclasses.replace(run, backbone=by_name(name, init))


def _sized(run: Run, side: Any) -> Run:
    if type(side) is not int:
        raise ConfigError(f"{called(IMAGE_SIZE)} is {side!r}; it takes a whole number of pixels, such as {_side(run)}")
    if side < SMALLEST:
        raise ConfigError(
            f"{called(IMAGE_SIZE)} is {side}; it must be at least {SMALLEST} pixels, and 32 is usual for small images"
        )
    try:
        return with_side(run, side)
    except ValueError as error:
        raise ConfigError(f"{called(IMAGE_SIZE)}: {error}") from error


def _oriented(run: Run, orientation: Any) -> Run:
    allowed = get_args(Orientation)
    if orientation not in allowed:
        raise ConfigError(
            f"{called(ORIENTATION)} is {orientation!r}; it is upright, for images that have an up, or any, for those "
            f"that have none{similar(str(orientation), allowed, 1)}"
        )
    return with_orientation(run, orientation)


def _side(run: Run) -> int:
    return run.policy.views[0].size


def _value(run: Run, option: str) -> Any:
    place, last = _place(to_json(run), option)
    return place[last]


def value_in(plain: Mapping[str, Any], option: str) -> Any:
    """What the plain values of a run have for an option, or for a part by its name; None where there is no such one."""
    value: Any = plain
    for name in option.split("."):
        key = _key(value, name)
        value = None if key is None else value[key]
    return value


def _place(plain: dict[str, Any], option: str) -> tuple[Any, Any]:
    """The object or list that an option lies in, and its name or number there."""
    above, _, last = option.rpartition(".")
    place = value_in(plain, above) if above else plain
    key = _key(place, last)
    if key is None or key in ("kind", "recipe"):
        raise _unknown(plain, option)
    return place, key


def _key(place: Any, name: str) -> str | int | None:
    if isinstance(place, dict):
        return name if name in place else None
    return int(name) if isinstance(place, list) and name.isdecimal() and int(name) < len(place) else None


def _unknown(plain: dict[str, Any], option: str) -> ConfigError:
    known = [name for name, _ in _walk(plain, "") if name != "recipe" and not name.endswith("kind")]
    hint = nearest(option, [*known, *PARTS, IMAGE_SIZE, ORIENTATION], elsewhere(known))
    return ConfigError(f"this run has no option '{option}'{hint} (`resmom recipes show NAME` lists a recipe's)")


def _walk(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    parts: list[tuple[str, Any]] = []
    if isinstance(value, Mapping):
        parts = list(value.items())
    elif isinstance(value, list) and any(isinstance(part, Mapping) for part in value):
        parts = [(str(number), part) for number, part in enumerate(value)]
    else:
        yield path, value
    for name, part in parts:
        yield from _walk(part, f"{path}.{name}" if path else name)
