"""Rules on the course of training: does the loss move, the teacher follow, the data arrive?"""

from collections.abc import Sequence
from itertools import pairwise
from statistics import median

from resmom.called import called, either, setting
from resmom.diagnose.finding import Finding
from resmom.diagnose.series import LEAST_STEPS, SETTLED, Line, Lines, broken, known, number, recent_count, step_of

SETTLED_STEPS = 5000
"""In a long run so many steps are enough as well, once the learning rate has passed its peak."""

AT_CHANCE = 0.02
"""A loss within this share of its chance level, or above it, has learnt nothing. With the largest published temperature
(1.0) and batch (4096) a perfect MoCo-v3 is 12 % below."""
AT_START = 0.1
"""The same for a loss without a chance level, by its value in the first step, which is of one batch and scatters by
some percent. BYOL halves it within some ten steps."""
TELLS_NOTHING = 0.05
"""A prediction that is nearer to the other view of its image by less than this share tells no image from another. A
loss without a chance level falls then too, where all predictions are drawn to the same point."""
KNOWS_ITS_IMAGES = 0.1
"""A prediction that is nearer to the other view of its image than to other images, by this share of the distance, has
learnt something, whatever the loss says: at a high temperature the loss hardly leaves its chance level."""

FROZEN_SHARE = 0.5
"""Start share of a teacher that is still more of its random start than of the student."""
FROZEN_AFTER = 0.25
"""Share of the run after which it should not be."""

SKIPPED_LINES = (3, 10)
"""So many of the last so many lines not finite; mixed precision skips one now and then to find its scale."""
LOSS_ABOVE_CHANCE = 1.2
"""Times its chance level that a loss may be above it; predictions at random are up to 1.1 times."""
LOSS_ABOVE_START = 1.1
"""And times the loss of the first step, which at low temperatures lies above chance itself."""
FORGOTTEN = 0.002
"""Start share of a teacher from which on a loss that rises has lost something. Before, a loss falls and rises with the
targets: those of a network that tells no images apart are easily met, and less easily as it learns to. In runs of 60 to
900 steps DINO's was down to half of its chance level and less, and came back until about so much was left."""
LOST = 0.5
"""Share of what the loss had gained on its chance level that may be lost again."""
GAINED = 0.05
"""A gain that is worth losing, as a share of the chance level."""
GRADIENT_GROWTH = 100.0
"""Times its median that the gradient norm may grow; decay of the weights alone makes it grow a few times."""

AT_ONE_POINT = 0.01
"""1 - cos of representations that are all alike, of which none jumps anywhere."""

WAITING = 0.3
"""Share of the time that may be spent waiting for batches: with less, faster loading would save less than a third."""
WAITING_SECONDS = 5.0
"""Time that must be looked at, so that the first batches or a hiccup of the disk do not count."""
WAITING_LINES = 20
"""Lines that are looked at, if they span that time."""


def stuck(seen: Lines) -> Finding | None:
    loss, chance = seen.recent("loss/method"), seen.recent("loss/chance")
    level = chance if chance is not None else seen.first("loss/method")
    if loss is None or level is None or level <= 0 or not settled(seen):
        return None
    margin = _margin(seen)
    moved = loss < (1.0 - (AT_START if chance is None else AT_CHANCE)) * level
    if margin is not None and margin >= KNOWS_ITS_IMAGES:
        return None
    if moved and (chance is not None or margin is None or margin >= TELLS_NOTHING):
        return None
    if moved:
        words = (
            f"the loss has come from {level:.4g} to {loss:.4g}, but predictions are no nearer to their own image than "
            "to others: they are drawn together, and nothing is being learnt."
        )
    elif chance is not None:
        words = (
            f"the loss is {loss:.4g} after {seen.step} steps, and a network that knows nothing has {chance:.4g}: "
            "nothing is being learnt."
        )
    else:
        words = (
            f"the loss is {loss:.4g} after {seen.step} steps and was {level:.4g} in the first: nothing is being learnt."
        )
    lengthen = f"lower it or lengthen {called('train.warmup_epochs')}"
    remedy = f"Raise {called('optim.lr')} if it is very low, else {lengthen}"
    remedy += f"; try {setting('residual.weight', 0)}" if seen.recent("loss/residual") is not None else ""
    if chance is not None:
        remedy += f"; for a contrastive loss {setting('method.temperature', 0.2)} is usual"
    return Finding("stuck at chance", seen.step, words, remedy + ". Look whether the images are what you think.")


def settled(seen: Lines) -> bool:
    """Whether the run is old enough that its loss should have moved."""
    if seen.step < LEAST_STEPS:
        return False
    rates = known(seen.train, "lr")
    past_peak = bool(rates) and rates[-1] < max(rates)
    return seen.step >= SETTLED * seen.steps or (past_peak and seen.step >= SETTLED_STEPS)


def _margin(seen: Lines) -> float | None:
    """By which share the prediction (or projection) is nearer to the other view of its image; None: not known."""
    for site in ("p", "z"):
        inter, chance = seen.recent(f"gap/{site}/inter"), seen.recent(f"gap/{site}/chance")
        if inter is not None and chance is not None:
            return (chance - inter) / chance if chance > 0 else 0.0
    return None


def frozen(seen: Lines) -> Finding | None:
    """Told before `LEAST_STEPS` too: how much of its start the teacher still is follows from the settings alone."""
    share = number(seen.newest, "start_share")
    if seen.first("momentum") == 1.0 and number(seen.train[-1], "momentum") == 1.0:
        words = "the teacher's momentum is 1 from the first step on, so it stays the random network it started as."
    elif share is not None and share > FROZEN_SHARE and step_of(seen.newest) >= FROZEN_AFTER * seen.steps:
        words = (
            f"after {step_of(seen.newest)} of {seen.steps} steps the teacher is still to {100 * share:.0f} % the "
            "network that it started as: it moves too slowly for a run of this length."
        )
    else:
        return None
    remedy = (
        f"Lower {called('ema.momentum')} (0.99 suits some thousand steps, 0.9 a few hundred), or train longer, by "
        f"{called('train.steps')} or {called('train.epochs')}, whichever the run counts in."
    )
    return Finding("teacher frozen", seen.step, words, remedy)


def diverging(seen: Lines) -> Finding | None:
    words = _not_finite(seen)
    if words is None and seen.step >= LEAST_STEPS:
        words = _loss_rose(seen) or _gradient_grew(seen) or _torn_apart(seen)
    if words is None:
        return None
    slower = f"Lower {called('optim.lr')}, lengthen {called('train.warmup_epochs')}"
    remedy = f"{slower}, or set {setting('train.clip', 1)}"
    if seen.recent("loss/residual") is not None:
        remedy += f"; set {called('residual.weight')} lower"
    remedy += f"; with {setting('train.precision', 'fp16')}, use bf16 or fp32."
    return Finding("diverging", seen.step, words, remedy)


def _not_finite(seen: Lines) -> str | None:
    least, most = SKIPPED_LINES
    last = seen.train[-most:]
    ill = [line for line in last if broken(line, "loss") or (number(line, "skipped") or 0) > 0]
    if len(ill) >= least:
        return f"{len(ill)} of the last {len(last)} measured steps had no finite loss or gradient and were skipped."
    if seen.newest and broken(seen.newest, "student/feature_sd"):
        return "the student's representation of some images is not finite."
    return None


def _loss_rose(seen: Lines) -> str | None:
    loss, chance, first = seen.recent("loss/method"), seen.recent("loss/chance"), seen.first("loss/method")
    if loss is None:
        return None
    # A share of a loss tells nothing where the loss may be negative.
    chance = None if chance is None or chance <= 0 else chance
    limits = [LOSS_ABOVE_CHANCE * chance] if chance is not None else []
    limits += [(LOSS_ABOVE_START if limits else LOSS_ABOVE_CHANCE) * first] if first is not None and first > 0 else []
    if first is not None and limits and loss > max(limits):
        by_chance = "" if chance is None else f"; a network that knows nothing has {chance:.4g}"
        return f"the method's loss has risen from {first:.4g} to {loss:.4g}{by_chance}."
    if chance is None:
        return None
    best = _best(_gains(seen.train, chance), recent_count(len(seen.train)))
    if best is not None and chance - best > GAINED * chance and chance - loss < LOST * (chance - best):
        return f"the method's loss was down to {best:.4g} and is back at {loss:.4g}; knowing nothing is {chance:.4g}."
    return None


def _gains(train: Sequence[Line], chance: float) -> list[float]:
    """The losses by which a gain is told: those that are known once the teacher has forgotten its start.

    A queue of random vectors is told apart from keys at once; the loss begins far below chance and rises while keys
    replace them. Such a loss counts from its highest value on.
    """
    losses = [number(line, "loss/method") for line in train]
    all_known = [loss for loss in losses if loss is not None]
    from_queue = bool(all_known) and chance - all_known[0] > GAINED * chance
    start = max(losses.index(max(all_known)) if from_queue else 0, _forgotten(train))
    return [loss for loss in losses[start:] if loss is not None]


def _forgotten(train: Sequence[Line]) -> int:
    """The place of the first line in which the teacher has forgotten its start; of the first line without a teacher."""
    share, before = 1.0, 0
    for place, line in enumerate(train):
        momentum, now = number(line, "momentum") or 0.0, step_of(line)
        share, before = share * min(max(momentum, 0.0), 1.0) ** max(0, now - before), now
        if share < FORGOTTEN:
            return place
    return len(train)


def _best(values: list[float], count: int) -> float | None:
    """The least median of `count` values in a row."""
    blocks = [values[start : start + count] for start in range(0, len(values) - count + 1, count)]
    return min((median(block) for block in blocks), default=None)


def _gradient_grew(seen: Lines) -> str | None:
    now, usual = seen.recent("grad_norm"), known(seen.train, "grad_norm")
    if now is None or len(usual) < 4 * recent_count(len(seen.train)):
        return None
    before = median(usual)
    if before <= 0 or now < GRADIENT_GROWTH * before:
        return None
    return f"the norm of the gradient has grown to {now:.2g}, {now / before:.0f} times what it was over the run."


def _torn_apart(seen: Lines) -> str | None:
    """A student that jumps further with every step than its average follows; if the teacher moves at all."""
    same, other = seen.recent("gap/h/intra"), seen.recent("gap/h/chance")
    if same is None or other is None or same < max(other, AT_ONE_POINT) or frozen(seen) is not None:
        return None
    return (
        f"shown the same view, student and teacher differ by {same:.2g} at the representation, no less than shown "
        f"different images ({other:.2g}): the student jumps further than the teacher can follow."
    )


def loader_bound(seen: Lines) -> Finding | None:
    timed = _last_start(seen.train)
    if len(timed) < 2:
        return None
    chosen = timed[-WAITING_LINES:]
    if _span(chosen, "elapsed_seconds") < WAITING_SECONDS:
        chosen = timed
    elapsed, waited = _span(chosen, "elapsed_seconds"), _span(chosen, "waited_seconds")
    if elapsed < WAITING_SECONDS or waited <= WAITING * elapsed:
        return None
    words = (
        f"training waits for images: {waited:.0f} of the last {elapsed:.0f} seconds ({100 * waited / elapsed:.0f} %)."
    )
    smaller = either("--data DATA@shorter-side=448", "data='DATA@shorter-side=448'")
    remedy = (
        f"Raise {called('workers')} towards the number of cores; put the images on a faster disk, have large JPEGs "
        f"decoded smaller ({smaller}), or reduce large images once with `resmom data pack`. If all cores are busy, a "
        f"larger {called('backbone')} would cost little."
    )
    return Finding("loader-bound", seen.step, words, remedy)


def _last_start(train: Sequence[Line]) -> list[Line]:
    """The lines of the newest start of the process that carry both clocks; they begin at 0 with each start."""
    timed = [
        line
        for line in train
        if number(line, "elapsed_seconds") is not None and number(line, "waited_seconds") is not None
    ]
    begins = [
        place
        for place, (before, line) in enumerate(pairwise(timed), start=1)
        if line["elapsed_seconds"] < before["elapsed_seconds"]
    ]
    return timed[begins[-1] :] if begins else timed


def _span(lines: Sequence[Line], name: str) -> float:
    return float(lines[-1][name] - lines[0][name])
