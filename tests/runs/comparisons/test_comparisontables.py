"""The tables of a comparison in Markdown, LaTeX and CSV."""

import csv
import io
import json
import math
from typing import Any, get_args

import pytest

from resmom.errors import UserError
from resmom.runs.comparisons.arms import comparison
from resmom.runs.comparisons.columns import Table
from resmom.runs.comparisons.comparison import Comparison
from resmom.runs.comparisons.comparisontables import COLUMNS, Format, markdown_rows
from tests import forked
from tests.runs.comparisons.grids import line

FORMATS: tuple[Format, ...] = get_args(Format)
GAPS = {"gap__p__intra": 0.0123, "gap__p__inter": 0.2, "gap__p__chance": 1.0}


def found() -> Comparison:
    plain = [line("plain", seed, 0, knn__student=value, **GAPS) for seed, value in enumerate((40.0, 50.0, 60.0))]
    better = [line("50%_better", seed, 1, knn__student=value, **GAPS) for seed, value in enumerate((44.0, 54.5, 64.0))]
    lost = [line("lost", seed, 2, before=10.0, knn__student=10.5) for seed in range(3)]
    return comparison([*plain, *better, *lost])


def test_text_is_the_comparison_itself() -> None:
    assert found().table("text") == str(found())
    assert all("no cell is finished yet" in comparison([]).table(how) for how in FORMATS)


def test_markdown() -> None:
    lines = found().table("markdown").splitlines()
    assert lines[0] == "| kNN of the student, top-1 in % | n | mean ± sd | against plain, same seeds |"
    assert lines[2] == "| plain | 3 | 50.00 ± 10.00 |  |"
    assert lines[3] == "| 50%_better | 3 | 54.17 ± 10.00 | +4.17 [+3.45, +4.88], n = 3: resolved |"
    assert lines[4].endswith("| not shown to have learned |")
    assert "Protocol: knn-v1" in lines and "each for itself" in lines[-3]
    assert lines[-1] == "not shown to have learned, so that nothing is concluded from it: lost"
    renamed = markdown_rows(found().arms, Table("knn/student", "kNN", "", 1), {"plain": "MoCo-v3"})
    assert renamed.splitlines()[2].startswith("| MoCo-v3 | 3 | 50.0 ± 10.0 |") and "against MoCo-v3" in renamed


def test_latex() -> None:
    text = found().table("latex")
    assert r"50\%\_better & 3 & $54.17 \pm 10.00$ & $+4.17$ $[+3.45, +4.88]$ & yes \\" in text
    assert r"lost & 3 & $10.50 \pm 0.00$ & not shown to have learned &  \\" in text
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 2
    outside = [row for row in text.splitlines() if row and not row.startswith(("%", "\\")) and "&" not in row]
    assert outside == []


def test_every_form_has_the_columns_of_a_gap() -> None:
    """`lost` has none, and is not judged by it."""
    gap = [row.split() for row in str(found()).partition("gap at p")[2].splitlines()[1:5]]
    head = ["arm", "n", "inter", "chance", "intra,", "mean", "±", "sd", "intra", "against", "plain"]
    assert gap[0] == head and gap[3] == ["lost", "0", "-", "-", "-"]
    assert gap[1] == ["plain", "3", "0.2000", "1.0000", "0.0123", "±", "0.0000"]
    head, rule, *rows = found().table("markdown").split("\n\n")[2].splitlines()
    assert head == "| gap at p, 1 - cos | n | inter | chance | intra, mean ± sd | intra against plain, same seeds |"
    assert rule == "|---|---|---|---|---|---|"
    assert rows[::2] == [
        "| plain | 3 | 0.2000 | 1.0000 | 0.0123 ± 0.0000 |  |",
        "| lost | 0 | – | – | – |  |",
    ]
    accuracy, gap_table = found().table("latex").split(r"\toprule")[1:]
    assert accuracy.startswith("\n" + r"arm & $n$ & mean $\pm$ sd & against plain & resolved \\")
    assert gap_table.startswith(
        "\n" + r"arm & $n$ & inter & chance & intra, mean $\pm$ sd & intra against plain & resolved \\"
    )
    assert r"plain & 3 & $0.2000$ & $1.0000$ & $0.0123 \pm 0.0000$ &  &  \\" in gap_table
    assert r"lost & 0 & -- & -- & -- &  &  \\" in gap_table
    assert r"\begin{tabular}{lrlll}" in found().table("latex") and r"\begin{tabular}{lrrrlll}" in accuracy


def refused(form: Any) -> str:
    """What is said to another form, without the checks that tests have."""
    try:
        return found().table(form)
    except UserError as error:
        return str(error)


def test_another_form_is_refused() -> None:
    assert forked.answer(refused, "tex") == "format is 'tex'; it is one of text, markdown, latex, csv"


def test_csv_has_every_number() -> None:
    rows = list(csv.DictReader(io.StringIO(found().table("csv"))))
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
    rows = list(csv.DictReader(io.StringIO(comparison(lines).table("csv"))))
    assert (rows[-1]["arm"], rows[-1]["n"], rows[-1]["remark"]) == ("w1", "0", "diverged (seed 0)")
    assert "w1: of seed 0 the loss did not stay finite" in comparison(lines).table("markdown")


def test_csv_has_each_arms_own_protocol() -> None:
    few = {**line("few", 0, 1, knn__student=41.0), "protocols": {"knn": "knn-v1 k=5"}}
    text = comparison([line("plain", 0, 0, knn__student=40.0), few]).table("csv")
    plain, other = csv.DictReader(io.StringIO(text))
    assert (plain["protocol"], other["protocol"]) == ("knn-v1", "knn-v1 k=5")
    assert other["resolved"] == "" and other["remark"] == "measured otherwise: not comparable"


@pytest.mark.parametrize(
    ("base", "fault"),
    [
        ([line("plain", seed, 0, knn__student=10.2, **GAPS) for seed in range(3)], "is not shown to have learned"),
        (
            [{**line("plain", seed, 0, knn__student=40.0 + seed, **GAPS), "failed": "x" * (seed == 2) or None}
             for seed in range(3)],
            "diverged",
        ),
    ],
)  # fmt: skip
def test_no_form_has_a_difference_from_an_arm_that_does_not_count(base: list[dict[str, Any]], fault: str) -> None:
    better = [line("better", seed, 1, knn__student=60.0 + seed + seed / 9, **GAPS) for seed in range(3)]
    found = comparison([*base, *better])
    assert found.arms[1].against == {} and found.arms[1].base_fault == fault
    told = f"plain {fault}"
    why = f"plain, which the others are compared with, {fault}: no difference from it is shown"
    forms = {how: found.table(how) for how in FORMATS}
    assert [text.count(why) for text in forms.values()] == [1, 1, 1, 0]
    assert all("resolved" not in row and row.endswith(told) for row in forms["text"].splitlines() if "± 1.11" in row)
    assert f"| better | 3 | 61.11 ± 1.11 | {told} |" in forms["markdown"]
    assert rf"better & 3 & $61.11 \pm 1.11$ & {told} &  \\" in forms["latex"] and "yes" not in forms["latex"]
    rows = [row for row in csv.DictReader(io.StringIO(forms["csv"])) if row["arm"] == "better"]
    assert len(rows) == 4 and {(row["resolved"], row["difference"], row["remark"]) for row in rows} == {("", "", told)}
    assert '"resolved"' not in json.dumps(found.plain())
    renamed = markdown_rows(found.arms, Table("knn/student", "kNN", "", 2), {"plain": "MoCo-v3"})
    assert renamed.endswith(f"| MoCo-v3 {fault} |")
    counting = comparison([*base, *better, line("other", 0, 2, knn__student=60.0)], "other")
    assert counting.arms[2].against and not counting.arms[2].base_fault
