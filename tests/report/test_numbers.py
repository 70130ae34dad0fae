"""Digits, words and colours."""

import math

import numpy as np
import pytest

from resmom.report.colours import HUES, PAPER, contrast, ink, oklch, wheel
from resmom.report.embedding import apart, places
from resmom.report.numbers import count, duration, of_quantity, percent, plain, setting, small
from resmom.report.page import MOST_CLASSES


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.01234, "0.0123"), (0.3, "0.300"), (1.0, "1.00"), (12.345, "12.3"), (1234.5, "1,234"), (-0.4, "−0.400"),
        (0.0, "0"), (1.2e-5, "1.20e−05"), (3.4e7, "3.40e+07"), (math.nan, "not finite"), (None, "–"),
    ],
)  # fmt: skip
def test_three_digits(value: float | None, text: str) -> None:
    assert plain(value) == text


def test_other_numbers() -> None:
    assert percent(78.46) == "78.5" and percent(None) == "–" and percent(math.inf) == "not finite"
    assert of_quantity("kNN top-1 (%)", 5.0) == "5.0" and of_quantity("RankMe", 5.0) == "5.00"
    assert count(12345) == "12,345"
    assert [small(n, "run") for n in (0, 1, 2, 13)] == ["no runs", "one run", "two runs", "13 runs"]
    assert [duration(s) for s in (50, 600, 7200)] == ["50 seconds", "10 minutes", "2.0 hours"]
    assert [setting(v) for v in (0.0, 1e-4, True, None, "", "fp32", 3)] == [
        "0", "0.0001", "yes", "absent", "empty", "fp32", "3",
    ]  # fmt: skip


def test_contrast_by_known_values() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)  # the example of the WCAG's explanations
    assert oklch(1.0, 0.0, 0.0) == "#ffffff" and oklch(0.0, 0.0, 0.0) == "#000000"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_lines_can_be_seen_on_both_papers(scheme: str) -> None:
    """WCAG 2.2, 1.4.11: graphics need a contrast of 3 to 1."""
    inks = [ink(number) for number in range(4 * len(HUES))]
    colours = [getattr(one, scheme) for one in inks]
    assert len(set(colours)) == len(colours)
    assert min(contrast(colour, PAPER[scheme]) for colour in colours) > 3.0
    for classes in range(1, MOST_CLASSES + 1):
        own = [getattr(wheel(number, classes), scheme) for number in range(classes)]
        assert len(set(own)) == classes and min(contrast(colour, PAPER[scheme]) for colour in own) > 3.0


@pytest.mark.slow
def test_a_map_keeps_groups_together() -> None:
    random = np.random.default_rng(0)
    centres = 5 * np.eye(3, 8)
    h = np.concatenate([centre + 0.1 * random.normal(size=(20, 8)) for centre in centres]).astype(np.float32)
    found = places(h)
    assert found.shape == (60, 2) and found.min() == 0.0 and found.max() == 1.0
    group = np.repeat(np.arange(3), 20)
    distance = np.linalg.norm(found[:, None] - found[None], axis=-1) + 9 * np.eye(60)
    assert (group[distance.argmin(1)] == group).all()
    assert np.array_equal(places(h), found)


@pytest.mark.parametrize(
    ("h", "words"),
    [
        (np.ones((9, 4)), "too few"),
        (np.ones((20, 4)), "same"),
        (np.outer(np.arange(1, 21), np.ones(4)), "same"),  # one direction
        (np.full((20, 4), np.nan), "not finite"),
    ],
)
def test_no_map_of_what_has_no_shape(h: np.ndarray, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        places(h.astype(np.float32))


def test_no_two_images_share_a_cell() -> None:
    points = np.random.default_rng(0).random((40, 2)) ** 2
    cells = apart(points, 8, 6)
    assert len({(int(x), int(y)) for x, y in cells}) == 40
    assert cells.min() == 0 and cells[:, 0].max() <= 7 and cells[:, 1].max() <= 5
    assert np.array_equal(apart(np.array([[0.0, 0.0], [1.0, 1.0]]), 3, 3), [[0, 0], [2, 2]])
    assert sorted(apart(np.zeros((2, 2)), 3, 3).sum(1).tolist()) == [0, 1]  # one stays, one moves by a cell
    with pytest.raises(ValueError, match="do not fit"):
        apart(np.zeros((5, 2)), 2, 2)
