"""Images, policy and backbone that differ in channels are told with all settings at once, and nothing is written."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from resmom.build import Own
from resmom.config import ConfigError, Run
from resmom.data.dataset import as_data
from resmom.data.open import open_data
from resmom.nets.backbones import ResNet, SmallResNet
from resmom.runs.training.channels import require_channels
from resmom.runs.training.job import prepare
from tests.conftest import Call
from tests.runs.comparisons.grids import TINY
from tests.runs.crash import small_run

CPU = torch.device("cpu")
ADVICE = r"backbone\.channels 1, and one number per channel: policy\.mean 0\.5 and policy\.std 0\.25"


def with_channels(backbone: int, policy: int) -> Run:
    run = small_run()
    policies = replace(run.policy, mean=(0.5,) * policy, std=(0.25,) * policy)
    return replace(run, backbone=SmallResNet((4, 8), channels=backbone), policy=policies)


@pytest.fixture
def grey(tmp_path: Path) -> Path:
    images = np.random.default_rng(0).integers(0, 256, (48, 16, 16), dtype=np.uint8)
    labels = np.arange(48) % 2
    np.savez(
        tmp_path / "grey.npz",
        train_images=images,
        train_labels=labels,
        test_images=images[:8],
        test_labels=labels[:8],
    )
    return tmp_path / "grey.npz"


@pytest.mark.parametrize("options", [(), ("--policy.mean", 0.5, "--policy.std", 0.25), ("--backbone.channels", 1)])
@pytest.mark.parametrize(
    "verb", [("pretrain",), ("pretrain", "--dry-run"), ("compare", "--vary", "residual.weight=0,1", "--dry-run")]
)
def test_grey_images_need_three_settings_that_are_told_at_once(
    call: Call, grey: Path, tmp_path: Path, verb: tuple[str, ...], options: tuple[object, ...]
) -> None:
    first, *rest = verb
    name = "mocov3_digits_residual" if first == "pretrain" else "mocov3_digits"
    status, _, err = call(first, name, "--data", grey, "--out", tmp_path / "run", *TINY, *rest, *options)
    assert status == 2 and not (tmp_path / "run").exists()
    assert "the images have 1 channel(s), --policy.mean " in err and len(err.strip().splitlines()) == 1
    for setting in ("--backbone.channels 1", "--policy.mean 0.5", "--policy.std 0.25"):
        assert setting in err


def test_whoever_follows_the_advice_can_train(grey: Path) -> None:
    job = prepare(with_channels(1, 1), open_data(grey), CPU)
    job.state.method.teach(job.batch(0))


@pytest.mark.parametrize(("backbone", "policy"), [(3, 3), (3, 4), (4, 3)])
def test_four_channels_from_python(backbone: int, policy: int) -> None:
    data = as_data(np.zeros((16, 16, 16, 4), np.uint8))
    told = rf"4 channel\(s\), policy\.mean {policy}, backbone\.channels is {backbone}, .*backbone\.channels 4.*grey"
    with pytest.raises(ConfigError, match=told):
        prepare(with_channels(backbone, policy), data, CPU)
    prepare(with_channels(4, 4), data, CPU)


def test_what_a_backbone_cannot_take_is_told_with_one_that_can() -> None:
    for policy in (3, 1):
        run = replace(with_channels(1, policy), backbone=ResNet(18))
        with pytest.raises(ConfigError, match=rf"only SmallResNet takes .*, or take it with {ADVICE}$"):
            require_channels(run, None, 1)
    with pytest.raises(ConfigError, match=r"^the images have 3 channel\(s\), policy\.mean 1; give policy\.mean and"):
        require_channels(replace(with_channels(1, 1), backbone=ResNet(18)), None, 3)


def test_a_backbone_from_python_takes_what_it_takes() -> None:
    own = Own(backbone=nn.Conv2d(1, 4, 3))
    require_channels(with_channels(3, 1), own, 1)
    with pytest.raises(ConfigError, match=r"policy\.mean 3; give policy\.mean and policy\.std one number per"):
        require_channels(with_channels(3, 3), own, 1)
