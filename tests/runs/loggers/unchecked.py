"""Calls with arguments of another kind, for a process that does not enforce types: nothing here imports conftest."""

from pathlib import Path
from typing import Any

import resmom
from resmom.errors import UserError


def refused(out: Path) -> list[str]:
    """What is said of arguments of another kind, in a process that does not enforce types."""
    said, wrong = [], list[Any]([5, [], ["x"], [{}]])
    for log_to in wrong:
        try:
            resmom.pretrain("cifar10", out, log_to=log_to)
        except UserError as error:
            said.append(str(error))
    return said
