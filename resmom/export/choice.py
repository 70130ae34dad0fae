"""Which of the two networks to take, on what evidence; or that neither should be used."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from resmom.called import called, either
from resmom.diagnose.finding import SPOILT, Finding
from resmom.diagnose.noise import Both, noise, noise_words
from resmom.which import Network

OLD = 0.1
"""A teacher in which its start still weighs more than this may only look better because it is less trained."""
FROZEN = "The teacher is frozen: it is mostly the network that the run started from"
DEFAULT = "The student is kept because it is the network that the loss trains, and the teacher an average of it."


@dataclass(frozen=True)
class Evidence:
    """What the newest measurements say of both networks; None where nothing was measured.

    `knn` and `retrieval` are percentages, counted on `queries` and `views` images, `knn_before` and
    `retrieval_before` those of the network the run started from; RankMe is an effective number of dimensions;
    `start_share` is the weight that the teacher's initial weights still have in it, in [0, 1]. `findings` are what
    is wrong with the run; `short` says that it is too short to be judged, if it is.
    """

    knn: Both | None = None
    queries: int | None = None
    retrieval: Both | None = None
    views: int | None = None
    rankme: Both | None = None
    start_share: float | None = None
    knn_before: float | None = None
    retrieval_before: float | None = None
    findings: Sequence[Finding] = ()
    short: str = ""


@dataclass(frozen=True)
class Preference:
    """The network to take, None where that is neither.

    `decided` is False where the evidence prefers none: the student is then taken by default, or what was chosen among
    layers and steps; or, where `network` is None, nothing can be said yet.
    """

    network: Network | None
    decided: bool
    evidence: str

    @property
    def headline(self) -> str:
        """The advice in a few words."""
        if self.network is None:
            return "Use neither network." if self.decided else "Too early to use either network."
        return f"Take the {self.network}." if self.decided else f"No preference: take the {self.network}."

    @property
    def why(self) -> str:
        """The evidence, and what decides where it does not."""
        by_default = self.network == "student" and not self.decided
        return f"{self.evidence} {DEFAULT}" if by_default else self.evidence


def prefer(evidence: Evidence) -> Preference:
    """Neither of a run that is spoilt, too short, or worse than its start; else kNN decides where labels exist; else
    retrieval if RankMe agrees; the student where nothing does."""
    if (unfit := neither(evidence)) is not None:
        return unfit
    if evidence.knn is not None and all(map(math.isfinite, evidence.knn)):
        found = _by_knn(evidence, evidence.knn)
    elif evidence.retrieval is not None and all(map(math.isfinite, evidence.retrieval)):
        found = _without_labels(evidence, evidence.retrieval)
    else:
        found = Preference("student", False, "Nothing was measured that compares the two networks.")
    return minding(evidence, found)


def neither(evidence: Evidence, taken: Network | None = None) -> Preference | None:
    """That neither network should be used, or not yet, whatever else speaks for one; None where nothing forbids it.

    `taken` is the network that something else prefers, which may be one that has not moved.
    """
    if (refused := refusal(evidence.findings)) is not None:
        return refused
    if evidence.short:
        return Preference(None, False, evidence.short)
    if (worse := _worse(evidence)) is not None:
        return worse
    old = [finding for finding in evidence.findings if finding.name == "teacher frozen"]
    if taken != "teacher" or not old:
        return None
    return Preference(None, True, f"{FROZEN}, so training has not helped. What to change: {old[0].remedy}")


def minding(evidence: Evidence, found: Preference) -> Preference:
    """The preference `found` by whatever means, with what the findings say of the network that it takes."""
    names = {finding.name for finding in evidence.findings}
    if "teacher frozen" in names:
        if found.network == "teacher":
            return Preference(None, True, f"{found.evidence} {FROZEN}, so training has not helped.")
        found = replace(found, evidence=f"{found.evidence} {FROZEN}.")
    if "dimensional collapse" in names:
        care = "Use it with care: it lives in few of its dimensions (dimensional collapse), see the findings."
        return replace(found, evidence=f"{found.evidence} {care}")
    return found


def refusal(findings: Sequence[Finding]) -> Preference | None:
    """That neither network should be used, whatever was measured, and what to change; None where nothing forbids it."""
    spoilt = [finding for finding in findings if finding.spoils]
    if not spoilt:
        return None
    told = " ".join(f"This run {SPOILT[f.name]}: {f.words} What to change: {f.remedy}" for f in spoilt)
    return Preference(None, True, told)


def advice(preference: Preference, exported: Collection[Network], teacher: bool) -> tuple[str, str]:
    """What to say beside the files of the `exported` networks: a headline, empty where nothing is advised, and why.

    Beside one file of two it speaks of that file; where the run has no `teacher` it compares nothing.
    """
    if len(exported) > 1:
        return preference.headline, preference.why
    (own,) = exported
    if preference.network is None:
        headline = "Do not use this network." if preference.decided else "Too early to use this network."
        return headline, preference.evidence
    if not teacher:
        return "", preference.evidence
    alone = f"This is the {own} alone"
    if not preference.decided:
        return f"{alone}.", f"Beside the other network: {preference.evidence}"
    if preference.network == own:
        return f"{alone}, the one to take.", preference.evidence
    name = preference.network
    other = f"{either(f'`resmom export RUN --network {name}`', f'export(network={name!r})')} writes the other one."
    return f"{alone}; the {preference.network} is better.", f"{preference.evidence} {other}"


def _worse(evidence: Evidence) -> Preference | None:
    """That training has made kNN worse by more than noise, if it has."""
    knn, before, queries = evidence.knn, evidence.knn_before, evidence.queries
    if knn is None or before is None or queries is None or not all(map(math.isfinite, (*knn, before))):
        return None
    best = max(knn)
    if before - best <= noise((before, best), queries):
        return None
    worse = f"The network that the run started from had {before:.2f} %, more by more than noise"
    told = f"{_knn_words(knn)}. {worse}: training has made it worse. Lower {called('optim.lr')}, or train longer."
    return Preference(None, True, told)


def _knn_words(knn: Both) -> str:
    return f"kNN: student {knn[0]:.2f} %, teacher {knn[1]:.2f} %"


def _by_knn(evidence: Evidence, knn: Both) -> Preference:
    student, teacher = knn
    told, queries = _knn_words(knn), evidence.queries
    before, best = evidence.knn_before, max(knn)
    if queries is None:
        unknown = "How large the noise is, is not known, since the number of test images is not: this may be chance."
        if student == teacher:
            return Preference("student", False, f"{told}: no difference.")
        return Preference(_better(knn), True, f"{told}. {unknown}")
    gain = ""
    if before is not None and best - before <= noise((before, best), queries):
        gain = f" Before training it was {before:.2f} %: these images tell no gain from training either."
    points, apart = noise(knn, queries), abs(student - teacher)
    size = noise_words(points, queries)
    if student == teacher:
        return Preference("student", False, f"{told}: no difference on {queries} test images.{gain}")
    if apart <= points:
        same = f"no difference that these images can tell. {apart:.2f} points are within {size}."
        return Preference("student", False, f"{told}: {same}{gain}")
    return Preference(_better(knn), True, f"{told}: {apart:.2f} points are more than {size}.{gain}")


def _without_labels(evidence: Evidence, retrieval: Both) -> Preference:
    student, teacher = retrieval
    told = f"own other view found: student {student:.2f} %, teacher {teacher:.2f} %"
    if evidence.retrieval_before is not None:
        told += f", before training {evidence.retrieval_before:.2f} %"
    if evidence.rankme is not None:
        told += f"; RankMe: student {evidence.rankme[0]:.1f}, teacher {evidence.rankme[1]:.1f}"
    weak = (
        "This is weak evidence: without labels nobody knows which images should be alike, and an untrained network can "
        "score well on both."
    )
    if evidence.views is None:
        unknown = "How large the noise is, is not known, since the number of images is not."
        return Preference("student", False, f"Label-free measures: {told}. {unknown} {weak}")
    since = _since_the_start(evidence.retrieval_before, max(retrieval), evidence.views)
    points = noise(retrieval, evidence.views)
    if abs(student - teacher) <= points:
        within = f"the shares found are within {noise_words(points, evidence.views)}"
        alike = f"Between the two they tell no difference: {within}."
        return Preference("student", False, f"Label-free measures: {told}.{since} {alike} {weak}")
    better = _better(retrieval)
    if evidence.rankme is None or evidence.rankme[0] == evidence.rankme[1] or _better(evidence.rankme) != better:
        return Preference("student", False, f"Label-free measures do not agree ({told}).{since} {weak}")
    if better == "teacher" and evidence.start_share is not None and evidence.start_share > OLD:
        share = f"The teacher still holds {100 * evidence.start_share:.0f} % of its initial weights."
        return Preference("student", False, f"Label-free measures: {told}.{since} {share} {weak}")
    return Preference(better, True, f"Both label-free measures agree ({told}).{since} {weak}")


def _since_the_start(before: float | None, best: float, images: int) -> str:
    """A sentence on whether the better network finds its own other view more often than before training did."""
    if before is None:
        return ""
    points = noise((before, best), images)
    if best - before > points:
        return f" The better one gained {best - before:.2f} points, more than noise ({points:.2f})."
    if before - best > points:
        return f" By this measure training has made it worse: lower {called('optim.lr')}, or train longer."
    longer = f"train longer ({called('train.steps')}, or {called('time')})"
    return f" These {images} images tell no gain from training: {longer}."


def _better(both: Both) -> Network:
    return "student" if both[0] >= both[1] else "teacher"
