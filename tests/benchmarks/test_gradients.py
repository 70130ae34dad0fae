"""The gradient of the residual term alone: it is what the term adds to the whole gradient, and nothing is trained."""

from pathlib import Path

import pytest
import torch

from benchmarks.gradients import equal_weights, forms, main, norms
from resmom.data.open import open_data
from resmom.errors import UserError
from resmom.losses.residual import Residual
from resmom.methods.byol import Byol
from resmom.runs.comparisons.grid import read_grid
from resmom.runs.loaded import load_run
from resmom.runs.pretrain import pretrain
from resmom.runs.training.job import Job, prepare
from resmom.train.state import load_state, student_of
from resmom.train.step import slices, total_loss
from tests.runs.crash import QUIET, small_run, write_images

TERMS = {"same": Residual(2.0), "cross": Residual(1.0, pairing="cross"), "z": Residual(1.0, "z")}
GRID = """{"name": "g", "recipe": "mocov3_digits", "arms": {"plain": {}, "w2": {"residual.weight": 2},
"cross": {"residual.weight": 1, "residual.pairing": "cross"}}, "seeds": [0]}"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gradients")
    data = write_images(folder / "images.npz", n=60, classes=3)
    return pretrain(small_run(epochs=2), str(data), folder / "run", QUIET).path


@pytest.fixture
def job(run: Path) -> Job:
    loaded = load_run(run)
    job = prepare(loaded.run, open_data(loaded.data), loaded.device, start=False)
    load_state(job.state, loaded.content["state"])
    return job


def _whole(job: Job, term: Residual) -> list[torch.Tensor]:
    """The gradient of the trained total on the next batch."""
    method = job.state.method.train()
    batch = job.batch(job.state.step)
    outcome = method(batch, method.teach(batch), next(slices(len(batch.index), 0)))
    total, _ = total_loss(outcome, term, term.weight)
    student = student_of(method)
    student.zero_grad()
    total.backward()
    return [p.grad.clone() for p in student.parameters() if p.grad is not None]


def test_the_norm_is_of_what_the_term_adds_to_the_gradient(job: Job) -> None:
    found = norms(job, TERMS, batches=1)
    without = _whole(job, Residual(0.0))
    for name, term in TERMS.items():
        added = [a - b for a, b in zip(_whole(job, term), without, strict=True)]
        norm = torch.stack([each.square().sum() for each in added]).sum().sqrt()
        assert found[name] * term.weight == pytest.approx(float(norm), rel=1e-3)
    assert len({round(value, 6) for value in found.values()}) == len(TERMS)


def test_weights_make_the_pull_equal(job: Job) -> None:
    found = norms(job, TERMS, batches=2)
    weights = equal_weights(found, TERMS)
    assert weights["same"] == 2.0
    assert weights["cross"] * found["cross"] == pytest.approx(2.0 * found["same"])


def test_from_the_command_line(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "g.json").write_text(GRID)
    before = (run / "checkpoints" / "last.pt").read_bytes()
    grid = read_grid(tmp_path / "g.json")
    assert list(forms(grid)) == list(forms(grid, grid.base.method)) == ["w2", "cross"]
    assert forms(grid, Byol()) == {}
    assert main([str(tmp_path / "g.json"), str(run), "--batches", "2", "--out", str(tmp_path / "o" / "g.json")]) == 0
    assert "equal at weight 2.000" in capsys.readouterr().out
    assert (run / "checkpoints" / "last.pt").read_bytes() == before
    written = (tmp_path / "o" / "g.json").read_text()
    assert str(tmp_path) not in written and '"norms"' in written


def test_what_has_no_term_is_refused(run: Path, tmp_path: Path) -> None:
    grid = tmp_path / "g.json"
    grid.write_text('{"name": "g", "recipe": "mocov3_digits", "arms": {"plain": {}}, "seeds": [0]}')
    with pytest.raises(UserError, match="no arm with the residual term"):
        main([str(grid), str(run)])
