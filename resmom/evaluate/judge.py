"""Which detections of an image are right, and which objects were missed: for pictures; scores count by themselves."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from resmom.evaluate.average_precision import Found, Truth, overlaps

REACHED = 0.5
"""Intersection over union from which on a detection has found an object."""


@dataclass(frozen=True)
class Judged:
    """`right` and `void` per detection, `found` per object. Void: it found what counts for nothing, or is one more
    detection of a crowd."""

    right: Bool[np.ndarray, " n"]
    void: Bool[np.ndarray, " n"]
    found: Bool[np.ndarray, " m"]


def judge(said: Found, there: Truth) -> Judged:
    """COCO's matching at an overlap of .5, class by class, best score first: each detection takes the free object that
    it overlaps most, one that counts if there is any.
    """
    right, void = (np.zeros(len(said.labels), dtype=bool) for _ in range(2))
    found = np.zeros(len(there.labels), dtype=bool)
    over = overlaps(said.boxes, there.boxes, there.crowd)
    nothing = there.ignore | there.crowd
    for d in np.argsort(-said.scores, kind="stable"):
        reached = (there.labels == said.labels[d]) & (over[d] >= REACHED) & (~found | there.crowd)
        for counting in (~nothing, nothing):
            candidates = np.flatnonzero(reached & counting)
            if candidates.size:
                best = candidates[over[d, candidates].argmax()]
                found[best] = True
                right[d], void[d] = not nothing[best], nothing[best]
                break
    return Judged(right, void, found)


def from_score(said: Found, score: float) -> Found:
    """The detections of that score or more."""
    keep = said.scores >= score
    masks = None if said.masks is None else tuple(said.masks[at] for at in np.flatnonzero(keep))
    return Found(said.boxes[keep], said.scores[keep], said.labels[keep], masks)


def best_score(said: Sequence[Found], there: Sequence[Truth]) -> float:
    """The score from which on detections find most and err least: the largest harmonic mean (F1) of precision and
    recall over these images; 1 where no detection is right. Detections of one score are taken together.
    """
    scores: Float[np.ndarray, " n"] = np.concatenate([np.zeros(0), *(one.scores for one in said)])
    judged = [judge(one, its) for one, its in zip(said, there, strict=True)]
    right: NDArray[np.bool_] = np.concatenate([np.zeros(0, dtype=bool), *(one.right for one in judged)])
    void: NDArray[np.bool_] = np.concatenate([np.zeros(0, dtype=bool), *(one.void for one in judged)])
    if not right.any():
        return 1.0
    objects = sum(int((~(its.ignore | its.crowd)).sum()) for its in there)
    # Better detections are matched first, so that leaving weak ones out changes nothing of the others' judgement.
    order = np.argsort(-scores, kind="stable")
    hits, counted = np.cumsum(right[order]), np.cumsum(~void[order])
    ranked = scores[order]
    ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    return float(ranked[ends][np.argmax((2 * hits / (counted + objects))[ends])])
