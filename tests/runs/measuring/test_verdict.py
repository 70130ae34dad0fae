"""The sentence under the results of `resmom evaluate`."""

import pytest

from resmom.evaluate.score import Score
from resmom.runs.measuring.rows import Row
from resmom.runs.measuring.verdict import verdict


def row(network: str, top1: float, protocol: str = "knn-v1 k=20, bank 300, queries 300", **more: object) -> Row:
    return Row(network, Score(top1, None, protocol), 10, "images", "f", **more)  # type: ignore[arg-type]


BOTH = [row("student", 30.0), row("teacher", 31.0), row("teacher", 60.0, "linear-v1")]


@pytest.mark.parametrize(
    ("floor", "words"),
    [
        (28.0, "kNN of the teacher: 3.00 points above pixels, within the noise of 7.44 points"),
        (28.0, "these images tell no gain from training"),
        (10.0, "21.00 points above pixels, more than the noise of 6.37 points"),
        (60.0, "29.00 points below pixels, more than the noise of 7.78 points"),
        (60.0, "training has not helped"),
    ],
)
def test_the_better_network_is_held_against_the_best_of_what_needs_no_learning(floor: float, words: str) -> None:
    assert words in verdict([*BOTH, row("random", 5.0), row("pixels", floor)])


@pytest.mark.parametrize(("name", "words"), [("init", "these weights"), ("given", "this module")])
def test_weights_without_a_run_are_held_against_it_too(name: str, words: str) -> None:
    told = verdict([row(name, 40.0), row("raw pixels", 10.0)])
    assert told.startswith(f"kNN of {words}: 30.00 points above raw pixels, more than")
    assert verdict([row("random", 40.0), row("raw pixels", 10.0)]) == ""  # a floor itself


@pytest.mark.usefixtures("typed")
def test_without_baselines_the_way_to_have_them_is_told() -> None:
    assert verdict(BOTH) == "whether that is better than no training: add --baselines"


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [row("student", 60.0, "linear-v1")],
        [row("student", 60.0, "knn-v1 k=20")],
        [row("student", 60.0, draws=(59.0, 61.0))],
    ],
)
def test_nothing_is_said_where_nothing_can_be(rows: list[Row]) -> None:
    assert verdict(rows) == ""
