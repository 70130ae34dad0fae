"""The Python interface: images and modules of the user's own, results as plain objects, stopping and going on."""

import json
import os
import re
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import Subset

import resmom
import resmom.runs.training.loop as loop
from resmom.checkpoint import CheckpointError, load_checkpoint
from resmom.config import ConfigError, Log, Run
from resmom.data.dataset import as_data
from resmom.data.errors import DataError
from resmom.errors import RunDirError, UserError
from resmom.method import Method
from resmom.methods.byol import Byol, ByolMethod
from resmom.nets.backbones import Backbone, MoCoViT, SmallResNet
from resmom.rundir import RunDir
from resmom.runs.training.job import Job
from tests import forked
from tests.runs.crash import small_run

LABELS = np.arange(40) % 2


def pixels() -> np.ndarray:
    """N x H x W x C; the classes differ in colour."""
    draws = np.random.default_rng(0)
    tint = 100 * np.eye(3)[LABELS][:, None, None, :]
    return (draws.integers(0, 120, (40, 16, 16, 3)) + tint).astype(np.uint8)


class Photos:
    """A map-style Dataset of PIL images with targets, as torchvision's are."""

    def __init__(self) -> None:
        self.targets = LABELS.tolist()

    def __len__(self) -> int:
        return 40

    def __getitem__(self, at: int) -> tuple[Image.Image, int]:
        return Image.fromarray(pixels()[at]), self.targets[at]


def folder_of(place: Path) -> str:
    for number, image in enumerate(pixels()):
        Image.fromarray(image).save(place / f"{number:02d}.png")
    return str(place)


def train(data: object, out: Path, **options: object) -> resmom.Result:
    run = small_run(epochs=2)
    return resmom.pretrain(data, out, run, device="cpu", quiet=True, **options)  # type: ignore[arg-type]


def weights(path: Path) -> dict[str, Tensor]:
    state = load_checkpoint(RunDir(path).last)["state"]
    return {f"{part}/{name}": value for part in ("student", "teacher") for name, value in state[part].items()}


@pytest.mark.slow
def test_the_same_images_in_every_form_train_the_same_network(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    forms = {
        "folder": folder_of(tmp_path / "photos"),
        "array": pixels(),
        "tensor": torch.from_numpy(pixels()).permute(0, 3, 1, 2),
        "dataset": [Image.fromarray(image) for image in pixels()],
    }
    for name, data in forms.items():
        assert train(data, tmp_path / name).finished
    first = weights(tmp_path / "folder")
    for name in forms:
        for key, value in weights(tmp_path / name).items():
            assert torch.equal(value, first[key]), (name, key)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["pair", "dataset"])
def test_labels_given_in_python_are_measured_against(tmp_path: Path, form: str) -> None:
    data = (pixels(), LABELS) if form == "pair" else Photos()
    result = train(data, tmp_path / "run", test=(pixels()[:10], LABELS[:10]))
    steps, values = result.series("knn", "student")
    assert steps == [0, 10] and values[-1] == 100.0  # two colours
    rows = result.evaluate(("knn",))
    assert {row.network for row in rows} == {"student", "teacher"}


@pytest.mark.slow
def test_a_run_goes_on_with_the_test_images_it_began_with(tmp_path: Path) -> None:
    """Others would change what it is measured by, and what its online classifier learns from, halfway."""
    data, test, other = (pixels(), LABELS), (pixels()[:10], LABELS[:10]), (pixels()[:9], LABELS[:9])
    train(data, tmp_path / "with", test=test)
    train(data, tmp_path / "without")
    for run, given in (("with", None), ("with", other), ("without", test)):
        with pytest.raises(DataError, match=r"the test images are not those that the run in .* has been measured on"):
            resmom.resume(tmp_path / run, data=data, test=given, device="cpu", quiet=True)
    for run, given in (("with", test), ("without", None)):
        assert resmom.resume(tmp_path / run, data=data, test=given, device="cpu", quiet=True).finished
    written = json.loads((tmp_path / "with/run.json").read_text())
    del written["test"]  # begun before it was kept
    (tmp_path / "with/run.json").write_text(json.dumps(written))
    assert resmom.resume(tmp_path / "with", data=data, device="cpu", quiet=True).finished


def test_a_result_is_evaluated_on_the_test_images_it_is_given(tmp_path: Path) -> None:
    data = (pixels(), LABELS)
    train(data, tmp_path / "run")
    rows = [
        resmom.result(tmp_path / "run", data=data, test=t).evaluate(("knn",))
        for t in (None, (pixels()[:10], LABELS[:10]))
    ]
    assert ["queries 10" in found[0].score.protocol for found in rows] == [False, True]


def test_labels_inside_the_items_are_not_looked_at_and_the_way_to_give_them_is_told(tmp_path: Path) -> None:
    items = [(Image.fromarray(image), int(label)) for image, label in zip(pixels(), LABELS, strict=True)]
    result = train(items, tmp_path / "run")
    with pytest.raises(UserError, match=r"list has no labels, .*as a pair, or a Dataset that has them as `targets`"):
        result.evaluate(("knn",))


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (pixels().astype(np.float32), "uint8; got float32"),
        (pixels()[0], "N x H x W x C"),
        (torch.zeros(4, 3, 8, 8), "uint8; got torch.float32"),
        (pixels().transpose(0, 3, 1, 2), r"\(40, 3, 16, 16\) looks like N x C x H x W: use numpy.moveaxis"),
        (torch.from_numpy(pixels()), r"\(40, 16, 16, 3\) looks like N x H x W x C: use images.permute"),
        ((pixels(), LABELS[:-1]), "N whole numbers; got 40 images and 39 labels"),
        ((pixels(), LABELS.astype(float)), "N whole numbers; got 40 images and 40 labels that are float64"),
        ((pixels(), ["cat"] * 40), "40 labels that are strings: numpy.unique"),
        ([torch.zeros(3, 8, 8)], "without its transform"),
        ([], "the Dataset is empty"),
        (7, "int cannot be used as images"),
    ],
    ids=[
        *("float array", "one image", "float tensor", "array as a tensor", "tensor as an array"),
        *("few labels", "float labels", "named labels", "float items", "nothing", "number"),
    ],
)
def test_impossible_images_are_told_and_nothing_is_written(tmp_path: Path, data: object, told: str) -> None:
    with pytest.raises(DataError, match=told):
        train(data, tmp_path / "run")
    assert not (tmp_path / "run").exists()


class Unlabelled(Photos):
    """A Dataset whose labels cannot be read."""

    def __init__(self) -> None:
        self.__dict__["hidden"] = LABELS.tolist()

    def __getitem__(self, at: int) -> tuple[Image.Image, int]:
        return Image.fromarray(pixels()[at]), self.__dict__["hidden"][at]


@pytest.mark.parametrize(
    ("test", "words"),
    [
        ((pixels()[:4], np.array([0, 1, 2, 5])), "test has labels that no training image has: 2, 5; test classes"),
        (pixels()[:4], "test has no labels, and it is there to measure by; give it as a pair"),
        (Unlabelled(), "test has no labels"),
        ((pixels()[:4], np.full(4, -1)), "test has no labels"),
        ((pixels()[:4, :, :, :1], LABELS[:4]), r"training images have 3 channel\(s\), those of test 1"),
        ([torch.zeros(3, 8, 8)], "test: item 0 of the test Dataset is torch.float32"),
        (pixels()[0], "test: an array of images is N x H x W x C"),
    ],
    ids=["unknown class", "array", "Dataset", "no label", "grey", "float items", "one image"],
)
def test_test_images_that_cannot_be_measured_on_are_refused_before_anything_is_written(
    tmp_path: Path, test: object, words: str
) -> None:
    with pytest.raises(DataError, match=words):
        train((pixels(), LABELS), tmp_path / "run", test=test)
    assert not (tmp_path / "run").exists()


def test_the_labels_of_a_part_of_a_dataset_are_read() -> None:
    part = Subset(Subset(Photos(), [3, 2, 4, 0]), [0, 2])  # type: ignore[arg-type]
    data = as_data(part, (pixels()[:2], LABELS[:2]))
    assert data.train.labels is not None and data.train.labels.tolist() == [LABELS[3], LABELS[4]]
    assert data.train.classes == ("0", "1")
    assert as_data(Subset(Unlabelled(), [0, 1])).train.labels is None  # type: ignore[arg-type]


def test_test_images_that_nothing_can_answer_are_told_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = small_run(epochs=2)
    result = resmom.pretrain(pixels(), tmp_path / "run", run, test=(pixels(), LABELS), device="cpu")
    assert capsys.readouterr().err.count("the labelled test images are not used") == 1
    assert not [line for line in result.metrics if line["kind"] == "knn"]


@pytest.mark.parametrize(("which", "broken"), [("monitor", False), ("monitor", True), ("monitor_start", True)])
def test_an_error_of_measuring_is_no_diverged_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, which: str, broken: bool
) -> None:
    """Only where the networks say numbers no more has the loss something to do with it."""

    def failing(job: Job, *start: Path) -> list[dict[str, Any]]:
        if broken:
            next(job.state.method.parameters()).data.fill_(torch.nan)
        raise ValueError("measured wrongly")

    monkeypatch.setattr(loop, which, failing)
    with pytest.raises(ValueError, match="measured wrongly") as raised:
        train((pixels(), LABELS), tmp_path / "run")
    assert isinstance(raised.value, loop.Diverged) is broken


class Body(nn.Module):
    """A backbone of the user's own: views to maps."""

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, width, 3, 2), nn.BatchNorm2d(width), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class Fixed(Body):
    """One that asserts the size of its views, as timm's transformers do."""

    def forward(self, x: Tensor) -> Tensor:
        assert x.shape[-1] == 224, "made for 224"
        return super().forward(x)


@pytest.mark.slow
def test_a_module_of_ones_own_is_copied_trained_and_wanted_again(tmp_path: Path) -> None:
    torch.manual_seed(0)
    body = Body()
    before = {name: value.clone() for name, value in body.state_dict().items()}
    result = train(pixels(), tmp_path / "run", backbone=body)
    assert all(torch.equal(value, before[name]) for name, value in body.state_dict().items())
    out = result.network()(torch.zeros(2, 3, 16, 16))
    assert out.h.shape == (2, 6)
    trained = weights(tmp_path / "run")["student/backbone.body.layers.0.weight"]
    assert not torch.equal(trained, before["layers.0.weight"])
    with pytest.raises(ConfigError, match="Body"):
        resmom.result(tmp_path / "run")
    assert resmom.result(tmp_path / "run", backbone=Body()).step == result.step


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (nn.Flatten(0), "for two views"),
        (nn.Linear(5, 5), "cannot take views"),
        (Fixed(), "cannot take views"),
        (nn.AvgPool2d(2), "AvgPool2d has no parameters, so nothing of it would be trained"),
        (nn.Identity(), None),
    ],
)
def test_a_module_that_gives_no_representation_is_told(tmp_path: Path, body: nn.Module, told: str | None) -> None:
    if told is None:  # maps of three channels are maps
        assert train(pixels(), tmp_path / "run", backbone=nn.Conv2d(3, 4, 3)).finished
        return
    with pytest.raises(UserError, match=told):
        train(pixels(), tmp_path / "run", backbone=body)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_another_module_at_the_resume_is_told_in_one_sentence(tmp_path: Path) -> None:
    train(pixels(), tmp_path / "run", backbone=Body())
    for again in (
        lambda: resmom.resume(tmp_path / "run", data=pixels(), backbone=Body(8), device="cpu", quiet=True),
        lambda: resmom.result(tmp_path / "run", backbone=Body(8)),
    ):
        with pytest.raises(CheckpointError) as refused:
            again()
        assert re.search(
            r"does not fit .*: backbone.body.layers.0.weight of the student is \(6, 3, 3, 3\) there, \(8, 3, 3, 3\) in "
            r"this one; give backbone= as it was at the start \(.*Body\)$",
            str(refused.value),
        )


def told(out: Path, option: str) -> str:
    """What is said to a wrong argument, without the checks that tests have."""
    recipe = resmom.recipe("mocov3_digits")
    options: dict[str, dict[str, Any]] = {
        "class": {"backbone": Body},
        "function": {"backbone": str.lower},
        "method": {"method": "byul"},
        "backbone": {"backbone": "rasnet18"},
        "run": {"run": 3},
        "name": {"run": "mocov3_digit"},
        "change": {"run": "mocov3_digits", "change": lambda run: None},
        "union": {"run": replace(recipe, method="byol")},
        "part": {"run": replace(recipe, ema=0.99)},
        "within": {"run": replace(recipe, policy=replace(recipe.policy, views=(32, 32)))},
        "choice": {"run": recipe, "change": lambda run: replace(run, residual=replace(run.residual, pairing="other"))},
        "type": {"run": replace(recipe, train=replace(recipe.train, batch=64.0))},
    }
    try:
        resmom.pretrain(pixels(), out, device="cpu", quiet=True, **options[option])
    except UserError as error:
        return str(error)
    return ""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("class", "backbone is the class Body; give a module, which Body(...) makes"),
        ("function", "backbone is a method_descriptor; give a torch module"),
        ("method", "there is no method 'byul', methods are mocov3, byol"),
        ("backbone", "there is no backbone 'rasnet18'"),
        ("run", "3 is no run; give a recipe's name, or a configuration as resmom.recipe(NAME) returns it"),
        ("name", "there is no recipe 'mocov3_digit'; did you mean mocov3_digits"),
        ("change", "change returned None; it must return the run"),
        ("union", "method is 'byol'; it takes the settings of one kind: MoCoV3, Byol"),
        ("part", "ema is 0.99; it takes the settings of one kind: Ema"),
        ("within", "the configuration cannot be used: a part of it is of another kind"),
        ("choice", "it is one of same, cross; got other @ run.residual.pairing"),
        ("type", "expected int, got 64.0 @ run.train.batch"),
    ],
)
def test_an_argument_of_another_kind_is_told(tmp_path: Path, option: str, words: str) -> None:
    assert words in forked.answer(told, tmp_path / "run", option)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_run_may_be_a_recipes_name(tmp_path: Path) -> None:
    def few(run: Run) -> Run:
        return replace(run, train=replace(run.train, steps=2, warmup_steps=0, batch=16))

    result = resmom.pretrain(pixels(), tmp_path / "run", "mocov3_digits", change=few, device="cpu", quiet=True)
    assert (result.steps, result.run.recipe) == (2, "mocov3_digits")


@pytest.mark.slow
def test_a_name_changes_its_part_of_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def few(run: Run) -> Run:
        return replace(run, train=replace(run.train, steps=2, warmup_steps=0, batch=16))

    run = resmom.recipe("mocov3_digits")
    result = resmom.pretrain(pixels(), tmp_path / "a", run, backbone="small", change=few, device="cpu")
    assert result.run == replace(few(run), backbone=SmallResNet())
    told = capsys.readouterr().err.splitlines()[0]
    assert told.startswith("backbone brings its own defaults: backbone.widths 32 64 128 256 instead of ")
    assert "(change with backbone.widths=[" in told and "keeps what was)" in told
    other = resmom.pretrain(pixels(), tmp_path / "b", tmp_path / "a", method="byol", device="cpu", quiet=True)
    assert other.run == replace(result.run, method=Byol())


def own_method(backbone: Backbone) -> Method:
    return ByolMethod(backbone, Byol(hidden=8, out=4, predictor_hidden=8))


@pytest.mark.slow
def test_a_method_of_ones_own(tmp_path: Path) -> None:
    result = train(pixels(), tmp_path / "run", method=own_method)
    assert result.finished and not [line for line in result.metrics if "loss/chance" in line]  # BYOL's has none
    with pytest.raises(ConfigError, match="own_method"):
        resmom.resume(tmp_path / "run", data=pixels(), device="cpu", quiet=True)


@pytest.mark.slow
def test_a_result_is_plain_and_shows_itself(tmp_path: Path) -> None:
    result = train((pixels(), LABELS), tmp_path / "run", test=(pixels()[:10], LABELS[:10]))
    assert (result.step, result.steps, result.finished) == (10, 10, True)
    steps, losses = result.series("train", "loss")
    assert steps == [1, 2, 4, 6, 8, 10] and all(isinstance(value, float) for value in losses)
    with pytest.raises(KeyError, match="grad_norm"):
        result.series("train", "los")
    with pytest.raises(KeyError, match="health"):
        result.series("nothing", "loss")
    page, text = result._repr_html_(), str(result)
    for word in ("kNN top-1", "RankMe", "before", "teacher after"):
        assert word in page and word in text
    assert page.count("<tr>") == 7 and "<script" not in page
    again = resmom.result(tmp_path / "run")
    assert again.metrics == result.metrics and again.changes == result.changes
    loaded = resmom.load(tmp_path / "run", "teacher")
    assert not loaded.training and not any(p.requires_grad for p in loaded.parameters())


@pytest.mark.slow
def test_stopped_by_a_signal_and_resumed_it_is_the_undisturbed_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = replace(small_run(), log=Log(line_steps=2, save_epochs=0, knn_epochs=0))
    options = {"device": "cpu", "quiet": True}
    whole = resmom.pretrain(pixels(), tmp_path / "whole", run, **options)  # type: ignore[arg-type]
    train_step, steps = loop.train_step, []

    def stepping(*arguments: Any) -> Any:
        steps.append(1)
        if len(steps) == 7:
            os.kill(os.getpid(), signal.SIGINT)
        return train_step(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "train_step", stepping)
        with pytest.raises(KeyboardInterrupt):  # or a script would go on to its next training
            resmom.pretrain(pixels(), tmp_path / "halved", run, **options)  # type: ignore[arg-type]
    assert f"saved at step 7 of {whole.steps}; continue with `resmom.resume(" in capsys.readouterr().err
    halved = resmom.result(tmp_path / "halved")
    assert not halved.finished and halved.step == 7
    assert f"stopped at step 7 of {whole.steps}" in str(halved)
    again = rf"resmom.resume\({str(tmp_path / 'halved')!r}, data=…\)"
    with pytest.raises(RunDirError, match=f"continue it with `{again}` in Python"):
        resmom.pretrain(pixels(), tmp_path / "halved", run, **options)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"give them again from Python, as in resmom.resume\(RUN, data=…\)"):
        resmom.resume(tmp_path / "halved", device="cpu", quiet=True)
    with pytest.raises(DataError, match="images are not those"):
        resmom.resume(tmp_path / "halved", data=pixels()[:39], device="cpu", quiet=True)
    resumed = resmom.resume(tmp_path / "halved", data=pixels(), device="cpu", quiet=True)
    assert resumed.finished
    expected = weights(tmp_path / "whole")
    for name, value in weights(tmp_path / "halved").items():
        assert torch.equal(value, expected[name]), name


@pytest.mark.slow
def test_a_kill_ends_a_script_when_it_has_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train_step = loop.train_step

    def stepping(*arguments: Any) -> Any:
        signal.raise_signal(signal.SIGTERM)
        return train_step(*arguments)

    monkeypatch.setattr(loop, "train_step", stepping)
    with pytest.raises(SystemExit) as ended:
        train(pixels(), tmp_path / "run")
    assert ended.value.code == 128 + signal.SIGTERM and resmom.result(tmp_path / "run").step == 1
    with pytest.raises(SystemExit):
        resmom.compare(
            small_run(),
            pixels(),
            tmp_path / "grid",
            arms={"plain": {}},
            seeds=[0],
            device="cpu",
            quiet=True,
        )


@pytest.mark.slow
def test_another_kind_of_object_with_the_same_images_is_told(tmp_path: Path) -> None:
    train(pixels(), tmp_path / "run")
    with pytest.raises(DataError, match="where an array or a tensor became a Dataset"):
        resmom.resume(tmp_path / "run", data=list(pixels()), device="cpu", quiet=True)


def test_messages_fit_python_and_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full/notes").touch()
    with pytest.raises(RunDirError, match=r"give another folder \(out\), or an empty one"):
        train(pixels(), tmp_path / "full")
    with pytest.raises(ConfigError, match=r"^the time is 'soon'; write it as"):
        train(pixels(), tmp_path / "run", time="soon")
    with pytest.raises(DataError, match=r"train.batch is .*; lower train.batch, and mind"):
        train(pixels()[:4], tmp_path / "run")
    with pytest.raises(ConfigError, match=r"no option 'residual.weigth'; did you mean residual.weight\?"):
        resmom.compare(small_run(), pixels(), tmp_path / "run", vary={"residual.weigth": [0, 1]})


@pytest.mark.slow
def test_settings_are_derived_and_changed(tmp_path: Path) -> None:
    images = np.concatenate([pixels(), 255 - pixels()])
    result = resmom.pretrain(
        images,
        tmp_path / "run",
        change=lambda run: replace(run, train=replace(run.train, steps=6, warmup_steps=1, batch=16)),
        device="cpu",
        quiet=True,
    )
    assert result.finished and result.steps == 6 and result.run.recipe == "automatic"


@pytest.mark.slow
def test_derived_settings_follow_a_method_and_a_backbone_that_are_named(tmp_path: Path) -> None:
    images = np.concatenate([pixels(), 255 - pixels()])
    result = resmom.pretrain(
        images,
        tmp_path / "run",
        method="byol",
        backbone="vit-micro",
        change=lambda run: replace(run, train=replace(run.train, steps=2, warmup_steps=1, batch=16)),
        device="cpu",
        quiet=True,
    )
    assert result.run.method == Byol(hidden=512, out=128, predictor_hidden=512)
    assert isinstance(result.run.backbone, MoCoViT) and result.run.backbone.image == result.run.policy.views[0].size


def test_test_images_beside_a_place_are_refused(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    place = folder_of(tmp_path / "photos")
    with pytest.raises(UserError, match=r"test goes with images given in Python; .* is a place"):
        train(place, tmp_path / "run", test=(pixels(), LABELS))
    assert not (tmp_path / "run").exists()
