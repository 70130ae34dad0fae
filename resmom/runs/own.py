"""Modules and images of the user's own: a run folder names them; whoever continues the run brings them again."""

from collections.abc import Mapping
from typing import Any

from resmom.build import Own
from resmom.config import ConfigError
from resmom.data.source import DataError
from resmom.rundir import GIVEN, given_again


def names(own: Own) -> dict[str, str]:
    """What run.json says of the user's own modules; nothing where there are none."""
    backbone = {} if own.backbone is None else {"backbone": _name(type(own.backbone))}
    method = {} if own.method is None else {"method": _name(own.method)}
    return backbone | method


def require(own: Own, written: Mapping[str, Any]) -> None:
    """Raise ConfigError unless exactly the modules that run.json names were brought."""
    wanted, brought = dict(written.get("own", {})), names(own)
    for part in ("backbone", "method"):
        if part in wanted and part not in brought:
            raise ConfigError(
                f"this run has a {part} of its own, {wanted[part]}, that no configuration describes; continue or load "
                f"it from Python and give it again, as in resmom.resume(RUN, "
                f"{given_again(written)}) or resmom.result(RUN, {part}=…)"
            )
        if part in brought and part not in wanted:
            raise ConfigError(f"this run was made with the {part} of its configuration; leave {part}= away")


def again(written: Mapping[str, Any]) -> str:
    """What to do, as the end of a sentence, where weights do not fit the modules that were brought; may be empty."""
    parts = [f"{part}= as it was at the start ({name})" for part, name in dict(written.get("own", {})).items()]
    return f"; give {' and '.join(parts)}" if parts else ""


def written_data(written: Mapping[str, Any]) -> str:
    """The data that run.json names. Raises DataError for images that were given in Python."""
    data = str(written["data"])
    if data.startswith(GIVEN):
        raise DataError(
            f"the images of this run were {data}; give them again from Python, as in resmom.resume(RUN, "
            f"{given_again(written)}); `resmom evaluate` and `resmom gap` take others with --data"
        )
    return data


def _name(thing: object) -> str:
    return f"{getattr(thing, '__module__', '')}.{getattr(thing, '__qualname__', type(thing).__qualname__)}"
