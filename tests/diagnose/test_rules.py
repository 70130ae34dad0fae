"""Each rule on lines made by hand: when it speaks, when it keeps silent, what it says. Real runs: tests/runs."""

import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resmom.called import called_by
from resmom.config import Run, field_names
from resmom.diagnose.rules import findings, too_short, unjudged
from resmom.runs.machine import Machine

Line = dict[str, Any]
Change = Callable[[int], Line]
STEPS, EVERY = 1000, 10


def nothing(step: int) -> Line:
    return {}


def run(
    train: Change = nothing, health: Change = nothing, until: int = STEPS, contrastive: bool = True, start: bool = True
) -> list[Line]:
    """The lines of a healthy run, with changes as functions of the step; health at the start and every 200 steps."""
    lines: list[Line] = []
    for step in range(0 if start else 200, until + 1, 200):
        share = min(1.0, step / 300)
        lines.append(
            {
                "kind": "health",
                "step": step,
                "images": 512,
                "width": 64,
                "student/feature_sd": 0.3 + 0.3 * share,
                "student/rankme": 20 + 10 * share,
                "student/retrieval": 6.0,
                "start_share": 0.99**step,
            }
            | health(step)
        )
    for step in (1, *range(EVERY, until + 1, EVERY)):
        done = min(1.0, step / 200)
        line = {
            "kind": "train",
            "step": step,
            "loss": 4.5 - done,
            "loss/method": 4.5 - done,
            "gap/p/inter": 1.0 - 0.6 * done,
            "gap/p/chance": 1.0,
            "gap/z/chance": 0.9,
            "gap/h/intra": 0.05,
            "gap/h/chance": 0.4,
            "grad_norm": 2.0,
            "skipped": 0.0,
            "lr": 0.3 * min(1.0, step / 50) * (1 - step / STEPS),
            "momentum": 0.99,
            "waited_seconds": 0.01 * step,
            "elapsed_seconds": 0.1 * step,
        }
        lines.append(line | ({"loss/chance": 4.4} if contrastive else {}) | train(step))
    return sorted(lines, key=lambda line: line["step"])


def names(lines: list[Line], steps: int = STEPS) -> list[str]:
    return [finding.name for finding in findings(lines, steps)]


@pytest.mark.parametrize("contrastive", [True, False])
def test_a_healthy_run_is_told_nothing_at_any_moment(contrastive: bool) -> None:
    lines = run(contrastive=contrastive)
    for count in range(len(lines) + 1):
        assert findings(lines[:count], STEPS) == []


@pytest.mark.parametrize("kind", ["train", "health", "knn"])
def test_lines_of_one_kind_alone_are_healthy(kind: str) -> None:
    assert findings([line for line in run() if line["kind"] == kind], STEPS) == []


def flat(step: int) -> Line:
    return {"student/feature_sd": 0.05} if step else {}


def test_collapse_is_told_with_its_numbers() -> None:
    found = findings(run(health=flat), STEPS)
    assert [f.name for f in found] == ["collapsed"]
    assert found[0].step == STEPS
    assert "0.05, 0.3 at the start" in found[0].words and "6.0 % of the images (by chance 0.2 %)" in found[0].words


def test_collapse_is_judged_by_the_newest_measurement_and_against_the_start() -> None:
    assert names(run(health=lambda s: flat(s) if s < 900 else {})) == []
    assert names(run(health=lambda s: {"student/feature_sd": 0.11} if s else {})) == []
    # Deep networks start low; one that has not fallen is untrained, not collapsed.
    assert names(run(health=lambda s: {"student/feature_sd": 0.06 if s else 0.08})) == []
    assert names(run(health=flat, start=False)) == ["collapsed"]
    assert names(run(health=lambda s: {"student/feature_sd": math.nan if s == 0 else 0.05})) == ["collapsed"]


def test_collapse_is_not_told_before_batch_statistics_have_settled() -> None:
    early = [line | {"step": 40} if line["step"] == 200 else line for line in run(health=flat, until=200)]
    assert names([line for line in early if line["step"] <= 40]) == []


def test_collapse_of_the_projection_alone() -> None:
    def same(step: int) -> Line:
        return {"gap/z/chance": 0.01}

    found = findings(run(train=same, contrastive=False), STEPS)
    assert [f.name for f in found] == ["collapsed"] and "0.01" in found[0].words
    assert names(run(train=lambda s: {"gap/z/chance": 0.03})) == []
    assert names(run(train=same, until=40)) == []


def test_collapse_of_the_projection_where_training_wrote_few_lines() -> None:
    def fallen(step: int) -> Line:
        return {"gap/z/chance": 0.0012 if step else 0.0958}

    def few(lines: list[Line]) -> list[Line]:
        return [line for line in lines if line["kind"] != "train" or line["step"] in (1, EVERY)]

    found = findings(few(run(health=fallen)), STEPS)
    assert [f.name for f in found] == ["collapsed"] and "0.0012" in found[0].words
    assert names(few(run(health=lambda s: {"gap/z/chance": 0.9}))) == []
    # A projector that says the same of all from the start on is untrained.
    assert names(few(run(health=lambda s: {"gap/z/chance": 0.001}))) == []
    assert names(run(health=fallen)) == []  # many lines of training, which say .9, count


def test_few_dimensions() -> None:
    def low(step: int) -> Line:
        return {"student/rankme": 3.25} if step else {}

    found = findings(run(health=low), STEPS)
    assert [f.name for f in found] == ["dimensional collapse"]
    assert "3.2 of 64 possible, and was 20.0 at the start" in found[0].words
    assert names(run(health=low, until=190)) == []  # no measurement yet but the start
    assert names(run(health=low), steps=1001 * 5) == []  # before a fifth of the run
    # Low beside the width, or beside the start, but not both: simple images, or a start of high rank.
    assert names(run(health=lambda s: {"student/rankme": 3.0})) == []
    assert names(run(health=lambda s: {"student/rankme": 11.0 if s else 40.0})) == []
    # With 16 images there is room for 16 dimensions only.
    assert names(run(health=lambda s: low(s) | {"images": 16})) == []
    assert names(run(health=low, start=False)) == []


def test_a_collapsed_run_is_not_also_told_to_be_flat_and_stuck() -> None:
    stuck = run(train=lambda s: {"loss/method": 4.4, "gap/p/inter": 1.0}, health=lambda s: {"student/rankme": 1.0})
    assert names(stuck) == ["stuck at chance"]
    both = run(
        train=lambda s: {"loss/method": 4.4, "gap/p/inter": 1.0},
        health=lambda s: {"student/rankme": 1.0, "student/feature_sd": 0.001} if s else {},
    )
    assert names(both) == ["collapsed"]


def at_chance(step: int) -> Line:
    return {"loss/method": 4.45, "gap/p/inter": 0.99}


@pytest.mark.usefixtures("typed")
def test_stuck_at_chance() -> None:
    found = findings(run(train=at_chance), STEPS)
    assert [f.name for f in found] == ["stuck at chance"]
    assert "4.45 after 1000 steps" in found[0].words and "4.4:" in found[0].words
    assert "--method.temperature" in found[0].remedy and "--residual.weight" not in found[0].remedy
    assert names(run(train=at_chance, until=190)) == []
    assert names(run(train=at_chance, until=200)) == ["stuck at chance"]
    assert names(run(train=at_chance, until=30), steps=60) == []
    assert names(run(train=lambda s: at_chance(s) | {"loss/method": 4.3})) == []


def test_a_loss_that_hardly_moves_at_a_high_temperature_is_no_evidence() -> None:
    assert names(run(train=lambda s: at_chance(s) | {"gap/p/inter": 0.5})) == []
    without_gaps = [
        {k: v for k, v in line.items() if not k.startswith("gap/p")} for line in run(train=lambda s: at_chance(s))
    ]
    assert names(without_gaps) == ["stuck at chance"]


def test_stuck_without_a_chance_level_is_judged_by_the_first_step() -> None:
    def same(step: int) -> Line:
        return {"loss/method": 4.0, "gap/p/inter": 1.0}

    found = findings(run(train=same, contrastive=False), STEPS)
    assert [f.name for f in found] == ["stuck at chance"]
    assert "was 4 in the first" in found[0].words and "temperature" not in found[0].remedy
    later = [line for line in run(train=same, contrastive=False) if line["step"] != 1]
    assert names(later) == []  # what the loss was at first is not known


def test_a_loss_that_falls_while_all_predictions_are_drawn_together_is_no_learning() -> None:
    def drawn(step: int) -> Line:
        return {"loss/method": 4.0 - min(3.0, step / 200), "gap/p/inter": 0.39, "gap/p/chance": 0.4}

    found = findings(run(train=drawn, contrastive=False), STEPS)
    assert [f.name for f in found] == ["stuck at chance"] and "to 1, but predictions" in found[0].words
    apart = run(train=lambda step: drawn(step) | {"gap/p/inter": 0.3}, contrastive=False)
    assert names(apart) == [] == names(run(train=drawn))  # below its chance level a loss has learnt something


def test_a_student_that_jumps_away_from_its_teacher() -> None:
    def torn(step: int) -> Line:
        return {"gap/h/intra": 0.5, "gap/h/chance": 0.48}

    found = findings(run(train=torn), STEPS)
    assert [f.name for f in found] == ["diverging"] and "differ by 0.5 at the representation" in found[0].words
    assert names(run(train=torn, until=40)) == []
    assert names(run(train=lambda step: torn(step) | {"momentum": 1.0})) == ["teacher frozen"]
    at_one_point = run(train=lambda step: {"gap/h/intra": 1e-4, "gap/h/chance": 1e-4})
    assert names(at_one_point) == []  # where nothing jumps anywhere


def test_a_long_run_is_told_before_a_fifth_of_it_but_not_in_its_warm_up() -> None:
    long, per = 1_000_000, 100

    def lines(peak: int, until: int) -> list[Line]:
        return [
            {"kind": "train", "step": s, "loss/method": 4.4, "loss/chance": 4.4, "lr": min(s, 2 * peak - s)}
            for s in range(per, until + 1, per)
        ]

    assert names(lines(4000, 4900), long) == []
    assert names(lines(4000, 5000), long) == ["stuck at chance"]
    assert names(lines(40_000, 30_000), long) == []


def test_frozen_by_its_share_or_by_a_momentum_of_one() -> None:
    found = findings(run(health=lambda s: {"start_share": 0.74}), STEPS)
    assert [f.name for f in found] == ["teacher frozen"]
    assert "74 %" in found[0].words and "1000 of 1000 steps" in found[0].words
    assert names(run(health=lambda s: {"start_share": 0.74}, until=200)) == []
    assert names(run(health=lambda s: {"start_share": 0.49})) == []
    at_once = findings(run(train=lambda s: {"momentum": 1.0}, until=10), STEPS)
    assert [f.name for f in at_once] == ["teacher frozen"] and "momentum is 1" in at_once[0].words
    assert names(run(train=lambda s: {"momentum": 1.0 if s == 1 else 0.99})) == []
    assert names(run(train=lambda s: {"momentum": 1.0 if s == 1000 else 0.99})) == []


def test_what_needs_no_statistics_is_told_before_the_50th_step() -> None:
    """As docs/health.md says it: of the six, these three, and no other."""
    short = 24
    ill = run(
        train=lambda s: (
            at_chance(s) | {"gap/z/chance": 0.01, "grad_norm": 500.0, "loss": math.nan, "elapsed_seconds": s}
        ),
        health=lambda s: flat(s) | {"start_share": 0.9},
        until=short,
    )
    ill.append({"kind": "health", "step": short, "images": 512, "width": 64, "student/rankme": 1.0, "start_share": 0.9})
    ill += [{"kind": "train", "step": short, "loss": math.nan, "elapsed_seconds": 30.0, "waited_seconds": 20.0}]
    assert set(names(ill, short)) == {"teacher frozen", "diverging", "loader-bound"}


def test_skipped_steps() -> None:
    def ill(step: int) -> Line:
        return {"loss": math.nan, "loss/method": math.nan, "skipped": 1.0}

    found = findings(run(train=lambda s: ill(s) if s > 960 else {}), STEPS)
    assert [f.name for f in found] == ["diverging"] and "4 of the last 10" in found[0].words
    assert names(run(train=lambda s: ill(s) if s > 980 else {})) == []
    assert names(run(train=lambda s: ill(s) if s < 500 else {})) == []  # long over
    assert names(run(train=lambda s: ill(s) if s > 1 else {}, until=40)) == ["diverging"]
    assert names(run(health=lambda s: {"student/feature_sd": math.nan} if s == 1000 else {})) == ["diverging"]


def test_a_loss_above_chance_and_start() -> None:
    up = run(train=lambda s: {"loss/method": 4.4 + s / 400, "gap/p/inter": 1.0} if s > 1 else {})
    found = findings(up, STEPS)
    assert [f.name for f in found] == ["diverging"]  # and not also stuck
    assert "from 4.495 to 6.788" in found[0].words and "4.4." in found[0].words
    # At a low temperature random predictions are that far above chance from the first step on.
    assert "diverging" not in names(run(train=lambda s: {"loss/method": 6.0, "gap/p/inter": 1.0}))
    rising = run(train=lambda s: {"loss/method": 4.0 + s / 500}, contrastive=False)
    assert names(rising) == ["diverging"]
    assert names(run(train=lambda s: {"loss/method": 1.0 + s / 500 if s > 1 else 4.0}, contrastive=False)) == []


def test_a_loss_below_zero_has_no_share_to_rise_by() -> None:
    """As a method of the user's own may have it, say minus a similarity."""
    for first, last, chance in (
        (-0.02, -0.021, {}),
        (-0.02, -0.9, {}),
        (0.0, 0.01, {}),
        (-0.5, -0.6, {"loss/chance": -0.4}),
    ):
        own = run(
            train=lambda s, first=first, last=last, chance=chance: {"loss/method": first if s == 1 else last} | chance,
            contrastive=False,
        )
        assert "diverging" not in names(own)
    above = run(train=lambda s: {"loss/method": -0.1 if s == 1 else 6.0, "gap/p/inter": 1.0})
    assert "diverging" in names(above)  # of its chance level, which is above zero


def test_a_queue_that_fills_is_no_loss_of_gains() -> None:
    """Random vectors are told apart at once: the loss starts low, rises while keys replace them, and then falls."""
    assert names(run(train=lambda s: {"loss/method": min(1.0 + s / 40, 4.2)}, until=300)) == []
    assert names(run(train=lambda s: {"loss/method": min(1.0 + s / 40, 4.2 - s / 2000)})) == []
    lost = run(train=lambda s: {"loss/method": min(1.0 + s / 40, 4.4) if s < 300 else 3.0 if s < 700 else 4.1})
    assert names(lost) == ["diverging"]


@pytest.mark.usefixtures("typed")
def test_a_loss_that_loses_what_it_had_gained() -> None:
    def back(step: int) -> Line:
        return {"loss/method": 4.5 if step < 50 else 3.4 if step < 700 else 4.1, "loss/residual": 0.1}

    found = findings(run(train=back), STEPS)
    assert [f.name for f in found] == ["diverging"]
    assert "down to 3.4 and is back at 4.1" in found[0].words and "--residual.weight" in found[0].remedy
    assert names(run(train=lambda s: {"loss/method": 3.4 if s < 700 else 3.8})) == []


def test_gradients_that_grow_by_orders_of_magnitude() -> None:
    found = findings(run(train=lambda s: {"grad_norm": 2.0 if s < 850 else 500.0}), STEPS)
    assert [f.name for f in found] == ["diverging"] and "250 times" in found[0].words
    assert names(run(train=lambda s: {"grad_norm": 2.0 if s < 850 else 50.0})) == []
    assert names(run(train=lambda s: {"grad_norm": 500.0 if s == 1000 else 2.0})) == []
    assert names(run(train=lambda s: {"grad_norm": 0.0 if s < 850 else 1.0})) == []


@pytest.mark.usefixtures("typed")
def test_waiting_for_images() -> None:
    found = findings(run(train=lambda s: {"waited_seconds": 0.04 * s}), STEPS)
    assert [f.name for f in found] == ["loader-bound"]
    assert "8 of the last 19 seconds (40 %)" in found[0].words and "--workers" in found[0].remedy
    assert names(run(train=lambda s: {"waited_seconds": 0.029 * s})) == []
    assert names(run(train=lambda s: {"waited_seconds": 0.04 * min(s, 500)})) == []  # it was, it is not
    # Too little time to tell: three seconds in all.
    assert names(run(train=lambda s: {"waited_seconds": 0.002 * s, "elapsed_seconds": 0.003 * s})) == []
    # Fast steps: the newest lines span little, all of them enough.
    assert names(run(train=lambda s: {"waited_seconds": 0.005 * s, "elapsed_seconds": 0.01 * s})) == ["loader-bound"]


def test_clocks_that_begin_anew_with_a_restart() -> None:
    def clocks(since: int, share: float) -> Line:
        return {"elapsed_seconds": 0.1 * since, "waited_seconds": 0.1 * share * since}

    slow_then_fast = run(train=lambda s: clocks(s, 0.6) if s <= 800 else clocks(s - 800, 0.1))
    fast_then_slow = run(train=lambda s: clocks(s, 0.1) if s <= 800 else clocks(s - 800, 0.6))
    assert names(slow_then_fast) == []
    assert names(fast_then_slow) == ["loader-bound"]
    just_restarted = run(train=lambda s: clocks(s, 0.6) if s <= 990 else clocks(1, 0.9))
    assert names(just_restarted) == []


def test_what_cannot_be_judged_yet_is_said() -> None:
    assert unjudged(run(), STEPS, STEPS) == []
    (short,) = unjudged(run(until=40), STEPS, 40)
    assert short == too_short(40) and "After 40 steps" in short and "from the 50th step on" in short
    assert too_short(50) == too_short(50, False) == ""
    assert "before, the running statistics of BatchNorm still hold" in too_short(40, True)
    assert "BatchNorm" not in too_short(40, False) and unjudged([], STEPS, 40, False) == [too_short(40, False)]
    assert "where there are any" in too_short(40)
    (early,) = unjudged(run(until=190), STEPS, 190)
    assert early == "Whether it learns is judged from step 200 of 1000 on."
    assert unjudged(run(until=200), STEPS, 200) == []
    # Every rule that speaks of the representation or of the loss lacks its numbers.
    assert [words.partition(" is ")[0] for words in unjudged([], STEPS, STEPS)] == [
        "Whether it has collapsed", "Whether it learns",
    ]  # fmt: skip
    sparse = [line for line in run() if line["kind"] == "health" or line["step"] % 300 == 0]
    assert unjudged(sparse, STEPS, STEPS) == [
        "Whether it learns is not known: its loss was written down fewer than 5 times."
    ]


def test_what_spoils_a_run() -> None:
    told = [
        *findings(run(health=flat), STEPS),
        *findings(run(train=at_chance), STEPS),
        *findings(run(train=lambda s: {"skipped": 1.0, "momentum": 1.0}), STEPS),
        *findings(run(health=lambda s: {"student/rankme": 1.0} if s else {}), STEPS),
    ]
    assert [(finding.name, finding.spoils) for finding in told] == [
        ("collapsed", True), ("stuck at chance", True), ("teacher frozen", False), ("diverging", True),
        ("dimensional collapse", False),
    ]  # fmt: skip


def test_every_option_that_a_remedy_names_exists() -> None:
    ill = [
        run(health=flat),
        run(health=lambda s: {"student/rankme": 1.0} if s else {}),
        run(train=lambda s: at_chance(s) | {"loss/residual": 0.1}),
        run(train=lambda s: {"momentum": 1.0}),
        run(train=lambda s: {"skipped": 1.0, "loss/residual": 0.1}),
        run(train=lambda s: {"waited_seconds": 0.09 * s}),
    ]
    with called_by("options"):
        told = [finding for lines in ill for finding in findings(lines, STEPS)]
    assert len({finding.name for finding in told}) == 6
    written = [finding for lines in ill for finding in findings(lines, STEPS)]
    assert [one.words for one in written] == [one.words for one in told]
    assert not any("--" in finding.remedy for finding in written)
    for finding in told:
        options = [word.strip(".,;:") for word in finding.remedy.split() if word.startswith("--")]
        assert options
        for option in options:
            for part in option.removeprefix("--").replace("-", "_").split("."):
                assert part in field_names(Run) | field_names(Machine), option
        assert finding.words.endswith(".") and finding.remedy.endswith(".")


values = st.one_of(st.none(), st.booleans(), st.floats(), st.integers(-5, 5000), st.text(max_size=3))
keys = st.sampled_from([*dict.fromkeys(key for line in run(until=10) for key in line), "loss/residual"])
wild = st.dictionaries(keys, values, max_size=8)


@pytest.mark.slow
@settings(deadline=None, max_examples=100)
@given(st.lists(wild, max_size=12), st.integers(-1, 2000), st.integers(0, 100))
def test_nothing_in_the_lines_can_break_the_rules(odd: list[Line], steps: int, place: int) -> None:
    findings(odd, steps)
    lines = run()
    for number, change in enumerate(odd):  # a healthy run with some values of some lines replaced by anything
        lines[(place + number) % len(lines)] |= change
    assert all(finding.words for finding in findings(lines, steps))
    assert all(unjudged(lines, steps, steps))
