"""Which network to take: by kNN and its standard error, else by label-free measures, else the student."""

import math
import re
from dataclasses import replace

import pytest

from resmom.diagnose.finding import SPOILT, Finding, Name
from resmom.export.choice import Evidence, Preference, advice, prefer


@pytest.mark.parametrize(
    ("student", "teacher", "queries", "headline", "words"),
    [
        (50.0, 56.0, 100, "No preference: take the student.", "no difference that these images can tell. 6.00 points "
         "are within the noise of 14.09 points .two standard errors of the difference: binomial, 100 .*kept because"),
        (50.0, 60.0, 100, "No preference: take the student.", "10.00 points are within the noise of 14.00"),
        (50.0, 80.0, 100, "Take the teacher.", r"30.00 points are more than the noise of 12.81 .*its own\)\.$"),
        (62.0, 60.0, 10_000, "Take the student.", "2.00 points are more than the noise of 1.38"),
        (50.0, 51.0, None, "Take the teacher.", "How large the noise is, is not known"),
        (50.0, 50.0, None, "No preference: take the student.", "no difference. The student is kept because"),
        (100.0, 100.0, 40, "No preference: take the student.", "no difference on 40 test images"),
        (0.0, 100.0, 40, "Take the teacher.", "100.00 points are more than the noise of 0.00"),
    ],
)  # fmt: skip
def test_knn_decides_where_it_can(
    student: float, teacher: float, queries: int | None, headline: str, words: str
) -> None:
    # Whatever the label-free measures say, they do not matter beside labels.
    found = prefer(Evidence((student, teacher), queries, (90.0, 10.0), 512, (90.0, 10.0)))
    assert found.headline == headline
    assert re.search(words, found.why), found.why


@pytest.mark.usefixtures("typed")
def test_knn_is_held_against_that_before_training() -> None:
    def of(before: float) -> Preference:
        return prefer(Evidence((50.0, 80.0), 100, knn_before=before))

    assert of(20.0) == prefer(Evidence((50.0, 80.0), 100))
    assert of(75.0).network == "teacher" and "Before training it was 75.00 %: these images tell no gain" in of(75.0).why
    lost = of(99.0)
    assert lost.headline == "Use neither network." and "training has made it worse. Lower --optim.lr" in lost.why


@pytest.mark.usefixtures("typed")
@pytest.mark.parametrize(
    ("before", "words"),
    [
        (None, ""),
        (20.0, "The better one gained 30.00 points, more than noise (5.66)."),
        (48.0, "These 512 images tell no gain from training: train longer"),
        (80.0, "By this measure training has made it worse: lower --optim.lr"),
    ],
)
def test_without_labels_too_it_is_said_what_training_has_brought(before: float | None, words: str) -> None:
    found = prefer(Evidence(retrieval=(50.0, 49.0), views=512, rankme=(10.0, 20.0), retrieval_before=before))
    assert words in found.evidence and ("before training" in found.evidence) is (before is not None)
    assert (found.network, found.decided) == ("student", False)


@pytest.mark.parametrize(
    ("evidence", "network", "decided"),
    [
        (Evidence(retrieval=(50.0, 70.0), views=512, rankme=(10.0, 20.0)), "teacher", True),
        (Evidence(retrieval=(70.0, 50.0), views=512, rankme=(20.0, 10.0)), "student", True),
        (Evidence(retrieval=(50.0, 70.0), views=512, rankme=(20.0, 10.0)), "student", False),  # they contradict
        (Evidence(retrieval=(50.0, 52.0), views=512, rankme=(10.0, 20.0)), "student", False),  # within its noise of 6.2
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


def finding(name: Name) -> Finding:
    return Finding(name, 90, f"{name} in words.", "Lower this.")


BETTER = Evidence((50.0, 80.0), 100)


@pytest.mark.parametrize(("name", "verb"), SPOILT.items())
def test_of_a_spoilt_run_neither_network_and_what_to_change(name: Name, verb: str) -> None:
    found = prefer(replace(BETTER, findings=[finding("loader-bound"), finding(name)], short="Too short."))
    assert (found.headline, found.network) == ("Use neither network.", None)
    assert found.why == f"This run {verb}: {name} in words. What to change: Lower this."


def test_a_run_too_short_to_be_judged_says_so() -> None:
    found = prefer(replace(BETTER, short="It is too short."))
    assert (found.headline, found.why) == ("Too early to use either network.", "It is too short.")


def test_other_findings_are_minded() -> None:
    few = prefer(replace(BETTER, findings=[finding("dimensional collapse")]))
    assert few.headline == "Take the teacher." and "Use it with care" in few.why
    frozen = prefer(replace(BETTER, findings=[finding("teacher frozen")]))
    assert frozen.headline == "Use neither network." and "training has not helped" in frozen.why
    student = prefer(Evidence((80.0, 50.0), 100, findings=[finding("teacher frozen"), finding("loader-bound")]))
    assert student.headline == "Take the student."
    assert advice(student, ("teacher",), True)[1].startswith(
        f"{prefer(Evidence((80.0, 50.0), 100)).evidence} The teacher is frozen: it is mostly the network that the run "
    )


@pytest.mark.usefixtures("typed")
def test_beside_one_file_the_advice_is_about_that_file() -> None:
    better, same = prefer(BETTER), prefer(Evidence((50.0, 51.0), 100))
    neither, early = prefer(replace(BETTER, findings=[finding("collapsed")])), prefer(Evidence(short="Short."))
    both = ("student", "teacher")
    assert advice(better, both, True) == (better.headline, better.why)
    assert advice(better, ("teacher",), True) == ("This is the teacher alone, the one to take.", better.evidence)
    headline, why = advice(better, ("student",), True)
    assert headline == "This is the student alone; the teacher is better."
    assert why.endswith("`resmom export RUN --network teacher` writes the other one.")
    for network in both:
        headline, why = advice(same, (network,), True)
        assert headline == f"This is the {network} alone." and "no difference that these images can tell" in why
        assert "is kept" not in why
        assert advice(neither, (network,), True)[0] == "Do not use this network."
        assert advice(early, (network,), True) == ("Too early to use this network.", "Short.")
    assert advice(neither, ("student",), False)[0] == "Do not use this network."
    assert advice(Preference("student", True, ""), ("student",), False) == ("", "")
