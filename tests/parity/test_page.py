"""docs/parity.md names every method in each of its tables, and only tests and commits that there are."""

import json
import re
from pathlib import Path

import pytest

from resmom.methodconfig import METHODS
from tests.methods import golden

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "parity.md").read_text()
TABLES = PAGE.split("\n## ")[1:4]
"""Formula, golden losses, published code."""


def named(table: str) -> list[str]:
    """The methods that a table's rows begin with."""
    return re.findall(r"^\| `(\w+)`", table, re.MULTILINE)


@pytest.mark.parametrize("number", range(3))
def test_every_method_is_in_the_table(number: int) -> None:
    assert set(named(TABLES[number])) == set(METHODS)


def test_the_tests_that_it_names_exist() -> None:
    found = set(re.findall(r"tests/[\w/.]+", PAGE))
    assert all((ROOT / file).is_file() for file in found), [file for file in found if not (ROOT / file).is_file()]
    ours = {f"tests/parity/{file.name}" for file in Path(__file__).parent.glob("test_*.py")}
    assert ours <= found


def test_the_golden_series_are_those_of_the_file() -> None:
    series = set(re.findall(r"`(\w+ (?:sgd|lars))`", TABLES[1]))
    assert series == {f"{case.method} {case.optimiser}" for case in golden.CASES}


def test_the_commits_are_those_recorded() -> None:
    recorded = json.loads((ROOT / "tests" / "golden" / "parity.json").read_text())
    for repository, numbers in recorded.items():
        assert f"{repository}, {numbers['commit'][:7]}" in PAGE, repository
    told = set(re.findall(r"([\w-]+/[\w-]+), [0-9a-f]{7}\b", PAGE))
    assert told == set(recorded)


def test_every_recording_module_is_told() -> None:
    modules = {file.stem for file in Path(__file__).parent.glob("record*.py")}
    assert set(re.findall(r"tests\.parity\.(\w+)", PAGE)) == modules
