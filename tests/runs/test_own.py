"""Methods and modules of the user's own: mistakes are told before anything is written, and all measures can be had."""

import re
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import resmom
from resmom.config import ConfigError, Log, Run
from resmom.errors import RunDirError, UserError
from resmom.jsonfiles import read_lines
from resmom.losses.cosine import cosine_distance
from resmom.losses.residual import Residual
from resmom.method import Method
from resmom.nets.backbones import Backbone
from resmom.nets.encoder import Encoder
from resmom.nets.teacher import make_teacher
from resmom.rundir import RunDir
from resmom.runs.comparisons.results import RESULTS
from resmom.runs.reporting.report import gather
from resmom.types import Batch, Outcome, Pair, Targets, Term
from tests import forked
from tests.runs.crash import small_run

LABELS = np.arange(24) % 2
IMAGES = (np.random.default_rng(0).integers(0, 120, (24, 16, 16, 3)) + 100 * np.eye(3)[LABELS][:, None, None]).astype(
    np.uint8
)
DATA = (IMAGES, LABELS)
TEST = (IMAGES[:6], LABELS[:6])
PAGE = Path(__file__).parents[2] / "docs" / "adding-a-method.md"


class Body(nn.Module):
    """A backbone of the user's own."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 6, 3, 2), nn.BatchNorm2d(6), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class Own(Method):
    """A method of the user's own that has no predictor; `wrong` says what is wrong with it."""

    def __init__(self, backbone: Backbone, wrong: str = "") -> None:
        super().__init__()
        self.wrong = wrong
        self.student: nn.Module = Encoder(backbone, nn.Linear(backbone.width, 4))
        self.teacher: nn.Module | None = make_teacher(self.student)  # type: ignore[arg-type]
        if wrong == "teacher":
            self.teacher = nn.Linear(2, 2)
        if wrong == "head":
            self.head = nn.Linear(4, 4)
        if wrong == "lock":
            self.lock = threading.Lock()

    @torch.no_grad()
    def teach(self, batch: Batch) -> Targets:
        assert self.teacher is not None
        views = tuple(self.teacher(view) for view in batch.views)
        return views if self.wrong == "targets" else Targets(views)  # type: ignore[return-value]

    def forward(self, batch: Batch, targets: Targets, rows: slice) -> Outcome:
        said = tuple(self.student(view[rows]) for view in batch.views)
        loss = cosine_distance(said[0].z, targets.views[1].rows(rows).z)
        if self.wrong == "name":
            loss = loss + targets.nothing  # type: ignore[attr-defined]
        if self.wrong == "loss":
            return loss  # type: ignore[return-value]
        value = {"detached": loss.detach(), "vector": torch.stack([loss, loss])}.get(self.wrong, loss)
        name: Any = "globl" if self.wrong == "pair" else "global"
        pairs = tuple(Pair(name, s, t.rows(rows), bank=t) for s, t in zip(said, targets.views, strict=True))
        terms = () if self.wrong == "terms" else (Term("own", value),)
        return Outcome(terms, () if self.wrong == "encodings" else said, () if self.wrong == "pairs" else pairs)

    def remember(self, memory: tuple[Tensor, ...]) -> None:
        """Nothing."""


class Stateful(Own):
    """One whose state dict has what is no tensor."""

    def get_extra_state(self) -> str:
        return "no tensor"


class Bare(Method):
    """One that lacks a student."""

    def teach(self, batch: Batch) -> Targets:
        return Targets(())

    def forward(self, batch: Batch, targets: Targets, rows: slice) -> Outcome:
        return Outcome((), ())

    def remember(self, memory: tuple[Tensor, ...]) -> None:
        """Nothing."""


MAKES: dict[str, Any] = {"state": Stateful, "bare": lambda backbone: Bare(), "module": lambda backbone: nn.Linear(2, 2)}


def told(out: Path, wrong: str, site: str = "z") -> str:
    """What is said of a method that is wrong, without the checks of shapes and types that tests have."""
    run = replace(small_run(), residual=Residual(1.0, site))  # type: ignore[arg-type]
    make = MAKES.get(wrong, lambda backbone: Own(backbone, wrong))
    try:
        resmom.pretrain(DATA, out, run, method=make, device="cpu", quiet=True)
    except ConfigError as error:
        return str(error)
    return ""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("targets", r"teach\(\) of the method .* returns a tuple; it must return Targets"),
        ("loss", r"forward\(\) of the method .* returns a Tensor; it must return an Outcome"),
        ("terms", "must be one Term or more, each with a single number; got none"),
        ("vector", r"each with a single number; got one of shape \(2,\)"),
        ("detached", "carries no gradient to the backbone"),
        ("encodings", "hands out no encodings, from which the online classifier learns"),
        ("pairs", "hands out no pairs, so the residual term has nothing to compare"),
        ("pair", "names a Pair 'globl'; the names are global, dense, patch, local .*, of which residual.pairs chooses"),
        ("name", "was tried on 8 images before anything was written: AttributeError: .*nothing"),
        ("teacher", "was tried on 8 images before anything was written: RuntimeError"),
        ("head", "parameters outside of student and teacher, .* keep: head.weight, head.bias; make them a part of"),
        ("state", "has what is no tensor, and files of weights hold nothing else: _extra_state; keep it in a buffer"),
        ("lock", "Own cannot be copied: cannot pickle '_thread.lock' object; what it holds beside its weights"),
        ("bare", "Bare has no student.backbone; its student must hold the backbone"),
        ("module", "method= made a Linear of a backbone; it must make a Method"),
    ],
)
def test_a_wrong_method_is_told_before_anything_is_written(tmp_path: Path, wrong: str, words: str) -> None:
    said = forked.answer(told, tmp_path / "run", wrong)
    assert re.search(words, said), said
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_site_that_a_method_does_not_have_is_told_before_anything_is_written(tmp_path: Path) -> None:
    assert "residual.site is 'p', but this method has no predictor; use 'z' or 'h'" in told(tmp_path / "run", "", "p")
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> resmom.Result:
    """A run with everything given from Python."""
    out = tmp_path_factory.mktemp("own") / "run"
    run = replace(small_run(epochs=2), residual=Residual(1.0, "z"))
    return resmom.pretrain(DATA, out, run, test=TEST, backbone=Body(), method=Own, device="cpu", quiet=True)


@pytest.mark.slow
def test_a_try_leaves_the_run_as_it_was(
    trained: resmom.Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resmom.runs.ready.rehearse", lambda job: None)
    torch.manual_seed(5)
    body = Body()
    run = trained.run
    plain = resmom.pretrain(DATA, tmp_path / "a", run, test=TEST, backbone=body, method=Own, device="cpu", quiet=True)
    monkeypatch.undo()
    tried = resmom.pretrain(DATA, tmp_path / "b", run, test=TEST, backbone=body, method=Own, device="cpu", quiet=True)
    assert plain.series("train", "loss") == tried.series("train", "loss")


@pytest.mark.slow
def test_gap_embed_export_and_load_of_a_run_with_ones_own_parts(trained: resmom.Result, tmp_path: Path) -> None:
    again = resmom.result(trained.path, data=DATA, test=TEST, backbone=Body(), method=Own)
    found = again.gap(images=8)
    assert {row.site for row in found.rows} == {"h", "z"} and found.checkpoints[-1].accuracy is not None
    assert again.embed(tmp_path / "own.npz").shapes["train_student"] == (24, 6)
    assert again.embed(tmp_path / "other.npz", IMAGES[:5], "teacher", "z").shapes["train_teacher"] == (5, 4)
    assert {path.name for path in again.export(tmp_path / "export").files} >= {"README.md"}
    network = resmom.load(trained.path, "teacher", backbone=Body(), method=Own)
    assert network(torch.zeros(2, 3, 16, 16)).h.shape == (2, 6)
    with pytest.raises(ConfigError, match="this run has a backbone of its own"):
        resmom.load(trained.path)


@pytest.mark.slow
def test_what_was_given_is_named_and_not_the_recipes(trained: resmom.Result) -> None:
    card = (trained.path / "export/README.md").read_text()
    where = f"{__name__}."
    (record,) = gather([RunDir(trained.path)], images=False).runs
    for words in (card, repr(trained), str(record.settings)):
        assert f"{where}Own, given from Python" in words and f"{where}Body, given from Python" in words
        assert not [name for name in ("MoCoV3", "MoCo-v3", "SmallResNet") if name in words]
    assert f"with {where}Own, given from Python, finished" in str(trained)
    assert len(repr(trained)) < 500 and "\n" not in repr(trained)


@pytest.mark.slow
def test_who_evaluates_images_of_python_is_told_of_result(trained: resmom.Result) -> None:
    alone = resmom.result(trained.path, backbone=Body(), method=Own)
    with pytest.raises(UserError, match=r"as in resmom.result\(RUN, data=…, test=…, backbone=…, method=…\)"):
        alone.evaluate(("knn",))
    with pytest.raises(RunDirError, match=r"resmom.resume\('.*', data=…, test=…, backbone=…, method=…\)` in Python"):
        resmom.pretrain(DATA, trained.path, device="cpu", quiet=True)


@pytest.mark.slow
def test_arms_are_compared_with_ones_own_parts(tmp_path: Path) -> None:
    run = replace(small_run(epochs=2), residual=Residual(0.0, "z"), log=Log(line_steps=2, save_epochs=1, knn_epochs=1))
    asked: dict[str, Any] = {"vary": {"residual.weight": [0, 1]}, "seeds": [0, 1], "device": "cpu", "quiet": True}
    out = tmp_path / "out"
    found = resmom.compare(run, DATA, out, test=TEST, backbone=Body, method=Own, **asked)
    assert found.left == 0
    lines = read_lines(out / RESULTS)
    assert len(lines) == 4 and all(line["own"]["backbone"].endswith("Body") for line in lines)
    starts = {  # of one seed they are the same, and another seed begins with others
        cell: (out / cell / "start.safetensors").read_bytes()
        for cell in ("weight=0/seed-0", "weight=1/seed-0", "weight=0/seed-1")
    }
    assert starts["weight=0/seed-0"] == starts["weight=1/seed-0"] != starts["weight=0/seed-1"]
    with pytest.raises(RunDirError, match="given from Python, and now it is nothing"):
        resmom.compare(run, DATA, out, test=TEST, **asked)
    with pytest.raises(ConfigError, match=r"sets backbone.widths, but the backbone is given from Python"):
        resmom.compare(run, DATA, tmp_path / "b", backbone=Body(), **{**asked, "vary": {"backbone.widths": [[4], [8]]}})
    wrong = replace(run, residual=Residual(0.0, "p"))
    with pytest.raises(ConfigError, match=r"arm weight=1: a step with the method .* residual.site is 'p'"):
        resmom.compare(wrong, DATA, tmp_path / "c", method=Own, **asked)
    assert not (tmp_path / "b").exists() and not (tmp_path / "c").exists()


class Crops(Own):
    """One with two whole views and small ones of its student alone, and same-view pairs that MoCo-v3 does not have."""

    @torch.no_grad()
    def teach(self, batch: Batch) -> Targets:
        assert self.teacher is not None
        return Targets(tuple(self.teacher(view) for view in batch.views[:2]))

    def forward(self, batch: Batch, targets: Targets, rows: slice) -> Outcome:
        said = tuple(self.student(view[rows]) for view in batch.views)
        taught = [views.rows(rows) for views in targets.views]
        far = [cosine_distance(student.z, taught[0].z) for student in said[1:]]
        pairs = (Pair("global", said[0], taught[0], bank=targets.views[0]),)
        pairs += (Pair("local", said[1], taught[1], bank=targets.views[1]),)
        return Outcome((Term("own", torch.stack(far).mean()),), said[:2], pairs)


def crops_run(weight: float = 1.0, pairs: str = "local") -> Run:
    """For `Crops`: four views of two sizes, and a kind of pairs that MoCo-v3 does not have."""
    run = small_run(epochs=2)
    view = run.policy.views[0]
    small = replace(view, size=view.size // 2)
    policy = replace(run.policy, views=(view, view, small, small))
    return replace(run, policy=policy, residual=Residual(weight, "z", pairs=pairs))  # type: ignore[arg-type]


@pytest.mark.slow
def test_views_and_pairs_of_ones_own_method_are_its_own(tmp_path: Path) -> None:
    given: dict[str, Any] = {"method": Crops, "device": "cpu", "quiet": True}
    result = resmom.pretrain(DATA, tmp_path / "run", crops_run(), test=TEST, **given)
    whole, local, term = (
        result.series("train", name)[1] for name in ("gap/z/intra", "gap/local/z/intra", "loss/residual")
    )
    assert result.finished and term == pytest.approx(local, abs=1e-6) != pytest.approx(whole, abs=1e-6)
    assert {row.site for row in result.gap(images=8).rows} == {"h", "z"}
    (again,) = resmom.result(tmp_path / "run", data=DATA, test=TEST, method=Crops).evaluate("knn", network="student")
    assert again.step == result.series("train", "loss")[0][-1]
    compared = resmom.compare(
        crops_run(), DATA, tmp_path / "compared", test=TEST, vary={"residual.pairs": ["global", "local"]}, **given
    )
    assert compared.left == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("run", "words"),
    [
        (crops_run(pairs="dense"), r"no same-view pairs 'dense' here \(residual.pairs\); there are: global, local"),
        (crops_run(), r"micro_batches = True in its class\): say so, or set train.micro_batch to 0"),
    ],
)
def test_what_ones_own_method_does_not_have_is_told(tmp_path: Path, run: Run, words: str) -> None:
    if "micro" in words:
        run = replace(run, train=replace(run.train, micro_batch=4))
    with pytest.raises(ConfigError, match=words):
        resmom.pretrain(DATA, tmp_path / "run", run, method=Crops, device="cpu", quiet=True)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_the_method_of_the_page_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "photos").mkdir()
    for number, image in enumerate(IMAGES):
        Image.fromarray(image).save(tmp_path / f"photos/{number:02d}.png")
    monkeypatch.chdir(tmp_path)
    pretrain = resmom.pretrain

    def short(data: Any, out: str, **options: Any) -> resmom.Result:
        return pretrain(data, out, small_run(epochs=2), device="cpu", quiet=True, **options)

    monkeypatch.setattr(resmom, "pretrain", short)
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    names: dict[str, Any] = {"__name__": "page"}
    for number, block in enumerate(blocks[:2]):
        exec(compile(block, f"{PAGE.name}, block {number}", "exec"), names)
    result = names["result"]
    assert result.finished and result.series("train", "loss/residual")[1] and "Tiny" in repr(result)
