"""What is wrong with a command's arguments, in one sentence: what was wrong, what is allowed, what to do.

tyro, which reads the arguments, answers with boxes. Its hook for a refusal is young and may change, so nothing rests on
it alone: where it is absent, or a case is unknown here, the words of the box are told in one line.
"""

import contextlib
import dataclasses
import io
import itertools
import re
import types
import typing
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any, get_args

import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from resmom.commands.otherwise import another, images, otherwise
from resmom.errors import UserError
from resmom.nearest import nearest, similar

OPTIONS = ConstructorRegistry()
"""How tyro is to take and to show options, beside its own ways."""

events: ModuleType | None
try:
    from tyro import _errors as events
except ImportError:  # another version
    events = None

KINDS = {"INT": ("a whole number", "whole numbers"), "FLOAT": ("a number", "numbers"), "PATH": ("a path", "paths")}
"""tyro's names of what an option takes: one, and several."""


@OPTIONS.primitive_rule
def _optional(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
    """`PATH` for an option that may be left out, where tyro shows `{None}|PATH`; the word None is taken as before."""
    kinds = get_args(info.type)
    if typing.get_origin(info.type) not in (typing.Union, types.UnionType) or types.NoneType not in kinds:
        return None
    rest: Any = typing.Union[tuple(kind for kind in kinds if kind is not types.NoneType)]  # noqa: UP007
    one = ConstructorRegistry.get_primitive_spec(PrimitiveTypeInfo.make(rest, info.markers))
    if not isinstance(one, PrimitiveConstructorSpec):  # a dataclass, whose fields are options of their own
        return None
    return PrimitiveConstructorSpec(
        nargs=(1, one.nargs) if isinstance(one.nargs, int) and one.nargs > 1 else one.nargs,
        metavar=one.metavar,
        instance_from_str=lambda words: None if words == ["None"] else one.instance_from_str(words),
        is_instance=lambda value: value is None or one.is_instance(value),
        str_from_instance=lambda value: ["None"] if value is None else one.str_from_instance(value),
        choices=None if one.choices is None else ("None", *one.choices),
    )


@contextlib.contextmanager
def told_in_a_sentence(kind: Any, arguments: Sequence[str], prog: str) -> Iterator[None]:
    """Where tyro refuses `arguments` for the dataclass `kind` inside the block, raise UserError with one sentence."""
    help_of = f"(`{prog} --help` lists the options)"

    def refuse(event: Any) -> None:
        with contextlib.suppress(AttributeError):  # another version may have other names
            if type(event).__name__ == "InstantiationFailure" and event.argument is None:
                raise UserError(str(event.message))  # of our own, from a dataclass's check
            if (words := _sentence(event, kind, arguments)) is not None:
                raise UserError(f"{words} {help_of}")

    box = io.StringIO()
    hook = contextlib.nullcontext() if events is None else events.on_parse_error(refuse)
    try:
        with contextlib.redirect_stderr(box), hook:
            yield
    except SystemExit as end:
        if not end.code:  # help, on standard output
            raise
        raise UserError(f"{_unboxed(box.getvalue())} {help_of}") from end


def require_values(found: Any, arguments: Sequence[str]) -> None:
    """Refuse an option for several values that was given without any: it would set nothing, and without a word.

    `found`: what the arguments were read as.
    """
    words = itertools.pairwise([*arguments, "--"])
    bare = [option for option, behind in words if option.startswith("--") and behind.startswith("--")]
    for option in bare:
        name = option.removeprefix("--").replace("-", "_")
        for dotted, field in _without_values(found):
            if f".{dotted}".endswith(f".{name}"):
                raise UserError(f"{option} needs at least one {_examples(option, field)}")


def _without_values(found: Any, above: str = "") -> Iterator[tuple[str, dataclasses.Field[Any]]]:
    """The fields of a dataclass, and of those in it, that have no values, by their dotted names."""
    for field in dataclasses.fields(found):
        value = getattr(found, field.name)
        if dataclasses.is_dataclass(value):
            yield from _without_values(value, f"{above}{field.name}.")
        elif value == ():
            yield f"{above}{field.name}", field


def _examples(option: str, field: "dataclasses.Field[Any]") -> str:
    """What an option for several values takes, in words."""
    element = _element(field.type)
    if choices := get_args(element):
        return f"of {', '.join(choices)}"
    usual = field.default if isinstance(field.default, tuple) else ()
    values = usual or {float: (0.5, 0.75, 1), int: (8, 16)}.get(element, ("ONE", "OTHER"))
    return f"value, several as words of their own: {option} {' '.join(map(str, values))}"


def _element(kind: Any) -> Any:
    """What a type of several values is made of."""
    while typing.get_origin(kind) is not tuple:
        kind = get_args(kind)[0]
    return get_args(kind)[0]


def _sentence(event: Any, kind: Any, arguments: Sequence[str]) -> str | None:
    """The refusal in words; None for a case that is not known here."""
    match type(event).__name__:
        case "MissingArgs":
            missing = {_shown(each.arg): each.arg for each in event.missing_arguments}
            unknown = [token for token in event.unrecognized_tokens if token.startswith("-")]
            for token in unknown:
                if found := nearest(_name(token), missing):
                    return f"there is no option {_name(token)}{found}"
            if unknown:
                return _unknown(unknown, kind, arguments)
            if len(missing) == 1:
                return "".join(f"{name} is missing: {_about(argument)}" for name, argument in missing.items())
            return f"{' and '.join(missing)} are missing"
        case "UnrecognizedArgs":
            return _unknown(event.tokens, kind, arguments)
        case "InvalidChoice":
            form = str(event.argument.lowered.metavar)  # where they stand in the order of the code
            choices = sorted((choice for choice in event.choices if choice != "None"), key=form.find)
            name, value = _shown(event.argument), str(event.value)
            hint = another(name, value) or _apart(event.argument, value) or similar(value, choices, 1)
            return f"{name} is '{value}'; it is one of {', '.join(choices)}{hint}"
        case "BadValue" if event.reason == "too_few_values":
            given = _given(event.argument, arguments)
            return f"{_shown(event.argument)} needs {_wanted(event.argument)}{_apart(event.argument, given)}"
        case "InstantiationFailure":
            given = _given(event.argument, arguments)
            wanted = _wanted(event.argument)
            return f"{_shown(event.argument)} is '{given}'; it takes {wanted}{_apart(event.argument, given)}"
        case _:
            return None


def _unknown(tokens: Sequence[str], kind: Any, arguments: Sequence[str]) -> str:
    options = [token for token in tokens if token.startswith("-")]
    if not options:
        hint = _switch(tokens[0], kind, arguments) or images(tokens[0], _options(kind))
        return f"'{tokens[0]}' is one word too many{hint}"
    name = _name(options[0])
    known = _options(kind)
    if found := otherwise(name, known):
        return f"there is no option {name}{found}"
    if "--train.batch" not in known:
        return f"there is no option {name}{nearest(name, known)}"
    # Of a run: its command takes these out before the others are read.
    known += ["--backbone", "--method", "--image-size", "--orientation"]
    from resmom.runs.elsewhere import elsewhere  # imports torch, which a call without such a mistake need not wait for

    return f"there is no option {name}{nearest(name, known, elsewhere(known))}"


def _switch(word: str, kind: Any, arguments: Sequence[str]) -> str:
    """How a switch is written, as the end of a sentence, where `word` stands behind one."""
    for before, token in itertools.pairwise(arguments):
        name = before.replace("_", "-")
        part, _, last = name.rpartition(".")
        off = f"{part}.no-{last}" if part else f"--no-{name.removeprefix('--')}"
        if token == word and off in _help(kind):
            return f": {name} is a switch, without a value; {off} turns it off"
    return _in_one_word(word, arguments)


def _in_one_word(word: str, arguments: Sequence[str]) -> str:
    """How several values are written, as the end of a sentence, where `word` stands behind the first of them."""
    for place, option in enumerate(arguments):
        values = list(itertools.takewhile(lambda other: not other.startswith("--"), arguments[place + 1 :]))
        if option in ("--seeds", "--vary", "--low-shot") and word in values[1:]:
            first, *rest = values = [value.strip(",") for value in values]
            name, equals, one = first.partition("=")
            if option == "--vary" and equals and "=" in word:
                return f": every option has a --vary of its own: {' '.join(f'--vary {each}' for each in values)}"
            varied = f"{name}={','.join([one, *rest] if equals else rest)}"
            many = varied if option == "--vary" else ",".join(values)
            return f": several values are one word, with commas: {option} {many}"
    return ""


def _help(kind: Any) -> str:
    text = io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
        tyro.cli(kind, args=["--help"], prog="resmom", registry=OPTIONS)
    return text.getvalue()


def _options(kind: Any) -> list[str]:
    """All options of a command, from its help: tyro has no other way of telling them."""
    # The help may have columns, and speaks of options in sentences too; behind its own stands what they take.
    told = re.findall(r"(--[a-z][\w.-]*\w)(?= [A-Z{\[]|, -|  |$)", _help(kind), flags=re.MULTILINE)
    found = list(dict.fromkeys(told))  # a sentence may end with one
    return [name for name in found if name.replace("--no-", "--") not in found or not name.startswith("--no-")]


def _name(token: str) -> str:
    return token.partition("=")[0]


def _shown(argument: Any) -> str:
    return str(argument.field.intern_name).upper() if argument.is_positional() else str(argument.display_name())


def _about(argument: Any) -> str:
    """The first sentence of what the help says of an option."""
    text = argument.field.helptext
    words = " ".join(str((text() if callable(text) else text) or "see the help").split())
    first = re.split(r"[.;] ", words)[0].rstrip(".")
    return first[:1].lower() + first[1:] if first[1:2].islower() or first[1:2] == " " else first


def _wanted(argument: Any) -> str:
    """What an option takes, in words."""
    form = str(argument.lowered.metavar)
    if form in KINDS:
        return KINDS[form][0]
    names = re.findall(r"[\w-]+", form)
    if form.startswith("{"):
        return f"one of {', '.join(names)}"
    if len(set(names)) == 1 and names[0] in KINDS:
        many = KINDS[names[0]][1]
        return many if form.startswith("[") else f"{len(names)} {many}"
    return f"a value: {_about(argument)}" if form == "STR" else f"values of the form {form}"


def _apart(argument: Any, given: str) -> str:
    """How several values are written, as the end of a sentence, where they were given as one word: 8,16 or [8, 16]."""
    values = re.findall(r"[\w.+-]+", given)
    if len(values) < 2 or not re.search(r"[,;\[(]", given) or argument.lowered.nargs in (1, None):
        return ""
    return f", as words of their own: {_shown(argument)} {' '.join(values)}"


def _given(argument: Any, arguments: Sequence[str]) -> str:
    """What stood behind an option, the last time that it was named."""
    lowered, value = argument.lowered, ""
    for place, token in enumerate(arguments):
        name, equals, behind = token.partition("=")
        if name.replace("_", "-") not in lowered.name_or_flags:
            continue
        rest = list(itertools.takewhile(lambda word: not word.startswith("--"), arguments[place + 1 :]))
        most = lowered.nargs if isinstance(lowered.nargs, int) else len(rest)
        value = behind if equals else " ".join(rest[:most])
    return value


def _unboxed(text: str) -> str:
    """The words of a box in one line, without its frame and without the help that tyro appends."""
    words = re.sub(r"[─-╿]|-{3,}", " ", text)
    return " ".join(words.split("For full helptext")[0].split())
