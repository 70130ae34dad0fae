"""The step that is tried with modules of the user's own: what it refuses, and what it tells before the start."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from resmom.build import Own as Brought
from resmom.config import ConfigError, Run
from resmom.nets.backbones import Backbone
from resmom.runs.machine import Machine
from resmom.runs.ready import make_ready
from resmom.runs.settling.offer import Asked
from resmom.runs.settling.rehearsal import rehearse
from resmom.runs.training.job import prepare
from resmom.train.step import RESERVED
from resmom.types import Batch, Outcome, Targets, Term
from tests.runs.settling.derived import CPU, images, tiny
from tests.runs.test_own import Body, Own

RUN = tiny(Run())


class Broken(Body):
    """Its features are no numbers."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * float("nan")


class Endless(Own):
    """Its loss is infinite, whatever the features."""

    def forward(self, batch: Batch, targets: Targets, rows: slice) -> Outcome:
        outcome = super().forward(batch, targets, rows)
        return replace(outcome, terms=(*outcome.terms, Term("far", outcome.terms[0].value / 0.0)))


class Named(Own):
    """Its terms have the names given here."""

    names: tuple[str, ...] = ()

    def forward(self, batch: Batch, targets: Targets, rows: slice) -> Outcome:
        outcome = super().forward(batch, targets, rows)
        return replace(outcome, terms=tuple(Term(name, outcome.terms[0].value) for name in self.names))


class Mixing(Body):
    """Every image takes something of the mean over its batch."""

    def forward(self, x: Tensor) -> Tensor:
        features = super().forward(x).mean((2, 3))
        return features + 0.3 * features.mean(0)


class Drawing(Body):
    """It drops features in evaluation mode too."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(super().forward(x), 0.5, training=True)


def normed(norm: Callable[[], nn.Module]) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 4, 4), norm(), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def last_normed() -> nn.Module:
    """A norm over the batch behind the pooling, which takes no image alone."""
    body = (nn.Conv2d(3, 8, 4, 4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return nn.Sequential(*body, nn.BatchNorm1d(8, track_running_stats=False))


def rehearsed(run: Run = RUN, **brought: object) -> str:
    return rehearse(prepare(run, images(), CPU, Brought(**brought)))  # type: ignore[arg-type]


def test_features_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    words = r"the student of the backbone .*Broken has features that are not finite \(h, z, p of a view"
    with pytest.raises(ConfigError, match=words):
        make_ready(Asked(RUN), images(), tmp_path / "run", Machine(device="cpu", workers=1), Brought(Broken()))
    assert not (tmp_path / "run").exists()


def test_so_is_a_loss_that_is_none() -> None:
    with pytest.raises(ConfigError, match=r"the loss of the method .* at the first step \(the term far\), and nothing"):
        rehearsed(method=Endless)


@pytest.mark.parametrize(
    ("names", "wrong"), [(("own", "nce", "own"), "own"), *(((name, "nce"), name) for name in RESERVED)]
)
def test_so_are_terms_whose_names_overwrite_a_number(names: tuple[str, ...], wrong: str) -> None:
    kind = type("Named", (Named,), {"names": names})
    with pytest.raises(ConfigError, match=rf"are named {', '.join(names)}, .* as loss/NAME: {wrong} would overwrite"):
        rehearsed(method=kind)


def test_other_names_are_not() -> None:
    assert rehearsed(method=type("Named", (Named,), {"names": ("own", "nce")})) == ""


@pytest.mark.parametrize(
    ("make", "sites"),
    [
        (lambda: normed(lambda: nn.BatchNorm2d(8, track_running_stats=False)), "h, z, p"),
        (last_normed, "h, z, p"),
        (Mixing, "h, z, p"),
        (lambda: normed(lambda: nn.BatchNorm2d(8)), ""),
        (lambda: normed(lambda: nn.GroupNorm(2, 8)), ""),
        (lambda: normed(nn.Identity), ""),
        (Drawing, ""),
    ],
)
def test_features_that_depend_on_the_batch_are_told(make: Callable[[], nn.Module], sites: str) -> None:
    torch.manual_seed(3)
    told = rehearsed(backbone=make())
    assert (f"in evaluation mode ({sites}) depends on the other images of its batch" in told) if sites else told == ""


@pytest.mark.parametrize("quiet", [False, True])
def test_that_is_said_before_the_start(quiet: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_ready(Asked(RUN), images(), tmp_path, Machine(device="cpu", workers=1, quiet=quiet), Brought(Mixing()))
    assert capsys.readouterr().err.count("depends on the other images of its batch") == (not quiet)


class Cut(Own):
    """It may be cut."""

    micro_batches = True


class Whole(Cut):
    """It forgets to."""

    def forward(self, batch: Batch, targets: Targets, rows: slice) -> Outcome:
        return super().forward(batch, targets, slice(0, len(batch.index)))


class Compared(Cut):
    """Its student's outputs for some images are compared with those for all of them."""

    def forward(self, batch: Batch, targets: Targets, rows: slice) -> Outcome:
        outcome = super().forward(batch, targets, rows)
        z, others = (self.student(view).z for view in (batch.views[0][rows], batch.views[1]))
        return replace(outcome, terms=(*outcome.terms, Term("compared", (z @ others.T).square().mean())))


class InPlace(Body):
    """It changes the pixels that it is given."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.mul_(2.0))


@pytest.mark.parametrize("kind", [Whole, Compared])
def test_a_method_that_may_be_cut_and_looks_at_all_images_is_refused(kind: type[Own]) -> None:
    with pytest.raises(
        ConfigError, match=r"says micro_batches = True, but for images 4 to 7 alone its loss depends on"
    ):
        rehearsed(method=kind)
    assert rehearsed(method=type("Uncut", (kind,), {"micro_batches": False})) == ""


@pytest.mark.parametrize("body", [Body, InPlace, lambda: normed(lambda: nn.BatchNorm2d(8))])
def test_one_that_keeps_to_its_rows_is_not(body: Callable[[], nn.Module]) -> None:
    assert rehearsed(method=Cut, backbone=body()) == ""


class Selfsame(Own):
    def __init__(self, backbone: Backbone) -> None:
        super().__init__(backbone)
        self.teacher = self.student


def test_a_teacher_that_is_the_student_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"has weights of its student, .*; set self.teacher = make_teacher"):
        rehearsed(method=Selfsame)
