"""The gap in evaluation mode. It is another quantity than the gap of training, which sees batch statistics."""

from collections.abc import Sequence

from resmom.diagnose.gap import Gap, gaps
from resmom.types import Encoding, Pair, Site

EVAL_GAP = "gap-v1 (eval mode)"
"""How to label these numbers wherever they are shown; add which views and how many images."""


def eval_gap(student: Sequence[Encoding], teacher: Sequence[Encoding], sites: Sequence[Site]) -> dict[Site, Gap]:
    """Intra, inter and chance gap at each site; entry v of each side is what that network says of view v.

    The encodings are those of `features.encodings`: all images, in the same order on both sides. With one view, `inter`
    is None. Raises ValueError if the two sides differ in the number of views, and as `diagnose.gap.gaps` does.
    """
    if len(student) != len(teacher):
        raise ValueError(
            f"the gap compares both networks on the same views; got {len(student)} views of the student and "
            f"{len(teacher)} of the teacher; encode the same ones with both"
        )
    pairs = [Pair("global", s, t, bank=t) for s, t in zip(student, teacher, strict=True)]
    return {site: gaps(pairs, site) for site in sites}
