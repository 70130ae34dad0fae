"""Which runs belong together, their mean and spread, and what sets configurations apart."""

import math

import pytest

from resmom.config import Run, to_json
from resmom.diagnose.paired import Spread
from resmom.protocols import chosen, shared_protocol
from resmom.recipes import recipe
from resmom.report.compare import Group, Measured, differences, flat, scores, table, unlearned
from resmom.report.page import page
from resmom.report.words import floors
from resmom.train.plan import Train
from tests.report import sample

LINEAR = "linear-v1 (30 epochs, batch 64, lr {} and wd {} chosen on 10 held-out training images{}, last epoch)"


def test_a_configuration_flat() -> None:
    found = flat(to_json(Run()))
    assert found["train.batch"] == 256 and found["policy.views.0.size"] == 224 and found["method.kind"] == "MoCoV3"
    assert found["policy.mean"] == [0.485, 0.456, 0.406]
    assert not [name for name in found if name.startswith(("log", "recipe")) or name == "train.seed"]


def test_only_the_unit_that_a_length_is_given_in_is_an_option() -> None:
    in_epochs, in_steps = flat(to_json(Run())), flat(to_json(Run(train=Train(steps=500, warmup_steps=20))))
    assert {"train.epochs", "train.warmup_epochs"} <= in_epochs.keys() and "train.warmup_steps" not in in_epochs
    assert {"train.steps", "train.warmup_steps"} <= in_steps.keys() and "train.warmup_epochs" not in in_steps


def test_the_twin_differs_in_one_option() -> None:
    pair = [flat(to_json(recipe(name))) for name in ("mocov3_digits", "mocov3_digits_residual")]
    assert differences(pair) == ["residual.weight"]
    assert differences([{"a": 1, "b": 2}, {"a": 1}, {"b": 3, "c": math.nan}]) == ["a", "b", "c"]
    assert differences(pair[:1]) == []


def test_seeds_of_a_configuration_make_a_group_with_mean_and_sample_deviation() -> None:
    runs = [sample.run(f"a{n}", n, 0.0, value) for n, value in enumerate((50.0, 53.0, 56.0))]
    found = table([*runs[:2], sample.run("b", 0, 1.0, 70.0), runs[2]])
    assert found.options == ("residual.weight",)
    assert [(group.label, len(group.runs)) for group in found.groups] == [
        ("residual.weight 0", 3),
        ("residual.weight 1", 1),
    ]
    student = next(column for column in found.columns if column[:2] == ("knn", "student"))
    cell = found.groups[0].cells[student]
    assert (cell.mean, cell.sd, cell.n, cell.step) == (53.0, 3.0, 3, 100)  # sqrt((9 + 0 + 9) / 2)
    single = found.groups[1].cells[student]
    assert (single.mean, single.sd, single.n) == (70.0, None, 1)


def test_the_same_seed_twice_is_no_second_seed() -> None:
    found = table([sample.run("a", 0, 0.0, 50.0), sample.run("copy", 0, 0.0, 90.0), sample.run("c", 1, 0.0, 52.0)])
    group = found.groups[0]
    assert [run.name for run in group.runs] == ["a", "c"] and [run.name for run in group.repeats] == ["copy"]
    assert {cell.n for cell in group.cells.values()} == {2} and group.cells[found.columns[0]].mean == 51.0


def test_runs_that_are_not_equally_far_are_not_averaged() -> None:
    found = table([sample.run("a", 0), sample.run("b", 1, step=60)])
    assert [(group.step, len(group.runs)) for group in found.groups] == [(100, 1), (60, 1)]


def test_only_measurements_at_one_step_are_averaged() -> None:
    older = [sample.evaluation("student", "knn-v1 all", 80.0, 40)]
    newer = [*older, sample.evaluation("student", "knn-v1 all", 60.0, 100)]
    found = table([sample.run("a", 0, evaluations=newer), sample.run("b", 1, evaluations=older)])
    cell = found.groups[0].cells["knn", "student", "knn-v1 all"]
    assert (cell.mean, cell.n, cell.step) == (60.0, 1, 100)


def test_only_equal_protocols_are_averaged_but_what_a_probe_chose_is_a_result() -> None:
    first = LINEAR.format("0.1", "0", " at the edge of the grid")
    second = LINEAR.format("0.03", "0.001", "")
    assert shared_protocol(first) == shared_protocol(second) and "0.1" not in shared_protocol(first)
    assert (chosen(first), chosen(second)) == ("lr 0.1 and wd 0, at the edge of the grid", "lr 0.03 and wd 0.001")
    swept = f"sweep-v1 (stage2, mean; chosen among 4 layers and poolings x 15 settings; then {second})"
    assert chosen(swept) == "stage2, mean; lr 0.03 and wd 0.001" and chosen("knn-v1 k=20") == ""
    assert shared_protocol(swept) == shared_protocol(swept.replace("stage2, mean", "h").replace("0.03", "0.3"))
    assert shared_protocol(swept).startswith("sweep-v1 (chosen among 4 layers")
    other = first.replace("30 epochs", "90 epochs")
    runs = [
        sample.run("a", 0, evaluations=[sample.evaluation("teacher", first, 60.0, 100)]),
        sample.run("b", 1, evaluations=[sample.evaluation("teacher", second, 62.0, 100)]),
        sample.run("c", 2, evaluations=[sample.evaluation("teacher", other, 10.0, 100)]),
    ]
    found = table(runs)
    linear = {column[2]: found.groups[0].cells[column] for column in found.columns if column[0] == "linear"}
    assert {protocol: (cell.mean, cell.n) for protocol, cell in linear.items()} == {
        shared_protocol(first): (61.0, 2), shared_protocol(other): (10.0, 1),
    }  # fmt: skip
    assert linear[shared_protocol(first)].sd == pytest.approx(math.sqrt(2))


def test_scores_are_the_newest_finite_ones_of_student_and_teacher_after_training_began() -> None:
    lines = [sample.knn_line(0, 1.0, 1.0), sample.knn_line(50, 20.0, 30.0), sample.knn_line(100, 40.0, math.nan)]
    found = scores(sample.run(lines=lines, evaluations=[sample.evaluation("raw pixels", "knn-v1", 15.0, 100)]))
    assert {column[:2]: value for column, value in found.items()} == {
        ("knn", "student"): Measured(40.0, 100), ("knn", "teacher"): Measured(30.0, 50),
    }  # fmt: skip
    assert scores(sample.run(lines=lines[:1])) == {}


def test_what_needs_no_learning_is_the_newest_of_each_run_over_the_runs() -> None:
    """Pixels are the same for both, random weights are not; a network's own scores are none of it."""
    one, two = (
        sample.run(f"s{seed}", seed, evaluations=[
            sample.evaluation("random init", "knn-v1", 1.0, 50),
            sample.evaluation("random init", "knn-v1", random, 100),
            sample.evaluation("raw pixels", "knn-v1", 15.0, 100),
            sample.evaluation("student", "knn-v1", 60.0, 100),
        ])
        for seed, random in enumerate((8.0, 10.0))
    )  # fmt: skip
    assert unlearned([one, two]) == {
        "knn-v1": {"raw pixels": Spread(15.0, 0.0, 2), "random init": Spread(9.0, math.sqrt(2), 2)}
    }
    assert floors([one, two]) == ["Without learning: raw pixels 15.0, random init 9.0 ± 1.4 (knn-v1)."]
    assert floors([one]) == ["Without learning: raw pixels 15.0, random init 8.0 (knn-v1)."]
    assert "raw pixels 15.0, random init 9.0 ± 1.4 (knn-v1)" in page(sample.contents(one, two))
    assert floors([sample.run()]) == []


def test_the_spread_over_draws_is_that_of_one_seed_and_no_spread_over_seeds() -> None:
    few = [
        {**sample.evaluation("student", "linear-v1", top1, 100), "sd": 1.5, "draws": [top1] * 5} for top1 in (40, 44)
    ]
    one, two = (sample.run(name, seed, evaluations=[few[seed]]) for seed, name in enumerate("ab"))
    linear = ("linear", "student", "linear-v1")
    alone = table([one]).groups[0].cells[linear]
    assert alone.sd is None and alone.only == Measured(40.0, 100, 1.5, 5)
    both = table([one, two]).groups[0].cells[linear]
    assert both.sd == pytest.approx(math.sqrt(8)) and both.only is None
    assert "± 1.5 over 5 draws" in page(sample.contents(one)) and "over 5 draws" not in page(sample.contents(one, two))


def test_a_configuration_is_named_by_a_few_settings_that_it_has() -> None:
    def label(**values: str) -> str:
        return Group(values, (sample.run(),), (), {}).label

    assert label(a="1", b="absent", c="empty", d="2") == "a 1, d 2"
    assert label(**dict.fromkeys("abcde", "1")) == "a 1, b 1, c 1, d 1, e 1"
    assert label(**dict.fromkeys("abcdef", "1")) == "a 1, b 1, c 1, d 1 and 2 more"
