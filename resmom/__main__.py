"""`python -m resmom` is `resmom`."""

import atexit
import os
import sys

from resmom.cli import main


def run() -> None:
    """The command line as a process of its own, which ends at once when its work is done.

    Python would take apart all that torch has imported, one object after the other: a second of the processor's time,
    several on a busy machine, for memory that the system takes back anyway. Threads, children and whatever else wants
    to end well have ended before: their handlers are called first. A fault of ours, or an output that nobody takes any
    more, ends as Python has it.
    """
    statuses: list[int] = []

    def leave() -> None:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        except (OSError, ValueError):
            return
        for status in statuses:
            os._exit(status)

    atexit.register(leave)  # called after all handlers that are registered later
    try:
        main()
    except SystemExit as end:
        if isinstance(end.code, int):
            statuses.append(end.code)
        raise


if __name__ == "__main__":
    run()
