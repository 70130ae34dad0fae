"""On both sides of every limit that the rules on the course of training have."""

import math

import pytest

from tests.diagnose.test_rules import Change, Line, names, run

STUCK, DIVERGING, FROZEN, WAITS = ["stuck at chance"], ["diverging"], ["teacher frozen"], ["loader-bound"]


def steady(loss: float, first: float, near: float, chance: float | None = None) -> Change:
    """A loss that is `loss` from the second line on, of predictions nearer to their own image by the share `near`."""
    level = {} if chance is None else {"loss/chance": chance}
    return lambda step: {"loss/method": first if step == 1 else loss, "gap/p/inter": 1.0 - near, **level}


@pytest.mark.parametrize(
    ("loss", "first", "near", "chance", "told"),
    [
        # within 2 % of chance, unless predictions are nearer to their own image by a tenth
        (3.93, 4.2, 0.0, 4.0, STUCK), (3.91, 4.2, 0.0, 4.0, []),
        (3.95, 4.2, 0.09, 4.0, STUCK), (3.95, 4.2, 0.11, 4.0, []),
        # within a tenth of the start where there is no chance level; below it, by a twentieth
        (3.63, 4.0, 0.07, None, STUCK), (3.57, 4.0, 0.07, None, []),
        (1.0, 4.0, 0.04, None, STUCK), (1.0, 4.0, 0.06, None, []),
        # 1.2 times chance and 1.1 times the start, the larger of the two; without chance 1.2 times the start
        (4.85, 4.0, 0.6, 4.0, DIVERGING), (4.75, 4.0, 0.6, 4.0, []),
        (5.55, 5.0, 0.6, 4.0, DIVERGING), (5.45, 5.0, 0.6, 4.0, []),
        (4.85, 4.0, 0.6, None, DIVERGING), (4.75, 4.0, 0.6, None, []),
    ],
)  # fmt: skip
def test_a_loss_at_its_limits(loss: float, first: float, near: float, chance: float | None, told: list[str]) -> None:
    assert names(run(train=steady(loss, first, near, chance), contrastive=False)) == told


@pytest.mark.parametrize(
    ("best", "now", "told"),
    [
        (3.0, 3.55, DIVERGING), (3.0, 3.45, []),  # half of what was gained on 4
        (3.79, 3.95, DIVERGING), (3.81, 3.95, []),  # a gain of a twentieth of it
    ],
)  # fmt: skip
def test_a_gain_that_is_lost(best: float, now: float, told: list[str]) -> None:
    losses = run(train=lambda s: {"loss/method": 4.0 if s < 50 else best if s < 700 else now, "loss/chance": 4.0})
    assert names(losses) == told


@pytest.mark.parametrize(
    ("momentum", "told"),
    [
        (0.99, []),  # a five-hundredth of the start is left after 618 steps
        (0.9, DIVERGING),  # after 59
        (None, DIVERGING),  # there is no teacher
    ],
)
def test_what_is_gained_while_the_teacher_is_its_start_is_not_lost(momentum: float | None, told: list[str]) -> None:
    """Its targets are then easily met, and less easily later: so did DINO's loss in healthy runs of 100 steps."""

    def fallen_and_risen(step: int) -> Line:
        return {"loss/method": 2.9 if 10 <= step <= 200 else 3.9, "loss/chance": 4.0, "momentum": momentum}

    assert names(run(train=fallen_and_risen)) == told


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda s: {"grad_norm": 2.0 if s < 850 else 202.0}, DIVERGING),
        (lambda s: {"grad_norm": 2.0 if s < 850 else 198.0}, []),
        (lambda s: {"gap/h/intra": 0.012, "gap/h/chance": 0.011}, DIVERGING),
        (lambda s: {"gap/h/intra": 0.009, "gap/h/chance": 0.008}, []),
        (lambda s: {"skipped": 1.0 if s > 970 else 0.0}, DIVERGING),  # three of ten
        (lambda s: {"skipped": 1.0 if 870 < s <= 900 else 0.0}, []),  # and older ones
        (lambda s: {"waited_seconds": 0.031 * s}, WAITS),  # three tenths of the time
        (lambda s: {"waited_seconds": 0.004 * s, "elapsed_seconds": 0.00502 * s}, WAITS),  # of five seconds
        (lambda s: {"waited_seconds": 0.004 * s, "elapsed_seconds": 0.00499 * s}, []),
    ],
)  # fmt: skip
def test_other_numbers_at_their_limits(change: Change, told: list[str]) -> None:
    assert names(run(train=change)) == told


@pytest.mark.parametrize(("share", "steps", "told"), [(0.51, 800, FROZEN), (0.49, 800, []), (0.51, 801, [])])
def test_a_teacher_that_is_its_start_after_a_quarter_of_the_run(share: float, steps: int, told: list[str]) -> None:
    assert names(run(health=lambda s: {"start_share": share}, until=200), steps) == told


def test_a_start_that_is_not_finite_is_no_divergence() -> None:
    def ill(step: int) -> Line:
        return {"student/feature_sd": math.nan}

    assert names(run(health=ill, until=190)) == []
    assert names(run(health=ill, until=200)) == DIVERGING


def test_only_the_clocks_of_the_newest_start_count() -> None:
    def clocks(step: int) -> Line:
        since = step if step <= 300 else step - 300 if step <= 600 else step - 600
        return {"elapsed_seconds": 0.1 * since, "waited_seconds": (0.06 if 300 < step <= 600 else 0.01) * since}

    assert names(run(train=clocks)) == []
    assert names(run(train=clocks, until=600)) == WAITS
    assert names(run(train=clocks, until=300)) == []
