"""Which option is asked for by one that there is not."""

import io
import re
from contextlib import redirect_stdout

import pytest

from resmom.commands import pretrain
from resmom.nearest import WORDS, nearest

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
    ],
)
def test_nearest(option: str, said: str) -> None:
    assert nearest(option, OPTIONS) == said


def test_words_of_other_tools_lead_to_options_of_a_run() -> None:
    text = io.StringIO()
    with redirect_stdout(text), pytest.raises(SystemExit):
        pretrain.main(["mocov3_digits", "--help"])
    known = {*re.findall(r"--([a-z][\w.-]*)", text.getvalue()), "backbone", "image-size"}
    assert set(WORDS.values()) <= known
