"""From lines of results to a table: means, paired differences, arms that do not count, files put together."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from resmom.diagnose.rules import too_short
from resmom.errors import UserError
from resmom.jsonfiles import append_line, read_lines
from resmom.runs.comparisons.arms import comparison
from resmom.runs.comparisons.compare import merge
from resmom.runs.comparisons.results import read_results
from tests.runs.comparisons.grids import line

PLAIN = [line("plain", seed, 0, knn__student=value) for seed, value in enumerate((40.0, 50.0, 60.0))]
BETTER = [line("better", seed, 1, knn__student=value) for seed, value in enumerate((41.0, 52.0, 63.0))]


def test_arms_in_the_order_of_the_grid_with_differences_by_seed() -> None:
    found = comparison([*BETTER, *PLAIN])  # as another process may have written them
    assert [arm.name for arm in found.arms] == ["plain", "better"]
    plain, better = found.arms
    assert (plain.measures["knn/student"].mean, plain.measures["knn/student"].sd) == (50.0, 10.0)
    assert plain.against == {} and plain.before is not None and plain.before.mean == 10.0
    pair = better.against["knn/student"]
    assert (pair.difference.mean, pair.difference.sd, pair.difference.n) == (2.0, 1.0, 3)
    assert pair.low == pytest.approx(2 - 4.302653 / math.sqrt(3), abs=1e-6) and pair.resolved is False
    text = str(found)
    assert "plain    3  50.00 ± 10.00" in text and "+2.00 [-0.48, +4.48], n = 3: not resolved" in text
    assert "needs about 5 seeds (80 % power)" in text and "knn-v1" in text


def test_a_clear_difference_is_resolved_and_other_seeds_are_not_paired() -> None:
    steady = [line("steady", seed, 2, knn__student=value) for seed, value in ((0, 41.0), (1, 51.1), (9, 60.0))]
    found = comparison([*PLAIN, *steady]).arms[1]
    pair = found.against["knn/student"]
    assert found.seeds == (0, 1, 9) and pair.difference.n == 2 and pair.difference.mean == pytest.approx(1.05)
    assert pair.resolved is True  # sd .0707, t 12.706, half .635
    assert "n = 2: resolved" in str(comparison([*PLAIN, *steady]))


def test_one_seed_has_no_interval() -> None:
    text = str(comparison([PLAIN[0], BETTER[0]]))
    assert "+1.00, one seed: no interval" in text and "resolved" not in text and "40.00 ±" not in text


def test_an_arm_that_did_not_learn_has_no_differences() -> None:
    lost = [line("lost", seed, 3, before=10.0, knn__student=value) for seed, value in enumerate((11.0, 9.0, 10.5))]
    found = comparison([*PLAIN, *lost])
    assert found.arms[1].learned is False and found.arms[1].against == {} and found.arms[0].learned is True
    # Rises of 1, -1 and .5: sd 1.041; one rise on 1,000 images has sqrt((.09 + .0914) / 1000) = 1.347 points.
    rise = found.arms[1].rise
    assert rise is not None and rise.mean == pytest.approx(1 / 6) and rise.least == pytest.approx(3 * 1.347, abs=2e-3)
    assert "went from 10.00 to 10.17 %, +0.17 points (n = 3); it would have to rise by more than 4.04, 3" in str(found)
    assert "lost, which the others are compared with, is not shown to have learned: no difference from" in str(
        comparison(lost)
    )


def test_an_arm_is_judged_only_where_it_has_numbers() -> None:
    gaps = {"gap__p__intra": 0.01, "gap__p__inter": 0.2, "gap__p__chance": 1.0}
    plain = [line("plain", 0, 0, knn__student=40.0, **gaps)]
    lost = [line("lost", 0, 1, before=10.0, knn__student=10.0)]  # a method without a predictor
    rows = [row for row in str(comparison([*plain, *lost])).splitlines() if row.startswith("  lost")]
    assert rows[0].endswith("not shown to have learned") and rows[1].endswith("-") and len(rows) == 2


def test_what_a_smaller_gap_tells_is_said_where_the_term_is_compared_with_none() -> None:
    gaps = {"knn__student": 40.0, "gap__p__intra": 0.01, "gap__p__inter": 0.2, "gap__p__chance": 1.0}
    plain, w1, w2 = (line(name, 0, place, **gaps) for place, name in enumerate(("plain", "w1", "w2")))
    told = "a smaller gap is what the residual term trains for (w1, w2)"
    assert told in str(comparison([plain, w1, w2])) and comparison([plain, w1]).plain()["with_term"] == ["w1"]
    for lines in ([w1, w2], [plain], [line("plain", 0, 0, knn__student=40.0), line("w1", 0, 1, knn__student=41.0)]):
        assert "trains for" not in str(comparison(lines))


def test_a_diverged_seed_is_said() -> None:
    broken = {**line("broken", 0, 1), "failed": "the loss was not finite"}
    found = comparison([*PLAIN, broken])
    assert found.arms[1].diverged == (0,) and found.arms[1].measures == {} and not found.arms[1].counts
    assert "diverged (seed 0)" in str(found)
    json.dumps(found.plain())


def test_without_labels_nothing_is_said_of_learning() -> None:
    gaps = {"gap__h__intra": 0.01, "gap__h__inter": 0.2, "gap__h__chance": 0.4}
    one = [
        line("plain", 0, 0, before=None, **gaps),
        line("other", 0, 1, before=None, **{**gaps, "gap__h__intra": 0.02}),
    ]
    found = comparison(one)
    assert found.arms[1].learned is None and found.arms[1].counts
    assert found.arms[1].against["gap/h/intra"].difference.mean == pytest.approx(0.01)
    assert "0.2000   0.4000  0.0200" in str(found) and "+0.0100" in str(found) and "kNN" not in str(found)


def test_without_labels_the_label_free_measures_stand_in_their_place() -> None:
    lines = [
        {**line(arm, seed, place, before=None, health__student__retrieval=40.0 + place + seed * (1 + place)),
         "protocols": {"health": "health-v1"}}
        for place, arm in enumerate(("plain", "other"))
        for seed in (0, 1)
    ]  # fmt: skip
    text = str(comparison(lines))
    assert "own other view found by the student, in % (health-v1)" in text and "+1.50 [" in text
    assert "without labels nothing here says which arm is better" in text and "kNN of" not in text
    labelled = [{**one, "measures": {**one["measures"], "knn/student": 50.0}} for one in lines]
    text = str(comparison(labelled))
    assert "kNN of the student" in text and "own other view" not in text and "without labels" not in text


def test_runs_too_short_to_be_judged_are_told_first() -> None:
    short = [{**one, "steps": 20} for one in PLAIN] + BETTER
    found = comparison(short)
    assert found.short == too_short(20) and str(found).startswith(too_short(20))
    assert comparison([*PLAIN, *BETTER]).short == ""
    diverged = {**line("broken", 0, 1), "failed": "the loss was not finite", "steps": 3}
    assert comparison([*PLAIN, diverged]).short == ""  # its length says nothing of the others


def test_plain_values_are_json_with_the_verdict() -> None:
    plain = json.loads(json.dumps(comparison([*PLAIN, *BETTER]).plain()))
    assert plain["against"] == "plain" and [arm["name"] for arm in plain["arms"]] == ["plain", "better"]
    pair = plain["arms"][1]["against"]["knn/student"]
    assert pair["resolved"] is False and pair["needed"] == 5 and pair["difference"]["n"] == 3


def test_what_cannot_be_compared_is_refused_or_said() -> None:
    other = {**BETTER[0], "data": {**BETTER[0]["data"], "fingerprint": "g", "origin": "held out"}}
    with pytest.raises(UserError, match=r"different images: x \(held out\); x \(its split\)"):
        comparison([*PLAIN, other])
    changed = {**PLAIN[1], "run": {**PLAIN[1]["run"], "knn": {"k": 3, "temperature": 1.0}}}
    with pytest.raises(UserError, match="arm plain differ in more than their seed"):
        comparison([PLAIN[0], changed])
    text = str(comparison([*PLAIN, {**BETTER[0], "protocols": {"knn": "knn-v2"}}]))
    assert "PROTOCOLS DIFFER, not comparable: knn-v1 / knn-v2" in text
    assert str(comparison([])) == "no cell is finished yet"


def write(path: Path, lines: list[dict[str, object]]) -> Path:
    path.parent.mkdir(exist_ok=True)
    for one in lines:
        append_line(path, one)
    return path


def test_files_of_several_machines_become_one(tmp_path: Path) -> None:
    a = write(tmp_path / "a" / "cells.jsonl", [*PLAIN[:2], BETTER[0]])
    b = write(tmp_path / "b.jsonl", [PLAIN[2], *BETTER[1:], BETTER[0]])
    merged = merge([tmp_path / "a", b], tmp_path / "all.jsonl")
    assert merged == comparison([*PLAIN, *BETTER]) == comparison(read_results([tmp_path / "all.jsonl"]))
    assert len(read_lines(tmp_path / "all.jsonl")) == 6
    with pytest.raises(UserError, match="is there already"):
        merge([a, b], tmp_path / "all.jsonl")


def test_of_one_cell_the_newest_line_counts_and_the_fuller_one(tmp_path: Path) -> None:
    fuller = {**PLAIN[0], "measures": {**PLAIN[0]["measures"], "linear/student": 44.0}}
    a, b = write(tmp_path / "a.jsonl", [PLAIN[0]]), write(tmp_path / "b.jsonl", [PLAIN[0], fuller])
    assert read_results([b]) == [fuller] and read_results([a, b]) == [fuller] and read_results([b, a]) == [fuller]


def test_files_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    a = write(tmp_path / "a.jsonl", [PLAIN[0]])
    b = write(tmp_path / "b.jsonl", [line("plain", 0, 0, knn__student=41.0)])
    bigger = {**PLAIN[0]["run"], "train": {**PLAIN[0]["run"]["train"], "batch": 77}}
    c = write(tmp_path / "c.jsonl", [{**PLAIN[0], "digest": "other", "run": bigger}])
    with pytest.raises(UserError, match=r"seed 0 is in .* different results: knn/student 40\.0 and 41\.0; leave"):
        merge([a, b], tmp_path / "out.jsonl")
    with pytest.raises(UserError, match=r"with different configurations: train.batch .* and 77; leave"):
        merge([a, c], tmp_path / "out.jsonl")
    run = line("plain", 0, 2)["run"]
    d = write(tmp_path / "other.jsonl", [{**PLAIN[0], "digest": "other", "run": run}])
    with pytest.raises(UserError, match=r"configurations: residual\.weight 0\.0 and 2\.0; leave one"):
        merge([a, d], tmp_path / "out.jsonl")
    e = write(tmp_path / "e.jsonl", [{**PLAIN[0], "failed": "the loss was not finite"}])
    with pytest.raises(UserError, match="results: it diverged in one of them"):
        merge([a, e], tmp_path / "out.jsonl")
    assert not (tmp_path / "out.jsonl").exists()
    with pytest.raises(UserError, match="does not exist"):
        read_results([tmp_path / "none.jsonl"])
    for text in ("nonsense\n", '{"kind": "train"}\n', "[1]\n"):
        (tmp_path / "d.jsonl").write_text(text)
        with pytest.raises(UserError, match="holds no cells"):
            read_results([tmp_path / "d.jsonl"])


def test_a_damaged_line_is_told_and_not_the_whole_file(tmp_path: Path) -> None:
    whole = [json.dumps(one) for one in PLAIN]
    (tmp_path / "cells.jsonl").write_text("\n".join([whole[0], whole[1][:300], whole[2], ""]))
    with pytest.raises(UserError, match=r"cells.jsonl is damaged in line 2 \(.*take that line out"):
        read_results([tmp_path])


def test_the_newest_lines_say_the_order_of_the_arms(tmp_path: Path) -> None:
    """A later call in the same folder may have other arms, another of them first."""
    kd = [line("kd", seed, 0, knn__student=50.0 + seed) for seed in range(3)]
    lines = [*PLAIN, *BETTER, *kd]
    assert [arm.name for arm in comparison(lines).arms] == ["kd", "plain", "better"]
    assert [arm.name for arm in comparison([*kd, *PLAIN, *BETTER]).arms] == ["plain", "kd", "better"]
    moved = {**line("plain", 3, 0, knn__student=45.0), "place": 2}
    assert [arm.name for arm in comparison([*PLAIN, *BETTER, moved]).arms] == ["better", "plain"]
    found = comparison(lines, first=("better", "absent", "plain"))
    assert [arm.name for arm in found.arms] == ["better", "plain", "kd"] and found.plain()["against"] == "better"
    assert comparison(lines, "kd", first=("better",)).arms[0].name == "kd"
    # Of several files the first one's order, however they are put together.
    a, b = write(tmp_path / "a.jsonl", [*PLAIN, *BETTER]), write(tmp_path / "b.jsonl", kd)
    for files, order in (([a, b], ["plain", "kd", "better"]), ([b, a], ["kd", "plain", "better"])):
        merged = merge(files, tmp_path / f"{files[0].stem}-first.jsonl")
        assert [arm.name for arm in merged.arms] == order
        assert comparison(read_results([tmp_path / f"{files[0].stem}-first.jsonl"])) == merged


def test_a_line_from_before_an_option_existed_has_its_default() -> None:
    old = line("plain", 7, 0, knn__student=45.0)
    del old["run"]["residual"]["pairs"]
    assert comparison([*PLAIN, old]).arms[0].seeds == (0, 1, 2, 7)


def test_another_arm_is_compared_with() -> None:
    found = comparison([*PLAIN, *BETTER], against="better")
    assert [arm.name for arm in found.arms] == ["better", "plain"] and found.plain()["against"] == "better"
    assert found.arms[1].against["knn/student"].difference.mean == -2.0 and "against better" in str(found)
    with pytest.raises(UserError, match=r"no arm worse to compare with; there are plain, better"):
        comparison([*PLAIN, *BETTER], against="worse")


def test_intervals_that_hold_together_are_wider_by_the_arms_that_have_one() -> None:
    third = [line("third", seed, 2, knn__student=value) for seed, value in enumerate((44.0, 52.0, 61.0))]
    single = [line("single", 0, 3, knn__student=44.0)]
    lines = [*PLAIN, *BETTER, *third, *single]
    one, both = comparison(lines), comparison(lines, together=True)
    for arm, other in zip(one.arms[1:3], both.arms[1:3], strict=True):
        ours, theirs = arm.against["knn/student"], other.against["knn/student"]
        assert theirs.confidence == pytest.approx(0.975) and ours.confidence == 0.95  # two intervals: one seed has none
        # The quantiles of Student's t with two degrees of freedom: 4.3027 and, at .9875, 6.2053.
        assert (theirs.high - theirs.difference.mean) / (ours.high - ours.difference.mean) == pytest.approx(
            1.4422, 1e-4
        )
    assert "hold together" in str(both) and both.plain()["together"] is True
    assert comparison([*PLAIN, *BETTER], together=True).arms[1].against == comparison([*PLAIN, *BETTER]).arms[1].against


def test_differences_by_rounding_are_not_resolved() -> None:
    """Two seeds that both gain one image of the thousand."""
    plain = [line("plain", seed, 0, knn__student=40.0 + seed) for seed in range(2)]
    same = [line("same", seed, 1, knn__student=40.1 + seed) for seed in range(2)]
    pair = comparison([*plain, *same]).arms[1].against["knn/student"]
    assert pair.difference.sd == pytest.approx(0.0, abs=1e-9) and pair.resolved is False


def test_gaps_are_no_shares_of_images_and_are_not_rounded() -> None:
    one, other = (
        [line(name, seed, place, knn__student=40.0, gap__h__intra=gap) for seed, gap in enumerate(gaps)]
        for place, (name, gaps) in enumerate({"plain": (0.010, 0.011), "other": (0.020, 0.022)}.items())
    )
    pair = comparison([*one, *other]).arms[1].against["gap/h/intra"]
    half = 12.706205 * 0.001 / 2  # t for one degree of freedom, and sd / sqrt(2) of .010 and .011
    assert pair.low == pytest.approx(0.0105 - half, abs=1e-8) and pair.resolved is True


def test_cells_of_other_test_images_are_refused() -> None:
    one, other = ([{**cell, "data": {**cell["data"], "test": test}} for cell in PLAIN] for test in ("a", "b"))
    assert comparison([*one[:2], PLAIN[2]]).arms[0].seeds == (0, 1, 2)  # not written down by earlier versions
    with pytest.raises(UserError, match="measured on different images"):
        comparison([one[0], other[1]])


def test_arms_that_were_measured_otherwise_have_no_differences() -> None:
    few = [{**cell, "protocols": {"knn": "knn-v1 k=5", "gap": "gap-v1"}} for cell in BETTER]
    found = comparison([*PLAIN, *few])
    assert found.arms[1].otherwise == ("knn",) and found.arms[1].against == {}
    text = str(found)
    assert "PROTOCOLS DIFFER" in text and "measured otherwise: not comparable" in text and "resolved" not in text


def test_where_the_images_are_from_is_no_other_protocol() -> None:
    """The words differ, and fingerprints say that the images are the same."""
    here, there = (
        [
            {**cell, "protocols": {"knn": f"knn-v1 k=20, {origin}"}, "data": {**cell["data"], "origin": origin}}
            for cell in cells
        ]
        for cells, origin in ((PLAIN, "arrays in a.npz"), (BETTER, "arrays in b.npz"))
    )
    found = comparison([*here, *there])
    assert found.arms[1].otherwise == () and "knn/student" in found.arms[1].against


def test_where_all_diverged_it_says_so() -> None:
    broken = [{**line(name, 0, place), "failed": "x"} for place, name in enumerate(("plain", "w1"))]
    text = str(comparison(broken))
    assert (
        "plain, which the others are compared with, diverged: no difference from it is shown (why stands below)" in text
    )
    assert "w1 diverged: of seed 0 the loss did not stay finite" in text and "labelled images" not in text


def test_cells_of_an_arm_that_differ_are_named_and_the_folder_of_weights_is_no_difference() -> None:
    def begun(file: str, content: str, **train: object) -> dict[str, Any]:
        cell = line("plain", len(file), 0, knn__student=40.0)
        run = {**cell["run"], "init": file, "train": {**cell["run"]["train"], **train}}
        return {**cell, "run": run, "digest": file, "init": content}

    first = begun("/a/w.pth", "c0")
    assert comparison([first, begun("/home/b/w.pth", "c0")]).arms[0].measures["knn/student"].n == 2
    with pytest.raises(UserError, match=r"differ in more than their seed, in train.batch; they cannot"):
        comparison([first, begun("/home/b/w.pth", "c0", batch=77)])
    with pytest.raises(UserError, match=r"differ in more than their seed, in init; they cannot"):
        comparison([first, begun("/home/b/w.pth", "d1")])
    with pytest.raises(UserError, match=r"differ in more than their seed, in init; they cannot"):
        comparison([begun("/a/w.pth", ""), begun("/home/b/w.pth", "")])  # nobody wrote down what they held


def test_files_with_the_same_cells_become_one(tmp_path: Path) -> None:
    """What was written otherwise and says the same is no contradiction."""
    known = {**PLAIN[0]["measures"], "gap/h/intra": math.nan}
    pairs = [
        ({**PLAIN[0], "measures": known}, {**PLAIN[0], "measures": known}),
        ({**PLAIN[0], "failed": "see /a/last.pt"}, {**PLAIN[0], "failed": "see /b/last.pt"}),
        (PLAIN[0], {**PLAIN[0], "digest": "of another version"}),
        (
            {**PLAIN[0], "run": {**PLAIN[0]["run"], "init": "/a/w.pth"}, "init": "c0"},
            {**PLAIN[0], "run": {**PLAIN[0]["run"], "init": "/b/w.pth"}, "init": "c0", "digest": "b"},
        ),
    ]
    for number, (one, other) in enumerate(pairs):
        files = [write(tmp_path / f"{number}{name}.jsonl", [cell]) for name, cell in (("a", one), ("b", other))]
        assert len(read_results(files)) == 1
