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
    assert "| gap at p, 1 - cos | n | mean ± sd | against plain, same seeds |" in lines
    assert "Protocol: knn-v1" in lines and "each for itself" in lines[-3]
    assert lines[-1] == "not shown to have learned, so that nothing is concluded from it: lost"
    renamed = markdown_rows(found().arms, "knn/student", "kNN", 1, {"plain": "MoCo-v3"})
    assert renamed.splitlines()[2].startswith("| MoCo-v3 | 3 | 50.0 ± 10.0 |") and "against MoCo-v3" in renamed


def test_latex() -> None:
    text = written(found(), "latex")
    assert r"50\%\_better & 3 & $54.17 \pm 10.00$ & $+4.17$ $[+3.45, +4.88]$ & yes \\" in text
    assert r"lost & 3 & $10.50 \pm 0.00$ & not shown to have learned &  \\" in text
    assert r"lost & 0 & -- & not shown to have learned &  \\" in text  # it has no gap
    assert text.count(r"\begin{tabular}{lrlll}") == text.count(r"\end{tabular}") == 2
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


def test_csv_has_each_arms_own_protocol() -> None:
    few = {**line("few", 0, 1, knn__student=41.0), "protocols": {"knn": "knn-v1 k=5"}}
    text = written(comparison([line("plain", 0, 0, knn__student=40.0), few]), "csv")
    plain, other = csv.DictReader(io.StringIO(text))
    assert (plain["protocol"], other["protocol"]) == ("knn-v1", "knn-v1 k=5")
    assert other["resolved"] == "" and other["remark"] == "measured otherwise: not comparable"
