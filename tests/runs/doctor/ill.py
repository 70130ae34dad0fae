"""Probes that do what broken installations do, and the process that answers them."""

import os
import signal
import sys
import time

from resmom.runs.doctor.apart import serve
from resmom.runs.doctor.finding import Answer, Finding


class OddError(Exception):
    """One that nobody has heard of."""


def well(*words: str) -> Answer:
    print("a package greets")  # on standard output, as some do
    return Answer((Finding("well", "ok", " ".join(words)),), {"process": os.getpid(), "path": sys.path})


def raises() -> Answer:
    raise OddError("libfoo.so.13: cannot open\nshared object file " + 500 * "x")


def dies(number: str) -> Answer:
    os.kill(os.getpid(), int(number))
    return well()


def exits() -> Answer:
    print("goodbye", file=sys.stderr)
    sys.exit(3)


def hangs() -> Answer:
    time.sleep(600)
    return well()


def devices() -> Answer:
    return Answer((Finding("devices", "ok", "two."),), {"devices": ["cpu", "cuda:0"]})


def device(name: str) -> Answer:
    return well(name) if name == "cpu" else dies(str(int(signal.SIGSEGV)))


def refuses() -> Answer:
    return Answer((Finding("refuses", "problem", "no.", "something"),), {"refused": "no"})


if __name__ == "__main__":
    serve({probe.__name__: probe for probe in (well, raises, dies, exits, hangs, devices, device, refuses)})
