"""The result pages: what is committed is what the result files say, and a block that is wrong is found."""

from pathlib import Path

import pytest

from benchmarks.pages.figure import courses, dots
from benchmarks.pages.page import filled, stale
from benchmarks.pages.registry import FIGURES, PAGES
from resmom.errors import UserError

DOCS = Path(__file__).parents[2] / "docs"


def test_every_number_is_that_of_the_result_files() -> None:
    assert stale(DOCS, PAGES, FIGURES) == {}


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
