"""What the system lets this process have: cores, memory, disk, within the limits of its control groups. No torch."""

import os
import platform
import shutil
from pathlib import Path

CONTROL_GROUPS = Path("/sys/fs/cgroup")
"""Where the system tells the limits of containers, jobs and services."""
MEMBERSHIP = Path("/proc/self/cgroup")
"""Which of them this process is in."""

CROWDED = 0.8
"""Share of the machine's cores that others keep busy, from which it is worth a word."""

_NONE = 2**60
"""Bytes from which on a limit is none: the first version of control groups writes a very large number."""
_MEMORY = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)
"""Files of limit and use, and the line of memory.stat with what gives way: in either version of control groups."""


def allowed_cores() -> int:
    """Cores that the scheduler may put this process on (its affinity)."""
    return len(os.sched_getaffinity(0)) if platform.system() == "Linux" else os.cpu_count() or 1


def core_quota() -> float | None:
    """Cores' worth of time that the control groups grant, at least one period in the long run; None: no limit."""
    shares = [share for level in _levels("cpu") if (share := _share(level)) is not None]
    return min(shares, default=None)


def usable_cores() -> float:
    """Cores' worth of time that this process may use, by its affinity and its control groups."""
    quota = core_quota()
    return allowed_cores() if quota is None else min(allowed_cores(), quota)


def load() -> float:
    """Threads of all programs that wanted a core in the last minute, on average; on Linux with those that wait for a
    disk."""
    return os.getloadavg()[0]


def crowded(wanted: float, cores: int) -> bool:
    """Whether so many threads are nearly all that so many cores can run, or more."""
    return wanted >= CROWDED * cores


def free_ram() -> int:
    """Bytes of RAM that this process may still take, within its control groups' limits."""
    return min([_available(), *(limit - used for limit, used in _memory())])


def memory_limit() -> int | None:
    """Bytes of RAM that the control groups grant to all of this process's container or job; None: no limit."""
    return min((limit for limit, _ in _memory()), default=None)


def ram() -> int:
    """Bytes of RAM of the machine."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def existing(place: Path) -> Path:
    """The place itself, or the nearest folder above it that exists."""
    place = place.absolute()
    while not place.exists():
        place = place.parent
    return place


def free_disk(place: Path) -> int:
    """Bytes free on the disk where a place is, or will be."""
    return shutil.disk_usage(existing(place)).free


def _available() -> int:
    info = Path("/proc/meminfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    if platform.system() == "Darwin":
        return ram() // 2
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _levels(controller: str) -> list[Path]:
    """The folders of all control groups around this process, in either version; some may not exist."""
    try:
        lines = MEMBERSHIP.read_text().splitlines()
    except OSError:
        lines = []
    found = [CONTROL_GROUPS]
    for line in lines:
        _, names, inner = line.split(":", 2)
        if names and controller not in names.split(","):
            continue
        top = CONTROL_GROUPS / names
        place = top / inner.lstrip("/")
        # In a container the path may be the host's, of which only the top is to be seen.
        found += [level for level in (place, *place.parents) if level.is_relative_to(top)]
    return found


def _memory() -> list[tuple[int, int]]:
    """(limit, used) in bytes of every control group that has a limit."""
    found = []
    for level in _levels("memory"):
        for limit, used, gives_way in _MEMORY:
            try:
                most, now = (int((level / name).read_text()) for name in (limit, used))
                kept = dict(line.split() for line in (level / "memory.stat").read_text().splitlines())
            except (OSError, ValueError):  # no such control group, or "max"
                continue
            if most < _NONE:
                # Files read and not in use count as used, but give way: else a data set just read would fill it all.
                found.append((most, now - int(kept.get(gives_way, 0))))
    return found


def _share(level: Path) -> float | None:
    try:
        if (level / "cpu.max").exists():
            quota, period = (level / "cpu.max").read_text().split()
        else:
            quota, period = ((level / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        granted = int(quota) / int(period)
    except (OSError, ValueError):  # no such control group, or "max"
        return None
    return granted if granted > 0 else None  # -1: no limit
