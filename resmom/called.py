"""What a setting is called by who reads of it: a field in Python and in files, an option where the call was typed.

Whoever refuses a setting knows its field alone, `train.micro_batch`, and neither who gave it nor how. No torch.
"""

import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal

_READER: ContextVar[Literal["fields", "options"]] = ContextVar("reader", default="fields")

TYPED = {
    "View": "policy.views.N",
    "Policy": "policy",
    "Masks": "method.masks",
    "finetune": "tuning",
    "linear_crop": "probe",
}
"""Parts that the command line calls otherwise than Python does."""


@contextmanager
def called_by(names: Literal["fields", "options"]) -> Iterator[None]:
    """Inside the block settings are called by the names of fields, or of options of the command line."""
    before = _READER.set(names)
    try:
        yield
    finally:
        _READER.reset(before)


def called(field: str) -> str:
    """A setting as its reader knows it: `train.micro_batch` as it is, or `--train.micro-batch`.

    An option has all numbers of a field that has several: `policy.mean.1` is one of those of `--policy.mean`.
    """
    if _READER.get() == "fields":
        return field
    part, dot, rest = re.sub(r"\.\d+$", "", field).partition(".")
    return "--" + f"{TYPED.get(part, part) if dot else part}{dot}{rest}".replace("_", "-")


def setting(field: str, value: object = True) -> str:
    """A setting with its value as its reader writes it: `network='student'`, or `--network student`.

    A switch, whose value is a bool, is typed without one: `sweep=True` is `--sweep`, `accuracy=False` `--no-accuracy`.
    """
    if _READER.get() == "fields":
        return f"{field}={value!r}"
    name = called(field)
    if isinstance(value, bool):
        part, dot, switch = name.removeprefix("--").rpartition(".")
        return name if value else f"--{part}{dot}no-{switch}"
    return f"{name} {shlex.quote(str(value))}"


def either(typed: str, written: str) -> str:
    """Words for who typed a call on the command line, or for who wrote it in Python or in a file: where the two reach
    the same by different ways, so that `called` alone does not do."""
    return typed if _READER.get() == "options" else written


def verb(name: str, *arguments: object) -> str:
    """A verb that both have, as its reader calls it: `resmom resume runs/a`, or `resmom.resume('runs/a')`."""
    typed = " ".join(("resmom", name, *map(shlex.quote, map(str, arguments))))
    written = f"resmom.{name}" + (f"({', '.join(repr(str(one)) for one in arguments)})" if arguments else "")
    return f"`{either(typed, written)}`"


def side_setter() -> str:
    """What sets the side of a run's views, and of what is made for them, at once."""
    return either("--image-size", "with_side of resmom.recipes.side")


def side_called() -> str:
    """That side, with what sets it."""
    return either("--image-size", f"the side ({side_setter()})")
