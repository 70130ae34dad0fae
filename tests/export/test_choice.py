"""Which network to take: by kNN and its standard error, else by label-free measures, else the student."""

import math
import re

import pytest

from resmom.export.choice import Evidence, prefer, standard_error


def test_the_standard_error_by_hand() -> None:
    """Two accuracies of one half on 100 images each: sqrt(2 x 0.25 / 100) = 7.07 points."""
    assert standard_error((50.0, 50.0), 100) == pytest.approx(7.0711, abs=1e-4)
    assert standard_error((0.0, 100.0), 100) == 0.0
    assert standard_error((90.0, 80.0), 400) == pytest.approx(100 * math.sqrt((0.09 + 0.16) / 400))


@pytest.mark.parametrize(
    ("student", "teacher", "queries", "network", "decided", "words"),
    [
        (50.0, 56.0, 100, "student", False, "within a standard error.*7.05 points.*No preference; take the student"),
        (50.0, 60.0, 100, "teacher", True, "1.4 times.*weak evidence"),
        (50.0, 80.0, 100, "teacher", True, r"4.7 times.*\(100 test images\)\.$"),
        (62.0, 60.0, 10_000, "student", True, "2.9 times"),
        (50.0, 51.0, None, "teacher", True, "number of test images is not known"),
        (50.0, 50.0, None, "student", False, "take the student"),
        (100.0, 100.0, 40, "student", False, "No preference"),
        (0.0, 100.0, 40, "teacher", True, "of 40 test images"),
    ],
)
def test_knn_decides_where_it_can(
    student: float, teacher: float, queries: int | None, network: str, decided: bool, words: str
) -> None:
    # Whatever the label-free measures say, they do not matter beside labels.
    found = prefer(Evidence((student, teacher), queries, (90.0, 10.0), 512, (90.0, 10.0)))
    assert (found.network, found.decided) == (network, decided)
    assert re.search(words, found.why), found.why


@pytest.mark.parametrize(
    ("evidence", "network", "decided"),
    [
        (Evidence(retrieval=(50.0, 70.0), views=512, rankme=(10.0, 20.0)), "teacher", True),
        (Evidence(retrieval=(70.0, 50.0), views=512, rankme=(20.0, 10.0)), "student", True),
        (Evidence(retrieval=(50.0, 70.0), views=512, rankme=(20.0, 10.0)), "student", False),  # they contradict
        (Evidence(retrieval=(50.0, 52.0), views=512, rankme=(10.0, 20.0)), "student", False),  # within its error of 3.1
        (Evidence(retrieval=(50.0, 70.0), rankme=(10.0, 20.0)), "student", False),  # counted on who knows how many
        (Evidence(retrieval=(70.0, 50.0), views=512, rankme=(9.0, 9.0)), "student", False),
        (Evidence(retrieval=(50.0, 70.0), views=512), "student", False),  # one measure alone
        (Evidence(retrieval=(50.0, 70.0), views=512, rankme=(10.0, 20.0), start_share=0.4), "student", False),
        (Evidence(retrieval=(50.0, 70.0), views=512, rankme=(10.0, 20.0), start_share=0.01), "teacher", True),
        (Evidence((math.nan, 50.0), 100, (50.0, 70.0), 512, (10.0, 20.0)), "teacher", True),
    ],
)
def test_without_labels_both_measures_must_agree_and_are_called_weak(
    evidence: Evidence, network: str, decided: bool
) -> None:
    found = prefer(evidence)
    assert (found.network, found.decided) == (network, decided)
    assert "weak evidence" in found.why
    assert ("40 % of its initial weights" in found.why) == (evidence.start_share == 0.4)


def test_without_any_measurement_the_student() -> None:
    found = prefer(Evidence())
    assert (found.network, found.decided) == ("student", False) and "Nothing was measured" in found.why
