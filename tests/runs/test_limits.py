"""What the system grants: control groups of both versions, made up, and the machine itself."""

import os
from pathlib import Path

import pytest

from resmom.runs import limits

NONE = "9223372036854771712\n"
"""How the first version of control groups says that there is no limit."""


@pytest.fixture
def groups(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder of control groups; a test writes into it, and into `membership` beside it."""
    monkeypatch.setattr(limits, "CONTROL_GROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(limits, "MEMBERSHIP", tmp_path / "membership")
    return tmp_path / "cgroup"


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(content)


def test_without_control_groups_the_machine_counts(groups: Path) -> None:
    assert limits.memory_limit() is None and limits.core_quota() is None
    assert 2**20 < limits.free_ram() < limits.ram() < 2**50
    assert 1 <= limits.allowed_cores() <= (os.cpu_count() or 1)
    assert limits.usable_cores() == limits.allowed_cores()


def test_memory_of_a_container(groups: Path) -> None:
    stat = "anon 300000\ninactive_file 500000\nactive_file 100000\n"
    write(groups, memory__max="1000000\n", memory__current="900000\n", memory__stat=stat)
    # Of what counts as used, half a million bytes are files just read, which make room when it is needed.
    assert limits.free_ram() == 600_000 and limits.memory_limit() == 1_000_000
    write(groups, memory__max="max\n")
    assert limits.free_ram() > 2**20 and limits.memory_limit() is None


def test_the_tightest_of_nested_groups_counts(groups: Path) -> None:
    """As of a job within a user's share of a machine, where the process is not at the top."""
    (groups.parent / "membership").write_text("0::/users/me/job\n")
    stat = "inactive_file 0\n"
    write(
        groups / "users", memory__max="900000\n", memory__current="800000\n", memory__stat=stat, cpu__max="max 100000"
    )
    write(groups / "users/me/job", memory__max="5000000\n", memory__current="10\n", memory__stat=stat)
    write(groups / "users", cpu__max="max 100000\n")
    write(groups / "users/me", cpu__max="150000 100000\n")
    write(groups / "others", memory__max="5\n", memory__current="5\n", memory__stat=stat, cpu__max="1000 100000\n")
    assert limits.free_ram() == 100_000 and limits.memory_limit() == 900_000
    assert limits.core_quota() == 1.5
    assert limits.usable_cores() == min(1.5, limits.allowed_cores())


def test_the_first_version(groups: Path) -> None:
    (groups.parent / "membership").write_text("12:memory:/docker/abc\n11:cpu,cpuacct:/docker/abc\n1:name=systemd:/x\n")
    stat = "inactive_file 7\ntotal_inactive_file 300000\n"
    write(
        groups / "memory",  # in the container the host's path below it is not to be seen
        memory__limit_in_bytes="2000000\n",
        memory__usage_in_bytes="1500000\n",
        memory__stat=stat,
    )
    write(groups / "cpu,cpuacct" / "docker" / "abc", cpu__cfs_quota_us="50000\n", cpu__cfs_period_us="100000\n")
    assert limits.free_ram() == 800_000 and limits.core_quota() == 0.5
    write(groups / "memory", memory__limit_in_bytes=NONE)
    write(groups / "cpu,cpuacct" / "docker" / "abc", cpu__cfs_quota_us="-1\n")
    assert limits.memory_limit() is None and limits.core_quota() is None


def test_a_place_to_be_lies_on_the_disk_of_what_exists(tmp_path: Path) -> None:
    assert limits.existing(tmp_path / "a/b/c") == tmp_path
    assert limits.free_disk(tmp_path / "a/b/c") == pytest.approx(limits.free_disk(tmp_path), rel=0.1)
