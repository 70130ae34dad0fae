"""Comparisons as Python users ask for them: what is refused, in a sentence, before anything is opened or trained."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import resmom
from resmom.build import Own
from resmom.data.dataset import as_data
from resmom.errors import UserError
from resmom.runs.comparisons.given import arms_of, listed_seeds
from resmom.runs.comparisons.grid import share_of
from resmom.runs.result import Result
from tests.runs.crash import QUIET, small_run, write_images

VARY = {"residual.weight": [0, 1]}


def varied(vary: object) -> object:
    return arms_of(small_run(), None, vary)


def armed(arms: object) -> object:
    return arms_of(small_run(), arms, None)


@pytest.mark.parametrize(
    ("read", "given", "words"),
    [
        (listed_seeds, 3, r"seeds are a list of whole numbers, \[0, 1, 2\]; got 3"),
        (listed_seeds, "0,1", "seeds are a list of whole numbers"),
        (listed_seeds, [0, 1.5], "seeds are a list of whole numbers"),
        (listed_seeds, [True], "seeds are a list of whole numbers"),
        (varied, {"residual.weight": 1.0}, "a list of values for every option; got 1.0 for residual.weight"),
        (varied, {"method": "byol"}, "a list of values for every option; got 'byol' for method"),
        (varied, ["residual.weight"], "vary has options with lists of values"),
        (armed, ["plain"], "arms are options by the names of arms"),
        (armed, {"plain": 3}, "arms are options by the names of arms"),
        (armed, {1: {}}, "arms are options by the names of arms"),
        (share_of, "a tenth", "held_out is a share of the training images"),
    ],
)
def test_a_mistake_is_told_in_a_sentence(read: Callable[[object], object], given: object, words: str) -> None:
    with pytest.raises(UserError, match=words):
        read(given)


def test_a_recipe_names_no_images(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data is None, and mocov3_digits names no images: a recipe has none"):
        resmom.compare("mocov3_digits", None, tmp_path / "out", vary=VARY)
    assert not (tmp_path / "out").exists()


def test_seeds_may_be_numbers_of_numpy_and_ranges() -> None:
    assert listed_seeds(np.arange(3)) == listed_seeds(range(3)) == (0, 1, 2)
    assert all(type(seed) is int for seed in listed_seeds(np.arange(3)))


@pytest.mark.slow
def test_the_images_of_a_run_that_were_given_from_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from resmom.runs.pretrain import pretrain

    file = np.load(write_images(tmp_path / "i.npz"))
    images = as_data((file["train_images"], file["train_labels"]))
    pretrain(small_run(epochs=2), images, tmp_path / "run", QUIET)
    with pytest.raises(UserError, match=r"data is None, and run names no images: .* given from Python .* give data="):
        resmom.compare(tmp_path / "run", None, tmp_path / "out", vary=VARY)
    run = resmom.result(tmp_path / "run", data=images)
    assert isinstance(run, Result) and run.own == Own()
    seen: list[object] = []

    class SeenError(Exception):
        pass

    def ask(grid: object, data: object, *rest: object, **more: object) -> None:
        seen.append(data)
        raise SeenError

    monkeypatch.setattr("resmom.runs.python.compare_grid", ask)
    with pytest.raises(SeenError):
        resmom.compare(run, None, tmp_path / "out", vary=VARY)
    assert seen == [images]
