"""The step that is tried with modules of the user's own: what it refuses."""

from dataclasses import replace
from pathlib import Path

import pytest
from torch import Tensor

from resmom.build import Own as Brought
from resmom.config import ConfigError, Run
from resmom.runs.job import prepare
from resmom.runs.machine import Machine
from resmom.runs.ready import make_ready
from resmom.runs.settling.rehearsal import rehearse
from resmom.runs.settling.settle import Asked
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


def rehearsed(run: Run = RUN, **brought: object) -> None:
    rehearse(prepare(run, images(), CPU, Brought(**brought)))  # type: ignore[arg-type]


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
    rehearsed(method=type("Named", (Named,), {"names": ("own", "nce")}))
