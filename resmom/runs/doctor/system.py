"""Python and the operating system. Nothing here can fail."""

import platform
from collections.abc import Iterator
from dataclasses import dataclass

from resmom.runs.doctor.finding import Answer, Finding, answer
from resmom.version import VERSION


@dataclass(frozen=True)
class System:
    python: str
    system: str
    """Linux, Darwin, Windows."""
    machine: str
    resmom: str = VERSION


def system() -> Answer:
    """The probe of Python and the operating system."""
    found = System(platform.python_version(), platform.system(), platform.machine())
    return answer(found, judge_system(found))


def judge_system(found: System) -> Iterator[Finding]:
    words = f"resmom {found.resmom}, Python {found.python}, {found.system} on {found.machine}"
    if found.system not in ("Linux", "Darwin"):
        yield Finding(
            "system",
            "problem",
            f"{words}: resmom runs on Linux and macOS, because a run locks its folder with fcntl.",
            "use Linux; on Windows the Windows Subsystem for Linux will do",
        )
    else:
        yield Finding("system", "ok", words + ("." if found.system == "Linux" else "; only Linux is tested."))
