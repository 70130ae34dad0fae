"""iBOT's transformer, masks and five steps against the numbers that the authors' code gave (see `record_ibot.py`)."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from resmom.losses.residual import Residual
from resmom.methods.ibot import Ibot, IbotMethod
from resmom.nets.backbones import Backbone
from resmom.nets.vit import ViTBody, hidden_tokens
from resmom.train.optim import AdamW, build_optimizer
from resmom.train.plan import Plan
from resmom.train.state import State
from resmom.train.step import Rules, train_step
from resmom.types import Batch
from resmom.views.masks import Masks, draw_masks
from tests.parity.masks import GRID, assert_alike
from tests.parity.setting import IbotSetting, numbers, weight
from tests.parity.weights import assert_same, fingerprints

RECORDED: dict[str, Any] = json.loads((Path(__file__).parent.parent / "golden" / "parity.json").read_text())
IBOT = RECORDED["bytedance/ibot"]
S = IbotSetting()


def canonical(name: str) -> str:
    """Our parameter's name as iBOT calls it."""
    for ours, theirs in (
        ("backbone.body.", "backbone."),
        ("mask_token", "backbone.masked_embed"),
        ("projector.", "head.mlp."),
        ("patch_prototypes.directions.weight", "head.last_layer2.weight_v"),
        ("patch_prototypes.gains", "head.last_layer2.weight_g"),
        ("prototypes.directions.weight", "head.last_layer.weight_v"),
        ("prototypes.gains", "head.last_layer.weight_g"),
    ):
        name = name.replace(ours, theirs)
    return name


def made(shared: bool = True) -> IbotMethod:
    """The method of the setting, weights as functions of the authors' names."""
    (first, last, epochs), (patch_first, patch_last) = S.temperatures, S.patch_temperatures
    config = Ibot(
        hidden=S.hidden,
        out=S.out,
        prototypes=S.prototypes,
        patch_prototypes=0 if shared else S.patch_prototypes,
        gains=True,
        warmup_temperature=first,
        teacher_temperature=last,
        patch_warmup_temperature=patch_first,
        patch_temperature=patch_last,
        temperature_epochs=epochs,
        centre_momentum=S.centres[0],
        patch_centre_momentum=S.centres[1],
        class_weight=S.weights[0],
        patch_weight=S.weights[1],
        frozen_epochs=S.frozen,
    )
    body = ViTBody(S.image, S.patch, S.width, S.depth, S.heads)
    method = IbotMethod(Backbone(body, S.width), config).double()
    with torch.no_grad():
        for network in (method.student, method.teacher):
            for name, p in network.named_parameters():
                p.copy_(weight(canonical(name), p))
    return method


@torch.no_grad()
def test_a_masked_view_becomes_the_same_tokens() -> None:
    student = made().student
    view, hidden = numbers("view", (2, 3, S.image, S.image)), S.masks(0)[0][:2]
    assert hidden.any() and not hidden.all()
    tokens = hidden_tokens(student.backbone.body, view, hidden, student.mask_token)
    read = (tokens * numbers("reading", (S.width,))).mean(-1).flatten()
    torch.testing.assert_close(read.tolist(), IBOT["tokens"], rtol=1e-9, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("micro", [0, 4])
@pytest.mark.parametrize("head", ["shared", "apart"])
def test_five_steps(head: str, micro: int) -> None:
    """Both losses, two centres and temperatures, mask token, frozen prototypes, clipping, decay, teacher."""
    theirs, method = IBOT[head], made(head == "shared")
    optim = AdamW(S.lr, S.decay[0], final_decay=S.decay[1], decay_tokens=True)
    state = State(method, build_optimizer(optim, method.student))
    rules = Rules(Residual(), micro_batch=micro, clip=S.clip, clip_each=True)
    for step in range(S.steps):
        batch = Batch(S.views(step), torch.arange(S.images), S.masks(step), float(step))
        now = Plan(S.lr, theirs["momentum"][step], 0.0, theirs["decay"][step])
        metrics = train_step(state, batch, now, rules)
        assert metrics["loss"].item() == pytest.approx(theirs["losses"][step], rel=1e-9), f"step {step}"
        hidden = S.weights[1] * metrics["loss/cross_entropy_hidden"].item()
        assert hidden == pytest.approx(theirs["hidden"][step], rel=1e-9)
        torch.testing.assert_close(method.centre.tolist(), theirs["centres"][step], rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(method.patch_centre.tolist(), theirs["patch_centres"][step], rtol=1e-9, atol=1e-12)
    for network, recorded in ((method.student, theirs["student"]), (method.teacher, theirs["teacher"])):
        assert_same({canonical(name): values for name, values in fingerprints(network).items()}, recorded)


def test_masks_are_distributed_as_the_authors() -> None:
    assert_alike(draw_masks(Masks(), 0, 0, np.arange(20_000), 0, GRID).numpy(), IBOT["masks"])
