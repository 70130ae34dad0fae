"""What the command line measures, from Python: the same rows for the same words, and the same refusals."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import resmom
from resmom.errors import UserError
from resmom.evaluate.settings import Finetune, LinearCrop, LowShot, OtherKnn
from resmom.jsonfiles import read_lines
from resmom.rundir import RunDir
from resmom.runs import profile as profiling
from resmom.runs import result as results
from resmom.runs.measuring.asked import PROTOCOLS, More, _known
from resmom.runs.profile import Profile
from tests.runs.crash import small_run, write_images
from tests.runs.measuring.quick import QUICK


@pytest.fixture
def run(trained: tuple[Path, Path], tmp_path: Path) -> Path:
    shutil.copytree(trained[0], tmp_path / "run")
    RunDir(tmp_path / "run").evaluations.unlink(missing_ok=True)
    return tmp_path / "run"


@pytest.mark.parametrize(
    ("given", "protocols", "more"),
    [
        ({}, ("knn", "linear", "online"), More()),
        ({"baselines": True}, ("knn", "linear", "online"), More()),
        ({"protocols": "knn", "image_size": 24}, ("knn",), More(image_size=24)),
        ({"protocols": ("linear", "knn"), "knn": OtherKnn(k=3)}, ("knn", "linear"), More(knn=OtherKnn(k=3))),
        ({"low_shot": (1, 5), "seed": 2}, (), More(low_shot=LowShot((1, 5), 5, 2), seed=2)),
        ({"low_shot": 2, "draws": 3, "baselines": True}, ("knn",), More(low_shot=LowShot((2,), 3), draws=3)),
        ({"linear_crop": True}, (), More(linear_crop=LinearCrop())),
        ({"linear_crop": LinearCrop(epochs=2), "draws": 2}, (), More(linear_crop=LinearCrop(epochs=2), draws=2)),
        ({"finetune": True, "labels": 0.01}, (), More(finetune=Finetune(), labels="0.01")),
        (
            {"protocols": "linear", "save_classifier": "c.safetensors"},
            ("linear",),
            More(save_classifier=Path("c.safetensors")),
        ),
        ({"finetune": Finetune(epochs=3)}, (), More(finetune=Finetune(epochs=3))),
        ({"sweep": True, "labels": 0.5, "draws": 2, "seed": 1}, (), More(sweep=True, labels="0.5", draws=2, seed=1)),
    ],
)
def test_every_word_reaches_the_measurement(
    run: Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], protocols: tuple[str, ...], more: More
) -> None:
    seen: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
    monkeypatch.setattr(results, "evaluate", lambda *args, **more: seen.append((args, more)) or [])
    result = resmom.result(run)
    result.evaluate(**given)
    ((args, named),) = seen
    path, data, network, asked, _, baselines, device = args
    assert (path, data, network, asked, baselines, device) == (
        run, None, "both", protocols, given.get("baselines", False), "auto"
    )  # fmt: skip
    assert named == {"own": result.own, "more": more}


def test_few_labels_and_layers_from_python(run: Path, trained: tuple[Path, Path]) -> None:
    result = resmom.result(run)
    rows = result.evaluate(low_shot=1, draws=2, sweep=True, linear=QUICK, network="student", data=trained[1])
    assert [row.score.protocol.split()[0] for row in rows] == ["low-shot-v1", "low-shot-v1", "sweep-v1"]
    assert all(len(row.draws) == 2 for row in rows)
    assert [line["protocol"] for line in read_lines(RunDir(run).evaluations)] == [row.score.protocol for row in rows]
    arrays = np.load(write_images(run.parent / "x.npz"))
    train, test = ((arrays[f"{split}_images"], arrays[f"{split}_labels"]) for split in ("train", "test"))
    (row,) = result.evaluate("knn", data=train, test=test, network="teacher")
    assert "bank 40, queries 10" in row.score.protocol and row.network == "teacher"


def test_a_classifier_is_kept_from_python(run: Path, tmp_path: Path) -> None:
    file, result = tmp_path / "c.safetensors", resmom.result(run)
    with pytest.raises(UserError, match=r"^save_classifier keeps one classifier, and this call trains 2"):
        result.evaluate("linear", linear=QUICK, save_classifier=file)
    (row,) = result.evaluate("linear", linear=QUICK, network="teacher", device="cpu", save_classifier=str(file))
    assert resmom.load_classifier(file).said["protocol"] == row.score.protocol


def test_what_would_have_no_effect_is_refused_from_python_too(run: Path) -> None:
    result = resmom.result(run)
    for given, words in (
        ({"seed": 1}, "seed has no effect on what this call measures; it goes with low_shot or a share as labels"),
        (
            {"protocols": ("linear",), "baselines": True},
            "baselines has no effect on what this call measures; it goes with protocols='knn', by",
        ),
        ({"protocols": ("linear",), "knn": OtherKnn(k=2)}, "knn.k has no effect"),
        ({"protocols": ("knn",), "linear": QUICK}, "linear.lrs has no effect"),
        ({"protocols": ("knn",), "draws": 2}, "draws=2 would give one number 2 times"),
        ({"protocols": ()}, "protocols needs at least one of knn, linear, online, or leave it out for all"),
        ({"low_shot": 0}, "low_shot needs numbers of images per class, of at least 1; got 0"),
        (
            {"test": (np.zeros((2, 4, 4, 3), np.uint8), [0, 1])},
            "test goes with data; give the images to learn from too",
        ),
    ):
        with pytest.raises(UserError) as refused:
            result.evaluate(**given)  # type: ignore[arg-type]
        assert words in str(refused.value), words
    for name, hint in (
        ("xx", ""),
        ("linear-crop", "; linear_crop measures that"),
        ("linear-v1", r"; did you mean linear\?"),
    ):
        with pytest.raises(
            UserError, match=f"^there is no protocol '{name}'; protocols are knn, linear, online{hint}$"
        ):
            _known((name,), PROTOCOLS)  # which a type checker refuses before
    with pytest.raises(UserError, match=r"^seed has no effect"):
        result.keep(seed=1)
    assert not RunDir(run).evaluations.exists() and not RunDir(run).choice.exists()


def test_what_to_keep_and_its_features(run: Path) -> None:
    result = resmom.result(run)
    kept = result.keep(linear=QUICK, network="teacher", device="cpu")
    choice = json.loads(RunDir(run).choice.read_text())
    assert {entry.network for entry in kept.entries} == {"teacher"} and str(kept) == choice["sentence"]
    found = result.embed(run.parent / "v.npz", layer="chosen", device="cpu")
    assert choice["features"] in found.protocol and f"step {choice['step']})" in found.protocol
    assert "train_teacher" in found.shapes and "train_student" not in found.shapes


def test_a_page_from_python(run: Path, tmp_path: Path) -> None:
    result = resmom.result(run)
    page = result.report(tmp_path / "one.html", images=False)
    assert page == tmp_path / "one.html" and "<html" in page.read_text()
    several = resmom.report([result, str(run)], tmp_path / "two.html", images=False)
    assert several.exists()
    with pytest.raises(UserError, match="is not a run folder"):
        resmom.report(tmp_path, tmp_path / "three.html")


@pytest.fixture
def peak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiling, "_peak", lambda device, precision: (1000.0, "nothing"))


@pytest.mark.usefixtures("peak")
def test_where_the_time_goes_from_python(run: Path, trained: tuple[Path, Path], tmp_path: Path) -> None:
    config, data = small_run(), str(write_images(tmp_path / "x.npz"))
    arrays = np.load(data)
    pair = (arrays["train_images"], arrays["train_labels"])
    for given in ((data, config), (pair, config), (None, str(run)), (None, resmom.result(run))):
        found = resmom.profile(*given, seconds=0.05, device="cpu", quiet=True)
        assert isinstance(found, Profile) and found.steps >= profiling.LEAST
    assert str(found).splitlines()[-1].startswith("what to do: ") and " images/s: " in str(found).splitlines()[0]
    with pytest.raises(UserError, match="the images are missing: give data, or a run that knows its own"):
        resmom.profile(run=config)
    with pytest.raises(UserError, match="change returned None; it must return the run"):
        resmom.profile(data, config, change=lambda run: None)  # type: ignore[arg-type,return-value]


def test_weights_from_python(run: Path, trained: tuple[Path, Path], tmp_path: Path) -> None:
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    weights = resmom.weights(run / "checkpoints" / "last.pt", device="cpu")
    assert "last.pt, SmallResNet 4-8" in str(weights) and "as the file says" in str(weights)
    assert "image" in repr(weights) and weights.image_size == 16 and len(weights.mean) == len(weights.std) == 3
    own = resmom.result(run)
    for given in ({}, {"sweep": True}, {"low_shot": 1, "draws": 2}):
        rows = weights.evaluate(trained[1], linear=None if given.get("low_shot") else QUICK, **given)
        same = own.evaluate(("knn", "linear") if not given else None, network="student", device="cpu",
                            linear=None if given.get("low_shot") else QUICK, **given)  # fmt: skip
        assert [row.score.top1 for row in rows] == [row.score.top1 for row in same] and rows
    view = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    student = own.network()
    assert torch.equal(weights.network()(view).h, student(view).h)
    assert not any(p.requires_grad for p in weights.network().parameters())
    arrays = np.load(weights.embed(tmp_path / "v.npz", trained[1], layer="stage1, mean").path)
    assert arrays["train_init"].shape == (60, 4)
    assert weights.export(tmp_path / "out").files[0].name == "backbone-init.safetensors"
    with pytest.raises(UserError, match="online is a protocol of runs alone"):
        weights.evaluate(trained[1], ("online",))
    rows = weights.evaluate(trained[1], ("knn",), out=tmp_path / "kept")
    assert [line["weights"]["init"] for line in read_lines(tmp_path / "kept" / "evaluations.jsonl")] == ["last.pt"]
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_module_is_measured_beside_its_untrained_like(trained: tuple[Path, Path]) -> None:
    module = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU())
    weights = resmom.weights(backbone=module, image_size=16)
    (row,) = weights.evaluate(trained[1], ("knn",))
    assert row.network == "given" and row.about["weights"]["backbone"] == "torch.nn.modules.container.Sequential"
    assert "torch.nn.modules.container.Sequential, given from Python" in str(weights)
