"""Which network to keep: the best linear probe, unless it is no clearer than chance; then the last student's h."""

import re

import pytest

from resmom.export.keep import Entry, LeftOut, content, pick, preference, rows


def entry(network: str, step: int, linear: float, features: str = "h", loss: float = 1.0, knn: float = 50.0) -> Entry:
    return Entry(network, step, features, knn, linear, loss, 0.1, 0.0)  # type: ignore[arg-type]


LAST = entry("student", 20, 60.0)


@pytest.mark.parametrize(
    ("others", "held", "expected", "decided", "words"),
    [
        ([], 1000, LAST, False, r"^A linear probe reached 60.00 % .* best of 1 candidates\.$"),
        (
            [entry("teacher", 20, 58.0)],
            1000,
            LAST,
            False,
            r"^A linear probe reached 60.00 % .* best of 2 candidates\. Beside 58.00 %, the best of the teacher: 2.00 "
            r"points are within the noise of 4.40 points",
        ),
        (
            [entry("teacher", 20, 40.0)],
            1000,
            LAST,
            True,
            r"candidates\. Beside 40.00 %, the best of the teacher: 20.00 points are more than the noise of 4.38",
        ),
        (
            [entry("student", 20, 61.0, "stage3"), entry("teacher", 20, 40.0)],
            1000,
            LAST,
            True,
            "the last network is kept. Beside 40.00 %, the best of the teacher: 20.00 points are more than",
        ),
        (
            [entry("student", 20, 79.0, "stage3"), entry("teacher", 20, 80.0, "stage3")],
            1000,
            None,
            False,
            "20.00 points are more than .* Beside 79.00 %, the best of the student: 1.00 points are within the noise",
        ),
        (
            [entry("teacher", 10, 70.0)],
            1000,
            None,
            True,
            r"beside 60.00 % of .* 10.00 points are more than the noise of 4.24",
        ),
        ([entry("teacher", 20, 63.0, "stage3")], 1000, LAST, False, "3.00 points are within the noise of 4.35 points"),
        (
            [entry("student", 20, 60.0, "stage3", loss=0.5)],
            1000,
            LAST,
            False,
            "No difference that these images can tell",
        ),
        ([entry("student", 20, 80.0, "stage3"), entry("student", 20, 80.0, "stage2", knn=60.0)], 1000, None, True, ""),
    ],
)
def test_pick(others: list[Entry], held: int, expected: Entry | None, decided: bool, words: str) -> None:
    found = pick([*others[:1], LAST, *others[1:]], held)
    assert found.entry is (expected or others[-1]) and found.decided is decided
    assert re.search(words, found.why), found.why


def test_of_two_that_are_level_none_is_preferred_whichever_comes_first() -> None:
    for student, teacher in ((80.0, 79.9), (79.9, 80.0), (80.0, 80.0)):
        found = pick([entry("student", 20, student), entry("teacher", 20, teacher)], 100)
        written = content(found, [found.entry], 100, {"top1": 80.0, "data": "photos"}, {})
        assert preference(written).headline == "No preference: take the student."


def test_of_one_network_its_last_h_is_the_default() -> None:
    alone = [entry("teacher", 20, 60.0), entry("teacher", 10, 60.5)]
    assert pick(alone, 100).entry is alone[0]
    with pytest.raises(ValueError, match="nothing to choose from"):
        pick([], 100)


def test_the_file_says_all_that_the_card_needs() -> None:
    entries = [entry("teacher", 10, 70.0, "stage3, mean"), LAST]
    written = content(pick(entries, 1000), entries, 1000, {"top1": 71.5, "data": "photos"}, {})
    assert (written["network"], written["step"], written["features"], written["last_step"]) == (
        "teacher", 10, "stage3, mean", 20,
    )  # fmt: skip
    told = preference(written)
    assert told.headline == "Take the teacher." and told.decided
    assert told.why.startswith("Keep the teacher of step 10, features 'stage3, mean'. A linear probe reached 70.00 %")
    assert told.why.endswith("On the test images of photos, which had no part in this: 71.50 %.")
    assert rows(written) == [
        ("teacher", "10", "stage3, mean", "50.00", "70.00"), ("student", "20", "h", "50.00", "60.00"),
    ]  # fmt: skip


def test_what_was_left_out_is_named() -> None:
    left = [LeftOut("student", 30), LeftOut("teacher", 30, "stage3")]
    written = content(pick([LAST], 1000), [LAST], 1000, {"top1": 61.0, "data": "photos"}, {}, left_out=left)
    assert written["sentence"].endswith(
        " 61.00 %. Left out, for features that are not finite: the student of step 30; the teacher of step 30, "
        "features 'stage3'."
    )
    assert written["last_step"] == 30 and [e["network"] for e in written["left_out"]] == ["student", "teacher"]


def test_of_a_spoilt_run_none_is_to_be_kept() -> None:
    entries = [LAST, entry("teacher", 20, 59.0)]
    written = content(
        pick(entries, 1000), entries, 1000, {"top1": 61.0, "data": "photos"}, {}, refused="This run has collapsed."
    )
    assert written["sentence"].startswith(
        "Keep none of them. This run has collapsed. The best is the student of step 20"
    )
