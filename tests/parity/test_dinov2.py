"""DINOv2's masks and five steps against the numbers that the authors' code gave (see `record_dinov2.py`)."""

import json
import math
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch

from resmom.losses.residual import Residual
from resmom.methods.dinov2 import Dinov2, Dinov2Method
from resmom.nets.backbones import Backbone
from resmom.nets.teacher import Ema
from resmom.nets.vit import ViTBody
from resmom.schedule import by_epoch
from resmom.train.optim import AdamW, build_optimizer
from resmom.train.plan import Plan, Train, plan, scaled
from resmom.train.state import State
from resmom.train.step import Metrics, Rules, train_step
from resmom.types import Batch
from resmom.views.masks import Masks, draw_masks
from tests.parity.masks import GRID, assert_alike
from tests.parity.setting import Dinov2Setting, weight
from tests.parity.weights import assert_same, fingerprints

RECORDED: dict[str, Any] = json.loads((Path(__file__).parent.parent / "golden" / "parity.json").read_text())
DINOV2 = RECORDED["facebookresearch/dinov2"]
S = Dinov2Setting()
OPTIM = AdamW(
    S.lr, S.decay[0], final_decay=S.decay[1], decay_tokens=True, layer_decay=S.layer_decay, patch_rate=S.patch_rate
)
CENTRING: dict[str, Literal["sinkhorn", "mean"]] = {"sinkhorn": "sinkhorn", "mean": "mean"}


def canonical(name: str) -> str:
    """Our parameter's name as DINOv2 calls it."""
    for ours, theirs in (
        ("backbone.body.", "backbone."),
        ("mask_token", "backbone.mask_token"),
        ("patch_projector.", "ibot_head.mlp."),
        ("projector.", "dino_head.mlp."),
        ("patch_prototypes.", "ibot_head.last_layer."),
        ("prototypes.", "dino_head.last_layer."),
        ("directions.weight", "weight_v"),
        ("gains", "weight_g"),
    ):
        name = name.replace(ours, theirs)
    return name


def made(shared: bool, centring: Literal["sinkhorn", "mean"]) -> Dinov2Method:
    """The method of the setting, weights as functions of the authors' names."""
    first, last, epochs = S.temperatures
    config = Dinov2(
        hidden=S.hidden,
        out=S.out,
        prototypes=S.prototypes,
        patch_prototypes=0 if shared else S.patch_prototypes,
        centring=centring,
        centre_momentum=0.9,  # theirs has no option
        warmup_temperature=first,
        teacher_temperature=last,
        temperature_epochs=epochs,
        class_weight=S.weights[0],
        patch_weight=S.weights[1],
        koleo=S.koleo,
        frozen_epochs=S.frozen,
    )
    body = ViTBody(S.image, S.patch, S.width, S.depth, S.heads, init_values=S.layer_scale)
    method = Dinov2Method(Backbone(body, S.width), config).double()
    with torch.no_grad():
        for network in (method.student, method.teacher):
            for name, p in network.named_parameters():
                p.copy_(weight(canonical(name), p))
    return method


def stepped(state: State, step: int, rules: Rules) -> Metrics:
    """One step, at the authors' rates."""
    rates = {name: values[step] for name, values in DINOV2["schedules"].items()}
    batch = Batch(S.views(step), torch.arange(S.images), S.masks(step), float(step))
    return train_step(state, batch, Plan(rates["lr"], rates["momentum"], 0.0, rates["decay"]), rules)


@pytest.mark.slow
@pytest.mark.parametrize("centring", ["mean", "sinkhorn"])
@pytest.mark.parametrize("head", ["shared", "apart"])
def test_five_steps(head: str, centring: str) -> None:
    """All four terms, targets, LayerScale, mask token, frozen prototypes, rates by layer, clipping, decay, teacher."""
    theirs, method = DINOV2[f"{head} {centring}"], made(head == "shared", CENTRING[centring])
    state = State(method, build_optimizer(OPTIM, method.student))
    number = 2 * S.local + 2
    weights = {"global": S.weights[0] * 2 / number, "local": S.weights[0] * 2 * S.local / number}
    for step in range(S.steps):
        metrics = stepped(state, step, Rules(Residual(), clip=S.clip, clip_parts=True))
        assert metrics["loss"].item() == pytest.approx(theirs["losses"][step], rel=1e-9), f"step {step}"
        for name, share in (weights | {"hidden": S.weights[1]}).items():
            term = share * metrics[f"loss/cross_entropy_{name}"].item()
            assert term == pytest.approx(theirs[name][step], rel=1e-9), name
        assert S.koleo * metrics["loss/koleo"].item() == pytest.approx(theirs["koleo"][step], rel=1e-9)
        whole = math.hypot(*theirs["norms"][step])
        assert metrics["grad_norm"].item() == pytest.approx(whole, rel=1e-8)
        if centring == "mean":
            torch.testing.assert_close(method.centre.tolist(), theirs["centres"][step], rtol=1e-9, atol=1e-12)
            found = method.patch_centre.tolist()
            torch.testing.assert_close(found, theirs["patch_centres"][step], rtol=1e-9, atol=1e-12)
    ours = {name: {canonical(k): v for k, v in fingerprints(network).items()} for name, network in networks(method)}
    assert_same(ours["student"], theirs["student"])
    del theirs["teacher"]["backbone.mask_token"]  # ours has none: it never sees a masked view
    assert_same(ours["teacher"], theirs["teacher"])


def networks(method: Dinov2Method) -> list[tuple[str, torch.nn.Module]]:
    return [("student", method.student), ("teacher", method.teacher)]


def test_clipping_acts_on_some_parts_and_not_on_others() -> None:
    norms = np.concatenate([np.ravel(DINOV2[f"apart {centring}"]["norms"]) for centring in ("mean", "sinkhorn")])
    assert (norms > S.clip).any() and (norms < S.clip).any()


def test_frozen_prototypes_of_theirs_only_have_their_moments_before() -> None:
    """Adam goes on counting there at a rate of 0: all is equal up to the first step in which the prototypes move."""
    theirs, method = DINOV2["counted"]["losses"], made(True, "mean")
    state = State(method, build_optimizer(OPTIM, method.student))
    losses = [stepped(state, step, Rules(Residual()))["loss"].item() for step in range(S.steps)]
    assert losses[: S.frozen + 1] == pytest.approx(theirs[: S.frozen + 1], rel=1e-9)
    assert losses[S.frozen + 1] != pytest.approx(theirs[S.frozen + 1], rel=1e-3)


def test_schedules() -> None:
    """Decay, momentum and, at one step an epoch, temperature; their warm-up ends one step before ours."""
    theirs, (first, last, epochs) = DINOV2["schedules"], S.temperatures
    train = Train(epochs=S.steps, batch=256, warmup_epochs=0, final_lr=S.final_lr)
    for step in range(S.steps):
        now = plan(train, S.lr, Ema(S.momentum, 1.0), Residual(), step, 1, OPTIM)
        assert now.momentum == pytest.approx(theirs["momentum"][step], rel=1e-12)
        assert now.weight_decay == pytest.approx(theirs["decay"][step], rel=1e-12)
        assert by_epoch(step, epochs, first, last) == pytest.approx(theirs["temperature"][step], rel=1e-12)
        if step >= S.warmup:  # the cosine of the rest
            rest = Train(epochs=S.steps - S.warmup, batch=256, warmup_epochs=0, final_lr=S.final_lr)
            rate = plan(rest, S.lr, Ema(), Residual(), step - S.warmup, 1).lr
            assert rate == pytest.approx(theirs["lr"][step], rel=1e-12)
    assert scaled(S.lr, 256) == S.lr and theirs["lr"][0] == 0.0


def test_masks_are_distributed_as_the_authors() -> None:
    assert_alike(draw_masks(Masks(smallest=4), 0, 0, np.arange(20_000), 0, GRID).numpy(), DINOV2["masks"])
