"""The result pages: what is committed is what the result files say, and a block that is wrong is found."""

from pathlib import Path

import pytest

from benchmarks.pages.figure import dots
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
