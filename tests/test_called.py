"""Settings are called by their fields in Python and in files, and by their options where a call was typed."""

import ast
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import resmom
from resmom.called import called, called_by, either, setting, verb
from resmom.config import ConfigError, Run, from_json, to_json
from resmom.configcheck import check
from resmom.evaluate.finetune import Finetune
from resmom.evaluate.linear import Linear
from resmom.evaluate.linearcrop import LinearCrop
from resmom.nets.backbones import SmallResNet
from resmom.recipes import RECIPES, recipe
from resmom.runs.options import option_values
from resmom.runs.origin import OPTIONS, Origin, backbones
from resmom.train.optim import Sgd
from resmom.train.plan import Train
from resmom.views.masks import Masks
from resmom.views.policy import View
from tests.conftest import Call


@pytest.mark.parametrize(
    ("field", "option"),
    [
        ("train.micro_batch", "--train.micro-batch"),
        ("image_size", "--image-size"),
        ("workers", "--workers"),
        ("policy.views.0.flip_vertical", "--policy.views.0.flip-vertical"),
        ("policy.mean.1", "--policy.mean"),
        ("View.blur", "--policy.views.N.blur"),
        ("Policy.std", "--policy.std"),
        ("Masks.ratio", "--method.masks.ratio"),
        ("finetune.layer_decay", "--tuning.layer-decay"),
        ("finetune", "--finetune"),
        ("linear_crop.lr", "--probe.lr"),
        ("linear_crop", "--linear-crop"),
    ],
)
def test_a_field_is_an_option_where_the_call_was_typed(field: str, option: str) -> None:
    assert called(field) == field
    with called_by("options"):
        assert called(field) == option
        with called_by("fields"):
            assert called(field) == field
        assert called(field) == option
    assert called(field) == field


@pytest.mark.parametrize(
    ("field", "value", "written", "option"),
    [
        ("network", "student", "network='student'", "--network student"),
        ("train.clip", 1, "train.clip=1", "--train.clip 1"),
        ("backbone.layer_scale", 0.5, "backbone.layer_scale=0.5", "--backbone.layer-scale 0.5"),
        ("linear_crop", True, "linear_crop=True", "--linear-crop"),
        ("accuracy", False, "accuracy=False", "--no-accuracy"),
        ("ema.batch_norm", False, "ema.batch_norm=False", "--ema.no-batch-norm"),
    ],
)
def test_a_setting_has_its_value_as_it_is_written_or_typed(
    field: str, value: object, written: str, option: str
) -> None:
    assert setting(field, value) == written and either("typed", "written") == "written"
    with called_by("options"):
        assert setting(field, value) == option and either("typed", "written") == "typed"


def test_a_verb_is_called_as_it_is_typed_or_written() -> None:
    assert verb("resume") == "`resmom.resume`" and verb("resume", Path("a b")) == "`resmom.resume('a b')`"
    with called_by("options"):
        assert verb("resume") == "`resmom resume`" and verb("resume", Path("a b")) == "`resmom resume 'a b'`"


def test_the_command_line_leaves_nothing_behind(call: Call) -> None:
    status, _, err = call("pretrain", "mocov3_digits", "--data", "x", "--out", "new", "--train.seed", "-1")
    assert status == 2 and "--train.seed must be in [0, 2^32)" in err
    with pytest.raises(ValueError, match=r"^train\.seed must be in"):
        Train(seed=-1)


REFUSED: dict[str, tuple[Callable[[], object], str]] = {
    "train.batch is 1; ": (lambda: Train(batch=1), "--train.batch is 1; "),
    "train.micro_batch is 1; ": (lambda: Train(micro_batch=1), "--train.micro-batch is 1; "),
    "linear.lrs and linear.weight_decays need": (lambda: Linear(lrs=()), "--linear.lrs and --linear.weight-decays"),
    "finetune.layer_decay must be": (lambda: Finetune(layer_decay=2.0), "--tuning.layer-decay must be"),
    "linear_crop.lr must be": (lambda: LinearCrop(lr=0.0), "--probe.lr must be"),
    "View.blur is a probability": (lambda: View(blur=2.0), "--policy.views.N.blur is a probability"),
    "Masks.share is": (lambda: Masks(share=2.0), "--method.masks.share is"),
    "optim.lr is 0.0": (lambda: check(replace(Run(), optim=Sgd(lr=0.0))), "--optim.lr is 0.0"),
    "policy.mean.1 is nan": (
        lambda: check(replace(Run(), policy=replace(Run().policy, mean=(0.5, float("nan"), 0.5)))),
        "--policy.mean is nan",
    ),
}


@pytest.mark.parametrize("words", REFUSED)
def test_a_refusal_names_what_its_reader_can_set(words: str) -> None:
    refuse, typed = REFUSED[words]
    with pytest.raises(ValueError, match=f"^{re.escape(words)}"):
        refuse()
    with called_by("options"), pytest.raises(ValueError, match=f"^{re.escape(typed)}"):
        refuse()


def test_what_is_wrong_in_a_file_is_called_as_it_stands_there(call: Call, tmp_path: Path) -> None:
    plain = to_json(recipe("mocov3_digits"))
    plain["train"]["epochs"] = 0
    file = tmp_path / "settings.json"
    file.write_text(json.dumps(plain))
    status, _, err = call("pretrain", file, "--data", "x", "--out", tmp_path / "new")
    assert status == 2 and " train.epochs must be at least 1; got 0 @ run.train" in err and "--train" not in err


def test_arms_of_a_file_have_fields_and_those_that_are_typed_options(call: Call, tmp_path: Path) -> None:
    images = np.zeros((70, 16, 16, 1), np.uint8)
    np.savez(tmp_path / "x.npz", train_images=images)
    grid = tmp_path / "grid.json"
    grid.write_text(json.dumps({"recipe": "mocov3_digits", "arms": {"a": {}, "b": {"train.warmup_steps": 3}}}))
    there = ["--data", tmp_path / "x.npz", "--out", tmp_path / "new", "--dry-run"]
    status, _, err = call("compare", grid, *there)
    assert status == 2 and "arm b: train.warmup_steps has no effect in a run" in err and "--train" not in err
    status, _, err = call("compare", "mocov3_digits", *there, "--vary", "train.warmup_steps=0,3")
    assert status == 2 and ": --train.warmup-steps has no effect in a run" in err
    status, _, err = call("compare", "mocov3_digits", *there, "--vary", "residual.site=p,z")
    assert status == 2 and "--residual.site changes nothing while --residual.weight is 0; set or vary that too" in err


def test_a_batch_that_cannot_be_filled_is_refused_before_anything_is_tried(call: Call, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", train_images=np.zeros((70, 16, 16, 1), np.uint8))
    there = ["--data", tmp_path / "x.npz", "--out", tmp_path / "new", "--train.batch", "100", "--dry-run"]
    for name, words in (
        (["mocov3_digits"], "--train.batch is 100: no batch can be filled; lower --train.batch, and mind that"),
        ([], "70 images cannot fill a batch of 100; give at least 100 images or a smaller batch (--train.batch)"),
    ):
        status, _, err = call("pretrain", *name, *there)
        assert status == 2 and words in err and err.count("\n") == 1


def test_every_list_of_backbones_says_which_the_task_can_have(call: Call, tmp_path: Path) -> None:
    torch.save({"other.weight": torch.zeros(2)}, tmp_path / "w.pth")
    which = ", of which all but timm:NAME can become detectors"
    origin = Origin(backbone=SmallResNet(), init=str(tmp_path / "w.pth"), options=replace(OPTIONS, unfit=which))
    with pytest.raises(ConfigError, match=re.escape(which)):  # a backbone that the file is not of
        backbones(origin, 0, "a detector")
    there = ["--data", tmp_path, "--out", tmp_path / "new"]
    status, _, err = call("detect", "train", *there, "--backbone", "resnet19")
    assert status == 2 and "there is no backbone 'resnet19'; backbones are " in err
    assert err.endswith(f"{which}; did you mean resnet18?\n")
    status, _, err = call("detect", "train", *there, "--init", tmp_path / "w.pth")
    assert status == 2 and "fits none of the common backbones" in err and which in err


SETTINGS = {name for made in RECIPES.values() for name in option_values(made())}
FIELDS = re.compile(
    r"(?<![\w./'\"=-])(?:method|backbone|policy|optim|ema|residual|train|online|knn|log|linear|finetune|linear_crop)"
    r"\.[a-z_]+(?![\w=(/])"
)


def sentences(tree: ast.AST) -> Iterator[str]:
    """The literal words of all errors that are raised."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and node.exc is not None:
            yield from (
                part.value
                for part in ast.walk(node.exc)
                if isinstance(part, ast.Constant) and isinstance(part.value, str) and " " in part.value
            )


def test_no_error_names_a_field_by_itself() -> None:
    """`called` names it. What a part of a run is made of is no option."""
    package = Path(resmom.__file__).parent
    known = SETTINGS | {f"linear.{name}" for name in vars(Linear())} | {f"finetune.{name}" for name in vars(Finetune())}
    bare = [
        (str(file.relative_to(package)), found)
        for file in sorted(package.rglob("*.py"))
        for words in sentences(ast.parse(file.read_text(encoding="utf-8")))
        for found in FIELDS.findall(words)
        if found in known
    ]
    assert bare == []


def test_a_run_read_from_a_file_is_refused_by_its_fields() -> None:
    plain = to_json(Run())
    plain["train"]["batch"] = 1
    with called_by("options"), pytest.raises(ValueError, match=r": train\.batch is 1; "):
        from_json(plain)


OPTION = re.compile(r"(?<![\w-])--[a-z]")
COMMAND = re.compile(r"`[^`]+`|^…?  resmom .*$", re.M)
"""A command that is named whole, which is for everybody."""
TYPED_ALONE = (
    "__main__.py", "cli.py", "commands/",  # the command line itself
    "nearest.py", "runs/options.py",  # what a word that was typed may mean, or has changed
    "runs/alone/instead.py", "runs/measuring/against.py",  # options that Python has no like of
    "runs/demo.py", "runs/doctor/", "runs/reporting/watch.py", "runs/ready.py",  # demo, doctor, --every, --dry-run
    "runs/environment.py",  # arguments of git
    "data/packing.py", "data/open.py", "data/heif.py",  # packs, which the command line alone makes; pip
    "runs/comparisons/grid.py", "runs/comparisons/combine.py",  # seeds, parts and what is varied as they are typed
)  # fmt: skip
"""Where words with options are allowed."""


def words_of(node: ast.AST) -> Iterator[str]:
    """All literal words below a node: no docstrings, nor what `either` has for the command line."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    if isinstance(node, ast.JoinedStr):
        yield "".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
        below: list[ast.AST] = [part for part in node.values if not isinstance(part, ast.Constant)]
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "either":
        below = [*node.args[1:]]
    else:
        below = [*ast.iter_child_nodes(node)]
    for part in below:
        yield from words_of(part)


def test_no_words_name_an_option_by_itself() -> None:
    """`called`, `setting` and `either` name it. Whoever reads them may never have typed a call."""
    package = Path(resmom.__file__).parent
    bare = [
        (name, words)
        for file in sorted(package.rglob("*.py"))
        if not (name := file.relative_to(package).as_posix()).startswith(TYPED_ALONE)
        for words in words_of(ast.parse(file.read_text(encoding="utf-8")))
        if OPTION.search(COMMAND.sub("", words))
    ]
    assert bare == []
