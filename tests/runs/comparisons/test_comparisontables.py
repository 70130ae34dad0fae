"""The tables of a comparison in Markdown, LaTeX and CSV."""

import csv
import io
import math

import pytest

from resmom.runs.comparisons.arms import comparison
from resmom.runs.comparisons.comparison import Comparison
from resmom.runs.comparisons.comparisontables import COLUMNS, markdown_rows, written
from tests.runs.comparisons.grids import line

GAPS = {"gap__p__intra": 0.0123, "gap__p__inter": 0.2, "gap__p__chance": 1.0}


def found() -> Comparison:
    plain = [line("plain", seed, 0, knn__student=value, **GAPS) for seed, value in enumerate((40.0, 50.0, 60.0))]
    better = [line("50%_better", seed, 1, knn__student=value, **GAPS) for seed, value in enumerate((44.0, 54.5, 64.0))]
    lost = [line("lost", seed, 2, before=10.0, knn__student=10.5) for seed in range(3)]
    return comparison([*plain, *better, *lost])


def test_text_is_the_comparison_itself() -> None:
    assert written(found(), "text") == str(found())
    assert all(
        "no cell is finished yet" in written(comparison([]), how) for how in ("text", "markdown", "latex", "csv")
    )


def test_markdown() -> None:
    lines = written(found(), "markdown").splitlines()
    assert lines[0] == "| kNN of the student, top-1 in % | n | mean ± sd | against plain, same seeds |"
    assert lines[2] == "| plain | 3 | 50.00 ± 10.00 |  |"
    assert lines[3] == "| 50%_better | 3 | 54.17 ± 10.00 | +4.17 [+3.45, +4.88], n = 3: resolved |"
    assert lines[4].endswith("| not shown to have learned |")
    gap = lines.index("| gap at p, 1 - cos | n | inter | chance | intra, mean ± sd | against plain, same seeds |")
    assert lines[gap + 1] == "|---|---|---|---|---|---|"
    assert lines[gap + 2] == "| plain | 3 | 0.2000 | 1.0000 | 0.0123 ± 0.0000 |  |"
    assert lines[gap + 4] == "| lost | 0 | – | – | – | not shown to have learned |"
    assert "Protocol: knn-v1" in lines and "each for itself" in lines[-3]
    assert lines[-1] == "not shown to have learned, so that nothing is concluded from it: lost"
    renamed = markdown_rows(found().arms, "knn/student", "kNN", 1, {"plain": "MoCo-v3"})
    assert renamed.splitlines()[2].startswith("| MoCo-v3 | 3 | 50.0 ± 10.0 |") and "against MoCo-v3" in renamed


def test_latex() -> None:
    text = written(found(), "latex")
    assert r"50\%\_better & 3 & $54.17 \pm 10.00$ & $+4.17$ $[+3.45, +4.88]$ & yes \\" in text
    assert r"lost & 3 & $10.50 \pm 0.00$ & not shown to have learned &  \\" in text
    assert r"lost & 0 & -- & -- & -- & not shown to have learned &  \\" in text  # it has no gap
    assert r"arm & $n$ & inter & chance & intra, mean $\pm$ sd & against plain & resolved \\" in text
    assert text.count(r"\begin{tabular}{lrlll}") == text.count(r"\begin{tabular}{lrrrlll}") == 1
    assert text.count(r"\end{tabular}") == 2
    outside = [row for row in text.splitlines() if row and not row.startswith(("%", "\\")) and "&" not in row]
    assert outside == []


def test_csv_has_every_number() -> None:
    rows = list(csv.DictReader(io.StringIO(written(found(), "csv"))))
    assert tuple(rows[0]) == COLUMNS and {row["measure"] for row in rows} >= {"knn/student", "gap/p/inter"}
    plain, better, lost = (row for row in rows if row["measure"] == "knn/student")
    assert (plain["arm"], plain["against"], plain["remark"]) == ("plain", "", "")
    assert (better["against"], better["pairs"], better["resolved"], better["confidence"]) == (
        "plain",
        "3",
        "True",
        "0.95",
    )
    assert float(better["low"]) == pytest.approx(25 / 6 - 4.302653 * float(better["difference_sd"]) / math.sqrt(3))
    assert lost["remark"] == "not shown to have learned" and float(lost["mean"]) == 10.5


def test_arms_that_diverged_have_a_line() -> None:
    lines = [line("plain", 0, 0, knn__student=40.0), {**line("w1", 0, 1), "failed": "x"}]
    rows = list(csv.DictReader(io.StringIO(written(comparison(lines), "csv"))))
    assert (rows[-1]["arm"], rows[-1]["n"], rows[-1]["remark"]) == ("w1", "0", "diverged (seed 0)")
    assert "w1: of seed 0 the loss did not stay finite" in written(comparison(lines), "markdown")


@pytest.mark.parametrize(
    ("first", "why"), [({"before": 10.0}, "plain is not shown to have learned"), ({"failed": "x"}, "plain diverged")]
)
def test_no_form_calls_a_difference_from_an_arm_that_did_not_learn_resolved(first: dict[str, object], why: str) -> None:
    plain = [line("plain", seed, 0, knn__student=10.0 + seed / 9, **GAPS) | first for seed in range(3)]
    better = [line("better", seed, 1, knn__student=50.0 + seed / 9, **GAPS) for seed in range(3)]
    for lines, against in (([*plain, *better], ""), ([*better, *plain], "plain")):
        found = comparison(lines, against)
        arm = found.arms[1]
        assert (arm.name, arm.base, arm.against, arm.counts) == ("better", "plain", {}, True)
        assert f"{why}" in written(found, "latex") and "& yes" not in written(found, "latex")
        assert written(found, "markdown").count(f"| {why} |") == 2 and "resolved" not in written(found, "markdown")
        rows = [row for row in csv.DictReader(io.StringIO(written(found, "csv"))) if row["arm"] == "better"]
        assert {(row["resolved"], row["difference"], row["remark"]) for row in rows} == {("", "", why)}
        assert found.plain()["arms"][1]["against"] == {} and found.plain()["arms"][1]["unsound"] == why
        assert "resolved" not in str(found)


def test_csv_has_each_arms_own_protocol() -> None:
    few = {**line("few", 0, 1, knn__student=41.0), "protocols": {"knn": "knn-v1 k=5"}}
    text = written(comparison([line("plain", 0, 0, knn__student=40.0), few]), "csv")
    plain, other = csv.DictReader(io.StringIO(text))
    assert (plain["protocol"], other["protocol"]) == ("knn-v1", "knn-v1 k=5")
    assert other["resolved"] == "" and other["remark"] == "measured otherwise: not comparable"
