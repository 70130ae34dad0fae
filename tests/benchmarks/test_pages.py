"""The result pages: what is committed is what the result files say, and a block that is wrong is found."""

import re
import statistics
from pathlib import Path
from typing import Any

import pytest

from benchmarks.pages.figure import courses, dots
from benchmarks.pages.page import filled, stale
from benchmarks.pages.registry import FIGURES, PAGES, QUESTIONS
from benchmarks.pages.short import Row, short
from benchmarks.pages.tables import ahead, lead, lines_of, twins
from resmom.errors import UserError
from resmom.jsonfiles import append_line

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.slow
def test_every_number_is_that_of_the_result_files() -> None:
    assert stale(DOCS, PAGES, FIGURES) == {}


BLOCK = re.compile(r"<!-- ([\w-]+) -->\n.*?<!-- /\1 -->", re.DOTALL)
INTERVAL = re.compile(r"([+-]?\d*\.\d+) \[([+-]?\d*\.\d+), ([+-]?\d*\.\d+)\]")
QUOTING = (
    *(
        "../README.md",
        "automatic.md",
        "residual.md",
        "results/settings.md",
        "results/questions.md",
        "results/cifar100.md",
    ),
    "results/sametime.md",
)


def intervals(text: str) -> list[tuple[str, ...]]:
    return INTERVAL.findall(" ".join(text.split()))


def computed() -> set[tuple[float, ...]]:
    """The intervals of all blocks that are made from result files."""
    blocks = [block[0] for page in PAGES for block in BLOCK.finditer((DOCS / page).read_text())]
    return {tuple(map(float, found)) for text in blocks for found in intervals(text)}


@pytest.mark.parametrize("page", QUOTING)
def test_every_interval_in_words_is_a_computed_one(page: str) -> None:
    """Rounded as far as the words have it, and either way round: a lead of one is the deficit of the other."""
    known = computed()
    known |= {(-mean, -high, -low) for mean, low, high in known}
    for quoted in intervals(BLOCK.sub("", (DOCS / page).read_text())):
        digits = [len(number.partition(".")[2]) for number in quoted]
        near = (
            all(abs(a - float(b)) <= 0.5 * 10**-d + 1e-9 for a, b, d in zip(one, quoted, digits, strict=True))
            for one in known
        )
        assert any(near), f"{page}: {quoted} is in no block"


def test_a_changed_number_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- x -->\n1\n<!-- /x -->\nb\n")
    assert stale(tmp_path, {"page.md": {"x": lambda docs: "1"}}, {}) == {}
    assert stale(tmp_path, {"page.md": {"x": lambda docs: "2"}}, {})[page] == "a\n<!-- x -->\n2\n<!-- /x -->\nb\n"


def test_a_block_without_a_place_is_refused() -> None:
    with pytest.raises(UserError, match="no place for"):
        filled("text", {"x": "1"}, "page.md")


def test_the_figure_has_a_dot_for_every_run() -> None:
    svg = dots("t", "%", {"a": [1.0, 2.0], "b": [3.0]})
    assert svg.count("<circle") == 3 and svg.count('class="mean"') == 2


def test_a_mark_is_drawn_where_its_value_is() -> None:
    svg = dots("t", "%", {"a": [1.0], "b": [3.0]}, {"floor": 3.0})
    mark = next(part for part in svg.splitlines() if 'class="floor"' in part)
    dot = [part for part in svg.splitlines() if "<circle" in part][-1]
    assert mark.split('x1="')[1].split('"')[0] == dot.split('cx="')[1].split('"')[0] and ">floor<" in svg


def test_the_courses_have_a_line_for_every_run_and_arm() -> None:
    svg = courses("t", "epochs", {"a": [[(1, 0.1), (2, 0.01)], [(1, 0.1), (2, 0.04)]], "b": [[(1, 0.1), (2, 0.02)]]})
    assert svg.count('class="one c0"') == 2 and svg.count('class="mean') == 2
    # The mean of .01 and .04 on a logarithmic scale is .02, where the other arm ends too.
    ends = [line.split()[-1].rstrip('"/>') for line in svg.splitlines() if 'class="mean' in line]
    assert ends[0] == ends[1]
    names = [line for line in svg.splitlines() if 'class="t' in line]
    heights = [float(name.split('y="')[1].split('"')[0]) for name in names]
    assert heights[1] - heights[0] >= 15


@pytest.mark.parametrize("arms", [{}, {"a": []}, {"a": [[(1, 0.0)]]}, {"a": [[(1, 1.0)], [(2, 1.0)]]}])
def test_courses_that_cannot_be_drawn_are_refused(arms: dict[str, list[list[tuple[float, float]]]]) -> None:
    with pytest.raises(ValueError):
        courses("t", "epochs", arms)


def line(arm: str, seed: int, knn: float, before: float = 10.0) -> dict[str, Any]:
    """A line of a result file with what the tables read."""
    measures = {"knn/student": knn, "knn/teacher": knn - 1}
    course = [{"epoch": e, "student": knn, "teacher": knn + e - 1} for e in (0.0, 0.5, 1.0)]
    return {
        **{"format": 1, "arm": arm, "place": 0, "seed": seed, "digest": f"{arm} {seed}", "failed": None},
        **{"settings": {}, "steps": 100, "before": before, "queries": 10_000, "measures": measures, "protocols": {}},
        **{"data": {"name": "toy", "origin": "", "fingerprint": "f"}, "run": {"train": {"seed": seed}}},
        **{"curves": {"train": [], "knn": course}},
    }


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    (tmp_path / "results").mkdir()
    for seed, shift in enumerate((0.0, 0.5, 1.0)):
        append_line(tmp_path / "results" / "m.jsonl", line("a", seed, 20 + shift))
        append_line(tmp_path / "results" / "m.jsonl", line("a+t", seed, 22 + 1.1 * shift))
        append_line(tmp_path / "results" / "m.jsonl", line("b", seed, 10.1))
        append_line(tmp_path / "results" / "m.jsonl", line("b+t", seed, 20 + shift))
    append_line(tmp_path / "results" / "m.jsonl", line("c", 0, 20))
    return tmp_path


def test_twins_are_compared_with_themselves(docs: Path) -> None:
    """What did not learn without the term says nothing of the term, and half a pair nothing at all."""
    told = twins(docs, "m.jsonl", {"a": "A", "b": "B", "c": "C"}, "knn/student", "+t")
    _, _, first, second = told.splitlines()
    assert first.startswith("| A | 10.00 ± 0.00 | 20.50 ± 0.50 | 22.55 ± 0.55 | +2.05 [") and "resolved" in first
    assert second.endswith(
        "| not resolved: without the term it did not learn (it rose by +0.10, told from 0 and yet too little) |"
    )
    for seed, value in enumerate((10.3, 9.8)):  # a rise that two seeds do not tell from 0
        append_line(docs / "results" / "d.jsonl", line("d", seed, value))
        append_line(docs / "results" / "d.jsonl", line("d+t", seed, 20 + value / 10))
    last = twins(docs, "d.jsonl", {"d": "D"}, "knn/student", "+t").splitlines()[-1]
    assert re.search(r"did not learn \(it rose by \+0.05, which about \d+ seeds would tell from 0\) \|$", last)


def test_the_teacher_is_ahead_where_its_knn_is_higher(docs: Path) -> None:
    told = ahead(docs, "m.jsonl", {"a": "A", "c": "C"}).splitlines()
    assert told[0] == "| after epoch | 0.5 | 1 |"
    assert told[2] == "| A | -0.50 ± 0.00 | 0.00 ± 0.00 |" and told[3] == "| C | -0.50 | 0.00 |"


def test_the_lead_along_the_way_is_by_seed(docs: Path) -> None:
    """22, 22.55 and 23.1 against 20, 20.5 and 21: 2.05 on the mean, t(.975, 2) = 4.303 times .05 / sqrt(3) either way.

    The last column is what the lead gained from the first time to the last. An arm of another seed has no lead, one of
    a single seed has no interval.
    """
    found = lead(docs, "m.jsonl", {"a": "A", "a+t": "T", "c": "C"}).splitlines()
    assert found[0] == "| over A, after epoch | 0.5 | 1 | gained |"
    assert found[1] == "|---|---|---|---|"
    lead_then = "+2.05 [+1.93, +2.17]"
    assert found[2:4] == [f"| T, {n} | {lead_then} | {lead_then} | +0.00 |" for n in ("student", "teacher")]
    assert found[4] == "| C, student | +0.00 | +0.00 | +0.00 |"
    append_line(docs / "results" / "m.jsonl", line("d", 9, 20))
    assert lead(docs, "m.jsonl", {"a": "A", "d": "D"}).splitlines()[-1] == "| D, teacher | – | – | – |"
    for seed, (early, late) in enumerate(((1.0, 2.0), (1.0, 2.5), (1.0, 3.0))):
        own = line("e", seed, 20)
        for point, more in zip(own["curves"]["knn"][1:], (early, late), strict=True):
            point["student"] = 20 + 0.5 * seed + more
        append_line(docs / "results" / "m.jsonl", own)
    # Gained 1, 1.5 and 2: 1.5, and 4.303 times .5 / sqrt(3) either way.
    assert lead(docs, "m.jsonl", {"a": "A", "e": "E"}).splitlines()[2].endswith("| +1.50 [+0.26, +2.74] |")


def test_the_short_table_has_the_plain_accuracy_and_the_paired_difference() -> None:
    values = {
        (arm, line["seed"]): line["measures"]["knn/student"]
        for arm in ("plain", "w2")
        for line in lines_of(DOCS, QUESTIONS, [arm])
    }
    seeds = sorted(seed for arm, seed in values if arm == "w2")
    plain = [values["plain", seed] for seed in seeds]
    mean = statistics.fmean(values["w2", seed] - values["plain", seed] for seed in seeds)
    row = short(DOCS, [Row("CIFAR-100", 4, "weight 2", QUESTIONS, "w2")]).splitlines()[-1]
    start = "| CIFAR-100 | 4 | weight 2"
    assert row.startswith(f"{start} | {statistics.fmean(plain):.2f} ± {statistics.stdev(plain):.2f} | {mean:+.2f} [")
    assert row.endswith(f"n = {len(seeds)}: resolved |")
