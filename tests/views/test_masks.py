"""Masks: blocks as BEiT draws them, and nothing but (seed, epoch, image, view number) decides them."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from resmom.counter import uniforms
from resmom.views.draw import draw
from resmom.views.masks import STREAM, Masks, draw_masks
from resmom.views.policy import View
from tests import oracle

INDEX = np.arange(400)
ALWAYS = Masks(share=1.0)


@pytest.mark.slow
@pytest.mark.parametrize("grid", [(14, 14), (4, 4), (6, 9), (2, 3), (1, 1)])
@pytest.mark.parametrize("masks", [Masks(), Masks(0.5, 0.5, 1.0), Masks(smallest=4)])
def test_masks_are_the_loops_of_the_papers(masks: Masks, grid: tuple[int, int]) -> None:
    found = draw_masks(masks, 3, 2, INDEX, 1, grid).numpy()
    numbers = uniforms(3, 2, INDEX, STREAM + 1, 8000)
    plain = (masks.ratio, masks.spread, masks.share, math.log(masks.aspect[1]))
    for image in INDEX[:150]:
        expected = oracle.block_mask(numbers[image].tolist(), *grid, plain, masks.smallest)
        assert np.array_equal(found[image], expected), image


@settings(max_examples=50, deadline=None)
@given(
    st.integers(1, 16),
    st.integers(1, 16),
    st.sampled_from([(0.3, 0.2), (0.4, 0.0), (0.5, 0.5), (0.0, 0.0)]),
    st.sampled_from([0.0, 0.5, 1.0]),
    st.integers(0, 2**32 - 1),
)
def test_no_mask_hides_more_than_it_may(
    rows: int, columns: int, ratio: tuple[float, float], share: float, seed: int
) -> None:
    masks = Masks(*ratio, share=share)
    found = draw_masks(masks, seed, 0, INDEX[:40], 0, (rows, columns))
    assert found.shape == (40, rows, columns) and found.dtype == torch.bool
    assert found.sum((1, 2)).max() <= sum(ratio) * rows * columns
    assert share > 0 or not found.any()


def test_the_share_of_hidden_patches() -> None:
    """Half of the views have a mask, whose part is nearly uniform on [.1, .5]: short by a patch or two of 196."""
    drawn = draw_masks(Masks(), 0, 0, np.arange(8000), 0, (14, 14)).flatten(1).double().mean(1).numpy()
    some = drawn[drawn > 0]
    assert len(some) == pytest.approx(4000, abs=5 * 45)
    assert some.min() > 0.05 and some.max() <= 0.5
    assert np.quantile(some, [0.1, 0.5, 0.9]).tolist() == pytest.approx([0.14, 0.3, 0.46], abs=0.015)
    exact = draw_masks(Masks(0.4, 0.0, 1.0), 0, 0, np.arange(2000), 0, (14, 14)).flatten(1).double().mean(1)
    assert exact.mean() == pytest.approx(0.39, abs=0.01) and exact.max() <= 0.4


def test_masks_are_blocks() -> None:
    """A hidden patch has far more hidden neighbours than patches drawn one by one would."""
    drawn = draw_masks(ALWAYS, 0, 0, INDEX, 0, (14, 14)).double()
    neighbours = (drawn[:, 1:] * drawn[:, :-1]).sum() / drawn[:, :-1].sum()
    assert neighbours > 0.7 > 2 * drawn.mean()


def test_a_mask_depends_on_seed_epoch_image_and_view_alone() -> None:
    whole = draw_masks(ALWAYS, 1, 2, INDEX, 0, (14, 14))
    shuffled = np.random.default_rng(0).permutation(len(INDEX))
    assert torch.equal(draw_masks(ALWAYS, 1, 2, INDEX[shuffled], 0, (14, 14)), whole[torch.from_numpy(shuffled)])
    parts = [draw_masks(ALWAYS, 1, 2, INDEX[start::4], 0, (14, 14)) for start in range(4)]  # as four ranks would
    assert all(torch.equal(part, whole[start::4]) for start, part in enumerate(parts))
    for seed, epoch, number in ((2, 2, 0), (1, 3, 0), (1, 2, 1)):
        other = draw_masks(ALWAYS, seed, epoch, INDEX, number, (14, 14))
        assert (other != whole).flatten(1).any(1).double().mean() > 0.99


def test_masks_do_not_follow_the_views() -> None:
    """Other numbers than those of the view itself: what is cropped tells nothing of what is hidden."""
    index = np.arange(3000)
    hidden = draw_masks(ALWAYS, 0, 0, index, 0, (14, 14)).flatten(1).double().mean(1).numpy()
    box = draw(View(), 0, 0, index, 0, (300, 300)).box.numpy()
    for number in (box[:, 0], box[:, 2] * box[:, 3]):
        assert abs(stats.spearmanr(number, hidden).statistic) < 4.5 / math.sqrt(len(index))


@pytest.mark.parametrize(
    "change",
    [
        {"ratio": 0.1},
        {"ratio": 0.9},
        {"spread": -0.1},
        {"spread": math.nan},
        {"share": 1.1},
        {"aspect": (2.0, 1.0)},
        {"smallest": -1},
    ],
)
def test_impossible_masks_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"Masks.*{next(iter(change))}"):
        replace(Masks(), **change)
