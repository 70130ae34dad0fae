"""Views in any orientation in whole batches and runs: what compares places, or hides them, means the right ones."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import resmom
from resmom.config import Run
from resmom.data.open import open_data
from resmom.losses.dense import nearest_places
from resmom.methods.densecl import DenseCL, DenseCLMethod
from resmom.nets.backbones import Backbone
from resmom.recipes.orientation import with_orientation
from resmom.runs.training.job import prepare
from resmom.types import Batch
from resmom.views.apply import render, views
from resmom.views.draw import draw
from resmom.views.policy import Policy, View
from tests.runs.crash import QUIET, dino_run, ibot_run, small_run, write_images
from tests.runs.settling.derived import CPU
from tests.runs.test_resume import assert_same_run, stop_at

WHOLE = View(size=8, scale=(1.0, 1.0), ratio=(1.0, 1.0), flip=0.0, jitter=0.0, grey=0.0, blur=0.0)
TURNED = replace(WHOLE, flip=0.5, flip_vertical=0.5, quarter_turns=1.0)
N = 24


def both() -> tuple[Tensor, Tensor, Tensor]:
    """Noise of 8 x 8 pixels, the same turned, and from which place every pixel of that came (N x 64)."""
    random = np.random.default_rng(0)
    images = torch.from_numpy(random.integers(0, 256, (N, 3, 8, 8), dtype=np.uint8))
    upright, turned = views(images, np.arange(N), Policy((WHOLE, TURNED), (0.5,) * 3, (0.25,) * 3), 0, 0)
    places = torch.arange(64.0).view(1, 1, 8, 8).expand(N, -1, -1, -1) / 64
    moved = render(places, draw(TURNED, 0, 0, np.arange(N), 1, (8, 8)), TURNED)
    return upright, turned, (64 * moved).round().long().flatten(1)


def test_dense_correspondences_follow_pixels_that_are_turned() -> None:
    upright, turned, origin = both()
    match = nearest_places(turned.flatten(2), upright.flatten(2))
    assert torch.equal(match, origin)
    assert not torch.equal(match, torch.arange(64).expand(N, -1))


class EachPlace(nn.Module):
    """A body that says of a place what it says of its pixel, wherever it is."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 12, 1), nn.GELU())

    def forward_features(self, x: Tensor) -> Tensor:
        return self.layers(x)

    def forward_head(self, x: Tensor, pre_logits: bool = True) -> Tensor:
        return x.mean((2, 3))


def test_densecls_loss_of_places_does_not_depend_on_how_the_key_is_turned() -> None:
    torch.manual_seed(0)
    method = DenseCLMethod(Backbone(EachPlace(), 12), DenseCL(hidden=16, out=8, queue=40)).double()
    upright, turned, _ = both()

    def losses(key: Tensor) -> list[float]:
        batch = Batch((upright.double(), key.double()), torch.arange(N))
        return [term.value.item() for term in method(batch, method.teach(batch), slice(0, N)).terms]

    assert losses(turned) == pytest.approx(losses(upright), rel=1e-9)
    assert losses(turned.roll(1, 0)) != pytest.approx(losses(upright), rel=1e-3)


def eight(view: Tensor) -> Tensor:
    """A view (C x S x S) in its eight orientations."""
    return torch.stack([way.rot90(turns, (1, 2)) for way in (view, view.flip(2)) for turns in range(4)])


@pytest.mark.usefixtures("small_transformers")
@pytest.mark.parametrize("run", [small_run(), dino_run(), ibot_run()], ids=["mocov3", "dino", "ibot"])
def test_batches_have_the_same_masks_and_the_same_crops_each_in_some_orientation(run: Run, tmp_path: Path) -> None:
    data = open_data(str(write_images(tmp_path / "images.npz")))
    plain, made = (prepare(each, data, CPU).batch(1) for each in (run, with_orientation(run, "any")))
    assert torch.equal(plain.index, made.index) and len(plain.masks) == len(made.masks)
    for one, other in zip(plain.masks, made.masks, strict=True):  # hidden is what lies there when the view is turned
        assert torch.equal(one, other)
    ways = set()
    for one, other in zip(plain.views, made.views, strict=True):
        for upright, turned in zip(one, other, strict=True):
            far = (eight(upright) - turned).abs().amax((1, 2, 3))
            assert far.min() < 1e-3
            ways.add(int(far.argmin()))
    assert len(ways) > 4


@pytest.mark.slow
@pytest.mark.usefixtures("small_transformers")
def test_a_run_in_any_orientation_is_resumed_to_the_bit_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, run = write_images(tmp_path / "images.npz"), with_orientation(ibot_run(), "any")
    whole = resmom.pretrain(data, tmp_path / "whole", run, device="cpu", workers=QUIET.workers, quiet=True)
    assert stop_at(7, run, data, tmp_path / "run", monkeypatch).step == 7
    resmom.resume(tmp_path / "run", device="cpu", workers=QUIET.workers, quiet=True)
    assert_same_run(tmp_path / "whole", tmp_path / "run")
    card = (whole.export(tmp_path / "out").folder / "README.md").read_text()
    assert "turned by a multiple of 90 degrees always" in card
