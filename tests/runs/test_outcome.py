"""Before against after: which lines of metrics.jsonl become which rows, and how the table shows them."""

import math
from typing import Any

import pytest

from resmom.runs.outcome import Change, before_after, gain, table

Lines = list[dict[str, Any]]
MEASURES = ("retrieval", "rankme", "feature_sd", "alignment", "uniformity")


def knn(step: int, student: float, teacher: float) -> dict[str, Any]:
    return {"kind": "knn", "step": step, "student": student, "teacher": teacher, "protocol": "knn-v1 toy"}


def health(step: int, start: float, missing: tuple[str, ...] = ()) -> dict[str, Any]:
    """Measure number i of the student is start + i, of the teacher a hundred more."""
    line: dict[str, Any] = {"kind": "health", "step": step, "protocol": "health-v1 toy"}
    for number, name in enumerate(MEASURES):
        line |= {f"student/{name}": start + number, f"teacher/{name}": start + number + 100}
    return {key: value for key, value in line.items() if key not in missing}


NOISE: Lines = [
    {"kind": "train", "step": 10, "loss": 1.0},
    {"kind": "online", "step": 10, "student": 55.0, "protocol": "online-linear-v1"},
]


def by_name(changes: list[Change]) -> dict[tuple[str, str], tuple[float | None, float]]:
    return {(c.quantity, c.network): (c.before, c.after) for c in changes}


def test_with_labels_knn_comes_first_and_the_newest_counts() -> None:
    lines = [knn(0, 20.0, 20.0), health(0, 1.0), *NOISE, knn(10, 50.0, 40.0), knn(20, 60.0, 70.0), health(20, 5.0)]
    changes = before_after(lines)
    assert changes[:2] == [
        Change("kNN top-1 (%)", "student", 20.0, 60.0, "higher", "knn-v1 toy"),
        Change("kNN top-1 (%)", "teacher", 20.0, 70.0, "higher", "knn-v1 toy"),
    ]
    assert len(changes) == 2 + 2 * len(MEASURES)
    assert by_name(changes)["RankMe", "student"] == (2.0, 6.0)
    assert by_name(changes)["RankMe", "teacher"] == (102.0, 106.0)


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (20.0, 60.0, "the student has learned: its kNN rose by 40.0 points, and the noise of 400 test images is 6.3"),
        (60.0, 20.0, "the student is worse than before: its kNN fell by 40.0 points, and the noise of"),
        (
            50.0,
            52.0,
            "whether the student has learned cannot be told: its kNN changed by +2.0 points, and the noise of",
        ),
    ],
)
def test_whether_it_has_learned_is_said_in_a_sentence(before: float, after: float, words: str) -> None:
    changes = [Change("kNN top-1 (%)", "teacher", 0.0, 90.0, "higher", "knn-v1 k=20, bank 20, queries 400")]
    changes += [Change("kNN top-1 (%)", "student", before, after, "higher", "knn-v1 k=20, bank 20, queries 400")]
    assert gain(changes).startswith(words)
    assert gain(before_after([health(0, 1.0), health(10, 5.0)])) == ""
    assert gain(before_after([knn(10, 50.0, 40.0)])) == ""  # nothing is known of the start


def test_without_labels_the_measures_that_need_none() -> None:
    changes = before_after([health(0, 1.0), *NOISE, health(10, 5.0)])
    assert [(c.quantity, c.network, c.better) for c in changes[::2]] == [
        ("own other view found (%)", "student", "higher"),
        ("RankMe", "student", "higher"),
        ("feature sd", "student", "neither"),
        ("alignment", "student", "neither"),
        ("uniformity", "student", "neither"),
    ]
    assert [c.network for c in changes] == ["student", "teacher"] * len(MEASURES)
    assert all(c.protocol == "health-v1 toy" for c in changes)


@pytest.mark.parametrize("lines", [[], NOISE, [knn(0, 20.0, 20.0), health(0, 1.0)]])
def test_nothing_is_told_before_there_is_an_after(lines: Lines) -> None:
    assert before_after(lines) == []


def test_a_run_that_did_not_measure_its_start_has_no_before() -> None:
    changes = by_name(before_after([knn(10, 50.0, 40.0), knn(20, 60.0, 70.0)]))
    assert changes == {("kNN top-1 (%)", "student"): (None, 60.0), ("kNN top-1 (%)", "teacher"): (None, 70.0)}


def test_values_that_are_not_finite_or_missing_are_left_out() -> None:
    broken = health(20, 9.0, missing=("teacher/alignment",)) | {
        "student/rankme": math.nan,
        "student/uniformity": -math.inf,
    }
    changes = by_name(before_after([health(0, 1.0), health(10, 5.0), broken]))
    assert changes["RankMe", "student"] == (2.0, 6.0)  # the newest finite one
    assert changes["uniformity", "student"] == (5.0, 9.0)
    assert changes["alignment", "teacher"] == (104.0, 108.0)
    assert changes["RankMe", "teacher"] == (102.0, 110.0)
    # Where only the start was finite there is no after.
    lost = before_after([health(0, 1.0), health(10, 5.0) | {"student/rankme": math.nan}])
    assert ("RankMe", "student") not in by_name(lost) and ("RankMe", "teacher") in by_name(lost)


def test_the_table() -> None:
    told = table(before_after([knn(0, 20.0, 20.0), knn(20, 60.25, 70.5)])).splitlines()
    assert told == [
        "               before  student after  teacher after",
        "kNN top-1 (%)      20          60.25           70.5",
    ]


def test_the_table_shows_what_is_not_known_as_a_dash() -> None:
    one = Change("RankMe", "student", None, 12.34567, "higher", "p")
    other = Change("alignment", "teacher", 0.5, 0.25, "lower", "p")
    rows = [line.rsplit(maxsplit=3) for line in table([one, other]).splitlines()[1:]]
    assert rows == [["RankMe", "-", "12.35", "-"], ["alignment", "0.5", "-", "0.25"]]
    assert len({len(line) for line in table([one, other]).splitlines()}) == 1  # the columns stand below each other


def test_an_empty_table_is_its_head() -> None:
    assert table([]).split() == ["before", "student", "after", "teacher", "after"]
