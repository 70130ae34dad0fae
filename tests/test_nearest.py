"""Which option is asked for by one that there is not."""

import io
import re
from contextlib import redirect_stdout

import pytest

from resmom.called import called_by
from resmom.commands import pretrain
from resmom.nearest import WORDS, nearest
from resmom.runs.elsewhere import elsewhere

OPTIONS = ("train.epochs", "log.keep-epochs", "train.batch", "ema.batch-norm", "optim.lr", "train.clip", "out")


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--epochs", "; did you mean train.epochs?"),
        ("--train.epoch", "; did you mean train.epochs?"),
        ("--batch_size", "; did you mean train.batch?"),
        ("learning-rate", "; did you mean optim.lr?"),
        ("--optim.lrr", "; did you mean optim.lr?"),
        ("--recipe", ""),
        ("--wd", ""),  # what it is called here is no option of this command
        ("--zzz", ""),
        ("--format", ""),
        ("--ema", "; settings that begin so are ema.batch-norm"),
        ("--train", "; settings that begin so are train.epochs, train.batch, train.clip"),
    ],
)
def test_nearest(option: str, said: str) -> None:
    assert nearest(option, OPTIONS) == said


EVALUATE = (
    "--linear.lrs",
    "--linear.batch",
    "--probe.lr",
    "--probe.batch",
    "--tuning.lr",
    "--tuning.batch",
    "--labels",
)


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--lr", "; did you mean --probe.lr or --tuning.lr or --linear.lrs?"),
        ("--learning-rate", "; did you mean --probe.lr or --tuning.lr?"),
        ("--batch-size", "; did you mean --linear.batch or --probe.batch or --tuning.batch?"),
        ("--linear", "; settings that begin so are --linear.lrs, --linear.batch"),
        ("--label", "; did you mean --labels?"),
        ("--zzz", ""),
    ],
)
def test_where_the_options_are_those_of_measuring(option: str, said: str) -> None:
    assert nearest(option, EVALUATE) == said


OTHERS = {"--method.queue": "--method mocov2, ressl", "--method.teacher-temperature": "--method dino"}
OURS = (
    "--method",
    "--method.temperature",
    "--knn.temperature",
    "--residual.teacher-temperature",
    "--optim.lr",
    "--data",
)


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--method.queue", " here; it belongs to --method mocov2, ressl"),
        ("--method.queu", "; --method.queue belongs to --method mocov2, ressl"),
        ("--queue", "; --method.queue belongs to --method mocov2, ressl"),
        ("--queue-size", "; --method.queue belongs to --method mocov2, ressl"),
        ("--moco-k", "; --method.queue belongs to --method mocov2, ressl"),
        # of the part that was named, before what is like it elsewhere
        ("--method.teacher-temp", "; --method.teacher-temperature belongs to --method dino"),
        ("--method.temp", "; did you mean --method.temperature?"),
        ("--residual.teacher-temp", "; did you mean --residual.teacher-temperature?"),
        ("--temperature", "; did you mean --method.temperature or --knn.temperature?"),
        ("--optim.learning_rate", "; did you mean --optim.lr?"),
        ("--dataset", "; did you mean --data?"),
        ("--method.zzz", ""),
    ],
)
def test_what_others_have_is_said_to_be_theirs(option: str, said: str) -> None:
    assert nearest(option, OURS, OTHERS) == said


def test_words_of_other_tools_lead_to_options_of_a_run() -> None:
    text = io.StringIO()
    with redirect_stdout(text), pytest.raises(SystemExit):
        pretrain.main(["mocov3_digits", "--help"])
    known = {*re.findall(r"--([a-z][\w.-]*)", text.getvalue()), "backbone", "image-size"}
    known |= {name.replace("_", "-") for name in elsewhere(known)}
    assert set(WORDS.values()) <= {*known, "to"}  # of resmom export


def test_options_elsewhere_are_those_of_other_methods_backbones_and_optimisers() -> None:
    found = elsewhere(["method.temperature", "--optim.lr"])
    assert found["method.prototypes"] == "method dino, ibot, dinov2"
    assert found["method.masks.ratio"] == "method ibot, dinov2" and "method.masks" not in found
    assert found["backbone.patch"] == "the settings of MoCoViT, DinoViT"
    assert found["optim.betas"] == "the settings of AdamW, Adam"
    assert not {"method.temperature", "optim.lr"} & found.keys()
    with called_by("options"):
        assert elsewhere([])["--method.shuffle-bn"] == "--method mocov2, ressl, densecl, msf"
