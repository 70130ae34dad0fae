"""Rules on the representation: is it constant, or does it live in few dimensions?"""

from resmom.called import called
from resmom.diagnose.finding import Finding
from resmom.diagnose.series import LEAST_STEPS, SETTLED, Line, Lines, number, step_of

COLLAPSED_SD = 0.1
"""feature_sd of a collapsed representation. Trained networks have 0.5 to 0.8, those we saw collapse 0.0002 to 0.09."""
COLLAPSED_OF_START = 0.5
"""And it must have fallen to this share of its start: deep networks that are merely untrained start as low."""
COLLAPSED_CHANCE_GAP = 0.02
"""Chance gap at z, while training, of a projector that says the same of all images; others have 0.5 and more."""

LOW_RANK = 0.15
"""RankMe over min(width, images) of dimensional collapse. Healthy small runs have 0.35 to 0.55."""
LOW_RANK_OF_START = 0.5
"""And it must have fallen to this share of its start: wide networks on simple images have a low rank by nature."""


def collapsed(seen: Lines) -> Finding | None:
    newest = seen.newest
    sd, start = number(newest, "student/feature_sd"), number(seen.start, "student/feature_sd")
    remedy = f"Lower {called('optim.weight_decay')} and {called('optim.lr')}"
    if seen.teacher:
        remedy += (
            f"; set {called('residual.weight')} lower or 0 (the kd_ distances collapse easily); keep "
            f"{called('ema.momentum')} at 0.99 or more in a long run"
        )
    remedy += ". Such a run rarely recovers: start it anew."
    if sd is not None and step_of(newest) >= LEAST_STEPS and sd < COLLAPSED_SD:
        fallen = start is None or sd < COLLAPSED_OF_START * start
        if fallen:
            before = "" if start is None else f", {start:.2g} at the start"
            words = (
                f"the student says nearly the same of every image: the spread of its representations (feature_sd) is "
                f"{sd:.2g}{before}, where 0 is all equal and a healthy network has 0.5 or so{_found_words(newest)}."
            )
            return Finding("collapsed", step_of(newest), words, remedy)
    gap = seen.recent("gap/z/chance")
    if gap is None:  # too few lines of training
        gap = _fallen(seen, "gap/z/chance")
    if gap is not None and gap < COLLAPSED_CHANCE_GAP and seen.step >= LEAST_STEPS:
        words = (
            f"student and teacher project all images to nearly the same point: 1 - cos between different images is "
            f"{gap:.2g}, where about 1 is healthy, so the loss has nothing left to teach."
        )
        return Finding("collapsed", seen.step, words, remedy)
    return None


def _fallen(seen: Lines, name: str) -> float | None:
    """The newest measurement of a quantity; None before statistics have settled, or if it has not fallen far."""
    value, first = number(seen.newest, name), number(seen.start, name)
    if value is None or step_of(seen.newest) < LEAST_STEPS:
        return None
    return value if first is None or value < COLLAPSED_OF_START * first else None


def _found_words(line: Line) -> str:
    found, images = number(line, "student/retrieval"), number(line, "images")
    if found is None or not images:
        return ""
    return f"; it finds the other view of {found:.1f} % of the images (by chance {100 / images:.1f} %)"


def few_dimensions(seen: Lines) -> Finding | None:
    newest = seen.newest
    rank, start = number(newest, "student/rankme"), number(seen.start, "student/rankme")
    width, images = number(newest, "width"), number(newest, "images")
    if rank is None or start is None or not width or not images:
        return None
    if step_of(newest) < max(LEAST_STEPS, SETTLED * seen.steps):
        return None
    room = min(width, images)
    if rank >= LOW_RANK * room or rank >= LOW_RANK_OF_START * start:
        return None
    words = (
        f"the student's representation lives in few of its dimensions: its effective rank (RankMe) is {rank:.1f} of "
        f"{room:.0f} possible, and was {start:.1f} at the start, so little can be told apart by it."
    )
    weight = f"Set {called('residual.weight')} lower or 0, above all with a kd_ distance; lower"
    remedy = (
        f"{weight if seen.teacher else 'Lower'} {called('optim.lr')} or {called('optim.weight_decay')}; for a "
        f"contrastive loss lower {called('method.temperature')} (0.2 is usual) and raise {called('train.batch')}."
    )
    return Finding("dimensional collapse", step_of(newest), words, remedy)
