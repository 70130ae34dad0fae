"""Runs calls of the command line where nothing heavy can be imported: a process of its own, started by test_start.py.

    echo '["gap --help"]' | python -m tests.commands.without

It answers with what each call came to: its exit status and what it said on standard error, or the name of the package
that it began to import.
"""

import contextlib
import io
import json
import sys

from resmom import cli

HEAVY = ("torch", "torchvision", "timm", "sklearn", "scipy")


class Imported(BaseException):
    """A heavy package is asked for. No `Exception`, so that nothing takes it for a package that is not installed."""


class Refusal:
    """Finds no heavy package, and says so."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name in HEAVY:
            raise Imported(name)


def outcome(line: str) -> tuple[int, str] | str:
    """What the call `resmom LINE` comes to."""
    sys.argv = ["resmom", *line.split()]
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
            cli.main()
    except SystemExit as end:
        return int(end.code or 0), said.getvalue()
    except Imported as heavy:
        return str(heavy)
    raise AssertionError("a call ends with a status")


if __name__ == "__main__":
    sys.meta_path.insert(0, Refusal())  # type: ignore[arg-type]
    json.dump({line: outcome(line) for line in json.load(sys.stdin)}, sys.stdout)
