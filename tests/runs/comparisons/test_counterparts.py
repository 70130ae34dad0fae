"""Each arm against its own: the arm that is the same but for one option."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import resmom
from resmom.config import to_json
from resmom.errors import UserError
from resmom.jsonfiles import append_line
from resmom.recipes import recipe
from resmom.runs.comparisons.arms import comparison
from resmom.runs.comparisons.comparisontables import written
from resmom.runs.comparisons.counterparts import WEIGHT
from resmom.runs.comparisons.results import RESULTS
from resmom.runs.options import changed
from tests.conftest import Call
from tests.runs.comparisons.grids import line

GRID: dict[str, tuple[dict[str, Any], float]] = {
    "method=mocov3,weight=0": ({"method": "mocov3", "residual.weight": 0}, 40.0),
    "method=mocov3,weight=1,site=p": ({"method": "mocov3", "residual.weight": 1, "residual.site": "p"}, 42.0),
    "method=mocov3,weight=1,site=z": ({"method": "mocov3", "residual.weight": 1, "residual.site": "z"}, 41.0),
    "method=byol,weight=0": ({"method": "byol", "residual.weight": 0}, 30.0),
    "method=byol,weight=1,site=p": ({"method": "byol", "residual.weight": 1, "residual.site": "p"}, 33.0),
}
"""What `--vary method=mocov3,byol --vary residual.weight=0,1 --vary residual.site=p,z` makes, but for one arm."""


def cells(grid: dict[str, tuple[dict[str, Any], float]] = GRID) -> list[dict[str, Any]]:
    """Three seeds of each arm; of the second method's the term's gain varies more."""
    lines = [
        {**line(arm, seed, place, knn__student=value + seed + seed * 0.1 * place), "settings": settings}
        for place, (arm, (settings, value)) in enumerate(grid.items())
        for seed in range(3)
    ]
    for each in lines:
        each["run"]["residual"]["weight"] = float(each["settings"].get(WEIGHT, 0))
    return lines


@pytest.mark.parametrize("against", ["weight=0", "residual.weight=0", "--residual.weight=0", "weight=0.0", "weight= 0"])
def test_each_arm_is_compared_with_its_own(against: str) -> None:
    found = comparison(cells(), against)
    assert [(arm.name, arm.base) for arm in found.arms] == [
        ("method=mocov3,weight=0", ""),
        ("method=mocov3,weight=1,site=p", "method=mocov3,weight=0"),
        ("method=mocov3,weight=1,site=z", "method=mocov3,weight=0"),
        ("method=byol,weight=0", ""),
        ("method=byol,weight=1,site=p", "method=byol,weight=0"),
    ]
    gains = {arm.name: arm.against["knn/student"].difference.mean for arm in found.arms if arm.against}
    assert gains == pytest.approx(
        {"method=mocov3,weight=1,site=p": 2.1, "method=mocov3,weight=1,site=z": 1.2, "method=byol,weight=1,site=p": 3.1}
    )
    text = str(found)
    assert f"differences are against the same with {against} on the same seeds" in text and "--against" not in text
    assert found.plain()["against"] == against and found.plain()["arms"][4]["base"] == "method=byol,weight=0"


def test_other_options_tell_arms_apart_too_and_arms_without_their_own_are_named() -> None:
    found = comparison(cells(), "method=mocov3")
    pairs = {arm.name: arm.base for arm in found.arms if arm.base}
    assert pairs == {
        "method=byol,weight=0": "method=mocov3,weight=0",
        "method=byol,weight=1,site=p": "method=mocov3,weight=1,site=p",
    }
    sited = comparison(cells(), "site=p")
    assert {arm.name: arm.base for arm in sited.arms if arm.base} == {
        "method=mocov3,weight=1,site=z": "method=mocov3,weight=1,site=p"
    }
    told = str(sited)
    assert "nothing to compare with: method=mocov3,weight=0, method=byol,weight=0" in told
    assert "compare with: method=byol,weight=1,site=p" not in told  # others could be compared with that one


def test_an_option_that_an_arm_leaves_at_its_default() -> None:
    """As in a grid file, whose plain arms set nothing."""
    grid = {
        "plain": ({}, 40.0),
        "term": ({"residual.weight": 1}, 42.0),
        "warm": ({"method.temperature": 0.1}, 39.0),
        "warm, term": ({"method.temperature": 0.1, "residual.weight": 1}, 43.0),
    }
    lines = cells(grid)
    for each in lines:
        each["run"]["residual"]["weight"] = each["settings"].get("residual.weight", 0)
    found = comparison(lines, "weight=0")
    assert [(arm.name, arm.base) for arm in found.arms if arm.base] == [("term", "plain"), ("warm, term", "warm")]


@pytest.mark.parametrize(
    ("values", "asked"),
    [
        ((1e-4, 1e-3), ("0.0001", "1e-4", ".0001")),
        ((True, False), ("true", "True")),
        (("all", "none"), ("all",)),
        (([0.5, 1.0], []), ("[0.5, 1]", "[0.5,1.0]")),
        ((None, 1), ("null",)),
    ],
)
def test_a_value_is_known_however_it_is_written(values: tuple[Any, Any], asked: tuple[str, ...]) -> None:
    lines = cells({"one": ({"train.x": values[0]}, 40.0), "other": ({"train.x": values[1]}, 42.0)})
    for value in asked:
        assert {arm.name: arm.base for arm in comparison(lines, f"x={value}").arms if arm.base} == {"other": "one"}
    with pytest.raises(UserError, match="no two arms are the same"):
        comparison(lines, "x=1.5")


PAIR: dict[str, tuple[dict[str, Any], float]] = {"plain": ({}, 40.0), "term": ({"residual.weight": 2}, 42.0)}


def renamed(lines: list[dict[str, Any]], more: str = "") -> list[dict[str, Any]]:
    return [{**each, "arm": each["arm"] + more} for each in lines]


@pytest.mark.parametrize("apart", ["a setting", "a method"])
def test_arms_of_another_comparison_are_compared_with_their_own(apart: str) -> None:
    """What all arms of a comparison have is in none of their settings: another temperature, a method from Python."""
    first, second = cells(PAIR), renamed(cells(PAIR), " there")
    for each in second:
        if apart == "a method":
            each["own"] = {"method": "mine.Mine"}
        else:
            each["run"]["method"]["temperature"] = 0.05
    found = comparison([*first, *second], "residual.weight=0")
    assert {arm.name: arm.base for arm in found.arms if arm.base} == {"term": "plain", "term there": "plain there"}
    alike = renamed(cells(PAIR), " again")  # and where nothing else is apart, either would do
    found = comparison([*first, *alike[3:]], "residual.weight=0")
    assert {arm.name: arm.base for arm in found.arms if arm.base} == {"term": "plain", "term again": "plain"}


def test_arms_of_a_derived_run_are_compared_by_a_part_that_brings_more() -> None:
    """A method that is named comes with an optimiser, views and a teacher of its own, which no setting says."""
    base = recipe("mocov3_cifar100_tiny")
    grid = {
        f"method={method},weight={weight}": ({"method": method, "residual.weight": weight}, 40.0)
        for method in ("mocov3", "ressl")
        for weight in (0, 1)
    }
    lines = cells(grid)
    for each in lines:
        run = changed(base, each["settings"], images=1000)
        each["run"] = json.loads(json.dumps(to_json(replace(run, train=replace(run.train, seed=each["seed"])))))
    by_method = comparison(lines, "method=mocov3")
    assert {arm.name: arm.base for arm in by_method.arms if arm.base} == {
        f"method=ressl,weight={weight}": f"method=mocov3,weight={weight}" for weight in (0, 1)
    }
    for weight, other in (("0", "1"), ("1", "0")):
        found = comparison(lines, f"weight={weight}")
        assert {arm.name: arm.base for arm in found.arms if arm.base} == {
            f"method={method},weight={other}": f"method={method},weight={weight}" for method in ("mocov3", "ressl")
        }


def test_seeds_of_two_methods_from_python_are_not_averaged() -> None:
    lines = cells({"plain": ({}, 40.0)})
    lines[1]["own"] = {"method": "mine.Mine"}
    with pytest.raises(
        UserError, match="plain differ in more than their seed, in what was given in Python; they cannot"
    ):
        comparison(lines)


def test_what_is_no_difference_of_training() -> None:
    """How often a run is measured, and the pairs that the term needs in a method whose teacher sees other views."""
    grid = {
        "plain": ({"method": "mocov2", "log.knn_epochs": 0.5}, 40.0),
        "term": ({"method": "mocov2", "residual.weight": 1, "residual.site": "z", "method.same_view": True}, 42.0),
        "pairs": ({"method": "mocov2", "method.queue": 64, "method.same_view": True}, 41.0),
    }
    lines = cells(grid)
    for each in lines:
        each["run"]["residual"]["weight"] = each["settings"].get("residual.weight", 0)
    found = comparison(lines, "weight=0")
    assert [(arm.name, arm.base) for arm in found.arms if arm.base] == [("term", "plain")]


def test_all_of_a_table_together() -> None:
    alone, both = (comparison(cells(), "weight=0", together) for together in (False, True))
    assert {arm.against["knn/student"].confidence for arm in alone.arms if arm.base} == {0.95}
    confidences = [arm.against["knn/student"].confidence for arm in both.arms if arm.base]
    assert confidences == pytest.approx([1 - 0.05 / 3] * 3)


def test_what_did_not_learn_is_said_of_its_own_arms_alone() -> None:
    lines = cells()
    for one in lines:
        if one["arm"] == "method=byol,weight=0":
            one["measures"] = {"knn/student": 10.0 + one["seed"] / 9}
    told = str(comparison(lines, "weight=0"))
    assert told.startswith("method=byol,weight=0, which others are compared with, is not shown to have learned: ")
    assert "no difference from it is shown" in told.splitlines()[0]
    against = {arm.name: arm.against for arm in comparison(lines, "weight=0").arms if arm.base}
    assert [name for name, found in against.items() if not found] == ["method=byol,weight=1,site=p"]
    assert not str(comparison(lines)).startswith("method=byol")


def test_the_forms_for_papers() -> None:
    found = comparison(cells(), "weight=0")
    assert "| against the same with weight=0, same seeds |" in written(found, "markdown")
    assert r"against the same with weight=0 & resolved" in written(found, "latex")
    rows = list(csv.DictReader(io.StringIO(written(found, "csv"))))
    assert [row["against"] for row in rows] == [arm.base for arm in found.arms]


@pytest.mark.parametrize(
    ("against", "words"),
    [
        ("weigth=0", "no option that arms set, of the name weigth; there are the arms method=mocov3,weight=0, .* which "
         "set method, residual.weight, residual.site"),
        ("weight=3", "no two arms are the same but for residual.weight, with 3 in one of them; .*, in which "
         "residual.weight is 0, 1. Name another value"),
        ("weight", "there is no arm weight to compare with; .* Of an option name one of its values, too: "
         "weight=0, weight=1$"),
        ("nothing", "there is no arm nothing to compare with; there are method=mocov3,weight=0, "),
    ],
)  # fmt: skip
def test_what_there_is_not_is_refused(against: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        comparison(cells(), against)


def test_two_options_of_one_short_name() -> None:
    grid = {
        f"{one} {two}": ({"method.temperature": one, "knn.temperature": two}, 40.0) for one in (1, 2) for two in (3, 4)
    }
    with pytest.raises(UserError, match=r"temperature may be method.temperature or knn.temperature; give the whole"):
        comparison(cells(grid), "temperature=1")
    found = comparison(cells(grid), "knn.temperature=3")
    assert {arm.name: arm.base for arm in found.arms if arm.base} == {"1 4": "1 3", "2 4": "2 3"}


def test_the_command_and_python_show_it_and_a_table_against_one_arm_says_so(tmp_path: Path, call: Call) -> None:
    for each in cells():
        append_line(tmp_path / RESULTS, each)
    status, out, _ = call("compare", "show", tmp_path)
    assert status == 0 and "`resmom compare show ... --against residual.weight=0` compares" in out
    assert "`resmom.comparison(..., against='residual.weight=0')` compares each" in str(resmom.comparison(tmp_path))
    status, out, _ = call("compare", "show", tmp_path, "--against", "weight=0")
    assert status == 0 and out == f"{resmom.comparison(tmp_path, against='weight=0')}\n"
    status, out, _ = call("compare", "show", tmp_path, "--against", "weight=0", "--json")
    assert json.loads(out)["against"] == "weight=0"
    assert str(resmom.comparison([tmp_path / RESULTS], together=True)).count("hold together") == 1
    assert "--against" not in str(comparison([each for each in cells() if "byol" not in each["arm"]]))
    status, _, err = call("compare", "show", tmp_path, "--against", "size=0")
    assert status == 2 and err.count("\n") == 1
