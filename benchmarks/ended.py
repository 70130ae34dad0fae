"""How a benchmark's command ends: with its own status, or with a sentence and status 2 for what the user can mend."""

import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from resmom.errors import UserError


def ended(name: str, main: Callable[[Sequence[str]], int]) -> NoReturn:
    """Run `main` on the arguments of the process, and end it."""
    try:
        status = main(sys.argv[1:])
    except UserError as error:
        print(f"{name}: {error}", file=sys.stderr)
        status = 2
    sys.exit(status)
