"""Where collapse and few dimensions begin to be told, and what their words depend on."""

import math

import pytest

from resmom.diagnose.rules import findings, unjudged
from tests.diagnose.test_rules import STEPS, Line, flat, names, run


def measured(step: int, **values: float) -> Line:
    return {"kind": "health", "step": step, **values}


@pytest.mark.parametrize(("step", "told"), [(49, []), (50, ["collapsed"])])
def test_collapse_is_told_from_the_50th_step_on(step: int, told: list[str]) -> None:
    young, point = run(until=40), {"gap/z/chance": 0.01}
    assert names([*young, measured(step, **{"student/feature_sd": 0.05})]) == told
    assert names([*(line | point for line in young), {"kind": "train", "step": step} | point]) == told
    few = [line | {"gap/z/chance": 0.5} for line in young if line["step"] <= 1]
    assert names([*few, measured(step, **point), {"kind": "train", "step": 60}]) == told


def test_a_projection_without_a_start_is_judged_by_its_value_alone() -> None:
    few = [line for line in run(until=10, start=False) if line["step"] == 1]
    assert names([*few, measured(60, **{"gap/z/chance": 0.01})]) == ["collapsed"]
    assert names([*few, measured(60, **{"gap/z/chance": 0.03})]) == []


def test_half_of_the_start_is_what_must_be_lost() -> None:
    def ranks(first: float, last: float) -> list[str]:
        return names(run(health=lambda s: {"student/rankme": last if s else first}))

    assert ranks(5.0, 2.6) == [] and ranks(5.0, 2.4) == ["dimensional collapse"]
    # .15 of the 64 that there is room for are 9.6
    assert ranks(30.0, 9.7) == [] and ranks(30.0, 9.5) == ["dimensional collapse"]


def test_a_fifth_of_the_run_is_waited_for() -> None:
    low = run(health=lambda s: {"student/rankme": 1.0 if s else 20.0})
    assert names(low, 5 * STEPS) == ["dimensional collapse"] and names(low, 5 * STEPS + 1) == []


@pytest.mark.parametrize("missing", ["width", "images"])
@pytest.mark.parametrize("value", [math.nan, 0])
def test_without_a_room_no_rank_is_low(missing: str, value: float) -> None:
    assert names(run(health=lambda s: {"student/rankme": 1.0 if s else 20.0, missing: value})) == []


def test_what_was_not_counted_is_not_told() -> None:
    for lacking in ({"student/retrieval": math.nan}, {"images": 0}):
        (found,) = findings(run(health=lambda s, lacking=lacking: flat(s) | lacking), STEPS)
        assert found.words.endswith("a healthy network has 0.5 or so.")


@pytest.mark.usefixtures("typed")
def test_remedies_speak_of_the_teacher_where_there_is_one() -> None:
    for ill in (flat, lambda s: {"student/rankme": 1.0} if s else {}):
        (alone,) = findings(run(health=ill), STEPS)
        (taught,) = findings(run(health=lambda s, ill=ill: ill(s) | {"teacher/feature_sd": 0.5}), STEPS)
        assert "--optim.lr" in alone.remedy and "residual" not in alone.remedy
        assert "--optim.lr" in taught.remedy and "--residual.weight lower or 0" in taught.remedy


@pytest.mark.parametrize(("step", "known"), [(49, False), (50, True)])
def test_what_was_measured_before_the_50th_step_tells_nothing_of_collapse(step: int, known: bool) -> None:
    lines = [measured(step, **{"student/feature_sd": 0.5}), {"kind": "train", "step": 60}]
    assert any("collapsed is not known" in words for words in unjudged(lines, STEPS, 60)) is not known
