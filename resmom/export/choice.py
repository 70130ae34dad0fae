"""Which of the two networks to take, and on what evidence."""

import math
from dataclasses import dataclass

from resmom.types import Network

Both = tuple[float, float]
"""A number of the student, and the same of the teacher."""

OLD = 0.1
"""A teacher in which its start still weighs more than this may only look better because it is less trained."""


@dataclass(frozen=True)
class Evidence:
    """What the newest measurements say of both networks; None where nothing was measured.

    `knn` and `retrieval` are percentages, counted on `queries` and `views` images; RankMe is an effective number of
    dimensions; `start_share` is the weight that the teacher's initial weights still have in it, in [0, 1].
    """

    knn: Both | None = None
    queries: int | None = None
    retrieval: Both | None = None
    views: int | None = None
    rankme: Both | None = None
    start_share: float | None = None


@dataclass(frozen=True)
class Preference:
    """The network to take; `decided` is False where the evidence prefers none, and the student is taken by default."""

    network: Network
    decided: bool
    why: str


def prefer(evidence: Evidence) -> Preference:
    """kNN decides where labels exist; else retrieval if RankMe agrees; the student where nothing does."""
    if evidence.knn is not None and all(map(math.isfinite, evidence.knn)):
        return _by_knn(evidence.knn, evidence.queries)
    if evidence.retrieval is not None and all(map(math.isfinite, evidence.retrieval)):
        return _without_labels(evidence, evidence.retrieval)
    return Preference("student", False, "Nothing was measured that compares the two networks: take the student.")


def standard_error(percentages: Both, images: int) -> float:
    """Of the difference of two accuracies in percent, each counted on so many images: binomial, as if independent.

    Both networks see the same images, which makes the true one smaller as a rule.
    """
    return math.sqrt(sum(p * (100.0 - p) for p in percentages) / images)


def _by_knn(knn: Both, queries: int | None) -> Preference:
    student, teacher = knn
    told = f"kNN: student {student:.2f} %, teacher {teacher:.2f} %"
    if queries is None:
        if student == teacher:
            return Preference("student", False, f"{told}: no difference, take the student.")
        return Preference(
            _better(knn),
            True,
            f"{told}. The number of test images is not known, so whether that is chance is not either.",
        )
    error = standard_error(knn, queries)
    counted = f"a standard error of the difference of at most about {error:.2f} points ({queries} test images)"
    if abs(student - teacher) <= error:
        return Preference("student", False, f"{told}: within {counted}. No preference; take the student.")
    if error == 0:
        return Preference(_better(knn), True, f"{told}, of {queries} test images.")
    times = abs(student - teacher) / error
    strength = "" if times >= 2 else " This is weak evidence: less than two of them."
    return Preference(_better(knn), True, f"{told}: {times:.1f} times {counted}.{strength}")


def _without_labels(evidence: Evidence, retrieval: Both) -> Preference:
    student, teacher = retrieval
    told = f"own other view found: student {student:.2f} %, teacher {teacher:.2f} %"
    if evidence.rankme is not None:
        told += f"; RankMe: student {evidence.rankme[0]:.1f}, teacher {evidence.rankme[1]:.1f}"
    weak = (
        "This is weak evidence: without labels nobody knows which images should be alike, and an untrained network can "
        "score well on both."
    )
    start = f"No preference on label-free measures ({told}); take the student. {weak}"
    if evidence.views is None or abs(student - teacher) <= standard_error(retrieval, evidence.views):
        return Preference("student", False, start)
    better = _better(retrieval)
    if evidence.rankme is None or evidence.rankme[0] == evidence.rankme[1] or _better(evidence.rankme) != better:
        return Preference("student", False, start)
    if better == "teacher" and evidence.start_share is not None and evidence.start_share > OLD:
        share = f"The teacher still holds {100 * evidence.start_share:.0f} % of its initial weights."
        return Preference("student", False, f"{start} {share}")
    return Preference(better, True, f"Both label-free measures agree ({told}). {weak}")


def _better(both: Both) -> Network:
    return "student" if both[0] >= both[1] else "teacher"
