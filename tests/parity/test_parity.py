"""Ours against the numbers that the authors' published code gave on the same tensors (see `record.py`)."""

import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from resmom.losses.contrastive import info_nce, nt_xent
from resmom.losses.cosine import cosine_distance
from resmom.losses.residual import Residual
from resmom.method import Method
from resmom.methods.barlow import BarlowTwins, BarlowTwinsMethod
from resmom.methods.mocov3 import MoCoV3, MoCoV3Method
from resmom.methods.nnclr import NNCLR, NNCLRMethod
from resmom.methods.vicreg import VICReg, VICRegMethod
from resmom.nets.backbones import MOCO_VIT, Backbone, MoCoViT, ResNet, build_backbone
from resmom.nets.heads import mlp
from resmom.nets.teacher import Ema
from resmom.train.optim import AdamW, Lars, build_optimizer, set_rate
from resmom.train.plan import Plan, Train, plan
from resmom.train.state import State
from resmom.train.step import Rules, train_step
from resmom.types import Batch, Encoding, Targets
from tests.parity.setting import Setting, ViTSetting, numbers, views, weight
from tests.parity.weights import assert_same, fingerprints

RECORDED: dict[str, Any] = json.loads((Path(__file__).parent.parent / "golden" / "parity.json").read_text())
MOCO, SOLO = RECORDED["facebookresearch/moco-v3"], RECORDED["vturrisi/solo-learn"]
LIGHTLY = RECORDED["lightly-ai/lightly"]
FIRST_BYOL = RECORDED["google-deepmind/deepmind-research"]


def canonical(name: str) -> str:
    """Our parameter's name as moco-v3 calls it."""
    return name.replace("backbone.body.", "base_encoder.").replace("projector.", "base_encoder.fc.")


@pytest.mark.parametrize("temperature", [0.2, 1.0])
def test_mocov3_loss(temperature: float) -> None:
    ours = 2 * temperature * info_nce(numbers("query", (6, 10)), numbers("key", (6, 10)), 0, temperature)
    assert ours.item() == pytest.approx(MOCO["contrastive"][str(temperature)], rel=1e-12)


@pytest.mark.parametrize(
    ("kind", "layers", "norm"), [("MoCo_ResNet", 2, "none"), ("MoCo_ViT", 3, "plain")], ids=["resnet", "vit"]
)
def test_mocov3_heads(kind: str, layers: int, norm: str) -> None:
    s = Setting()
    heads = {
        "projector": mlp(24, s.hidden, s.out, layers, last_norm="plain"),
        "predictor": mlp(s.out, s.hidden, s.out, 2, last_norm=norm),
    }
    for part, head in heads.items():
        fill(head.double(), part + ".")
        x = numbers(f"input of {part}", (6, 24 if part == "projector" else s.out))
        torch.testing.assert_close(head(x).flatten().tolist(), MOCO["heads"][kind][part], rtol=1e-10, atol=1e-12)


@torch.no_grad()
def fill(module: nn.Module, prefix: str = "") -> None:
    for name, p in module.named_parameters():
        p.copy_(weight(prefix + name, p))


def test_mocov3_schedules() -> None:
    s = Setting()
    train = Train(epochs=s.epochs, batch=256, warmup_epochs=s.warmup)
    for step in range(s.steps):
        now = plan(train, s.lr, Ema(s.momentum, 1.0), Residual(), step, 1)
        assert now.lr == pytest.approx(MOCO["lr"][step], rel=1e-12)
        assert now.momentum == pytest.approx(MOCO["momentum"][step], rel=1e-12)


@pytest.mark.slow
def test_five_mocov3_steps() -> None:
    """Five steps of forward, backward, LARS and teacher, ResNet-18 with BatchNorm, float64.

    moco-v3 moves its teacher inside the next forward; ours moves it after the step. So ours is fed the momentum of the
    next step, and its teacher is compared after the authors' has made the move it still owes.
    """
    s = Setting()
    backbone = build_backbone(ResNet(18, zero_init_residual=True))
    method = MoCoV3Method(backbone, MoCoV3(s.temperature, s.hidden, s.out)).double()
    with torch.no_grad():
        for name, p in method.student.named_parameters():
            p.copy_(weight(canonical(name), p))
        for name, p in method.teacher.named_parameters():
            p.copy_(method.student.get_parameter(name))
    state = State(method, build_optimizer(Lars(weight_decay=s.weight_decay), method.student))
    for step in range(s.steps):
        batch = Batch(views(step, s), torch.arange(s.images))
        now = Plan(lr=MOCO["lr"][step], momentum=MOCO["momentum"][step + 1], residual=0.0)
        metrics = train_step(state, batch, now, Rules(Residual()))
        assert metrics["loss"].item() == pytest.approx(MOCO["losses"][step], rel=1e-9), f"step {step}"
    assert_same({canonical(name): values for name, values in fingerprints(method.student).items()}, MOCO["student"])
    ours = {canonical(name): values for name, values in fingerprints(method.teacher).items()}
    assert_same({name.replace("base_", "momentum_"): values for name, values in ours.items()}, MOCO["teacher"])


@pytest.mark.parametrize(
    ("form", "recorded"),
    [
        ("clipped", SOLO["lars"]),
        ("paper", RECORDED["Lightning-Universe/lightning-bolts"]["lars"]),
        ("mocov3", FIRST_BYOL["lars"]),
    ],
    ids=["solo-learn", "lightning-bolts", "byol"],
)
def test_lars(form: Literal["clipped", "paper", "mocov3"], recorded: list[list[list[float]]]) -> None:
    w, b = nn.Parameter(numbers("w", (5, 4))), nn.Parameter(numbers("b", (5,)))
    network = nn.ParameterDict({"w": w, "b": b})
    optimizer = build_optimizer(Lars(weight_decay=1e-2, trust=0.02, form=form), network)
    for step, lr in enumerate((0.003, 0.3, 0.2, 0.1, 0.05)):
        w.grad, b.grad = numbers(f"gradient w {step}", (5, 4)), numbers(f"gradient b {step}", (5,))
        set_rate(optimizer, lr)
        optimizer.step()
        close(w, recorded[step][0])
        close(b, recorded[step][1])


def close(ours: Tensor, recorded: list[float]) -> None:
    torch.testing.assert_close(ours.detach().flatten(), torch.tensor(recorded, dtype=torch.float64), rtol=1e-12, atol=0)


def vit_name(name: str) -> str:
    """Our parameter's name as moco-v3 calls it, whose projector is the transformer's head."""
    return name.replace("backbone.body.", "base_encoder.").replace("projector.", "base_encoder.head.")


@pytest.mark.slow
def test_five_mocov3_steps_of_a_transformer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Positions, frozen patches, heads with their BatchNorms, AdamW and teacher, float64.

    As for the ResNet, the authors' teacher has made the move it still owes.
    """
    s, recorded = ViTSetting(), MOCO["vit"]
    monkeypatch.setitem(MOCO_VIT, "tiny", (s.width, s.depth, s.heads))
    backbone = build_backbone(MoCoViT("tiny", s.image, s.patch))
    config = MoCoV3(s.temperature, s.hidden, s.out, projector_layers=3, predictor_norm="plain")
    method = MoCoV3Method(backbone, config).double()
    positions = method.student.get_parameter("backbone.body.pos_embed").flatten().tolist()
    np.testing.assert_allclose(positions, recorded["positions"], rtol=0, atol=1e-6)  # theirs are float32
    with torch.no_grad():
        for name, p in method.student.named_parameters():
            p.copy_(weight(vit_name(name), p))
        for name, p in method.teacher.named_parameters():
            p.copy_(method.student.get_parameter(name))
    body = {vit_name(name): p for name, p in method.student.named_parameters() if name.startswith("backbone.")}
    fixed = sorted(name.removeprefix("base_encoder.") for name, p in body.items() if not p.requires_grad)
    assert fixed == recorded["fixed"]
    state = State(method, build_optimizer(AdamW(weight_decay=s.weight_decay, decay_vectors=True), method.student))
    for step in range(s.steps):
        now = Plan(lr=s.lr, momentum=s.momentum, residual=0.0)
        metrics = train_step(state, Batch(s.views(step), torch.arange(s.images)), now, Rules(Residual()))
        assert metrics["loss"].item() == pytest.approx(recorded["losses"][step], rel=1e-9), f"step {step}"
    assert_same({vit_name(name): values for name, values in fingerprints(method.student).items()}, recorded["student"])
    ours = {vit_name(name): values for name, values in fingerprints(method.teacher).items()}
    assert_same({name.replace("base_", "momentum_"): v for name, v in ours.items()}, recorded["teacher"])


def test_the_byol_loss_of_its_authors() -> None:
    """Its value, and its gradient, which says that the target's side has none."""
    p, z = numbers("p", (6, 10)).requires_grad_(), numbers("z", (6, 10)).requires_grad_()
    ours = 2 * cosine_distance(p, z.detach())
    ours.backward()
    assert ours.item() == pytest.approx(FIRST_BYOL["loss"], rel=1e-12)
    assert p.grad is not None
    close(p.grad, FIRST_BYOL["gradient"])


def test_the_byol_schedules_of_its_authors() -> None:
    """Momentum to 1 as half a cosine; ten steps of warm-up, then half a cosine of the rate for 512 images."""
    train = Train(steps=100, batch=512, warmup_steps=10)
    found = [plan(train, 0.2, Ema(0.99, 1.0), Residual(), step, 1) for step in range(0, 101, 20)]
    assert [now.momentum for now in found] == pytest.approx(FIRST_BYOL["momentum"], rel=1e-12)
    assert [now.lr for now in found] == pytest.approx(FIRST_BYOL["lr"], rel=1e-12, abs=1e-15)


def test_the_simclr_loss_of_its_authors() -> None:
    a, b = numbers("p", (6, 10)), numbers("z", (6, 10))
    ours = nt_xent(a, b, a, 0, 0.2) + nt_xent(b, a, b, 0, 0.2)  # the sum of both directions
    assert ours.item() == pytest.approx(RECORDED["google-research/simclr"]["loss"], rel=1e-9)


def test_sololearn_byol_loss() -> None:
    ours = 2 * cosine_distance(numbers("p", (6, 10)), numbers("z", (6, 10)))
    assert ours.item() == pytest.approx(SOLO["byol"], rel=1e-12)


def test_sololearn_simsiam_loss() -> None:
    ours = cosine_distance(numbers("p", (6, 10)), numbers("z", (6, 10))) - 1.0  # theirs is -cos
    assert ours.item() == pytest.approx(SOLO["simsiam"], rel=1e-12)


def test_sololearn_simclr_loss() -> None:
    a, b = numbers("p", (6, 10)), numbers("z", (6, 10))
    ours = 0.5 * nt_xent(a, b, a, 0, 0.2) + 0.5 * nt_xent(b, a, b, 0, 0.2)
    assert ours.item() == pytest.approx(SOLO["simclr"], rel=1e-12)


def test_sololearn_nnclr_loss() -> None:
    ours = info_nce(numbers("p", (6, 10)), numbers("z", (6, 10)), 0, 0.2)
    assert ours.item() == pytest.approx(SOLO["nnclr"], rel=1e-12)


class Said(nn.Module):
    """A student that says given projections of the views, one after the other."""

    def __init__(self, *said: Tensor) -> None:
        super().__init__()
        self.said = iter(said)

    def forward(self, view: Tensor) -> Encoding:
        z = next(self.said)
        return Encoding(z, z)


def test_lightly_nnclr_loss() -> None:
    """What `nt_xent` stands for, with neighbours in the place of `a`."""
    a, b = numbers("p", (6, 10)), numbers("z", (6, 10))
    made = NNCLRMethod(Backbone(nn.Identity(), 4), NNCLR(0.5, queue=6, hidden=4, nt_xent=True))
    assert made.contrast(a, b).item() == pytest.approx(LIGHTLY["nt_xent"], rel=1e-12)


def total(made: Method) -> dict[str, float]:
    """The method's loss, and its terms by name, where the student says two recorded tensors."""
    made.student = Said(numbers("p", (6, 10)), numbers("z", (6, 10)))
    outcome = made(Batch(tuple(torch.zeros(2, 6, 3, 4, 4)), torch.arange(6)), Targets(()), slice(0, 6))
    parts = {term.name: term.value.item() for term in outcome.terms}
    return parts | {"": sum(term.weight * term.value.item() for term in outcome.terms)}


NOTHING = Backbone(nn.Identity(), 4)


def test_sololearn_barlow_loss() -> None:
    ours = total(BarlowTwinsMethod(NOTHING, BarlowTwins(redundancy=0.0051, scale=0.1, hidden=4)))
    assert ours[""] == pytest.approx(SOLO["barlow"], rel=1e-12)


def test_vicreg_losses() -> None:
    """solo-learn's parts and whole; lightly takes half of the variance."""
    ours = total(VICRegMethod(NOTHING, VICReg(hidden=4)))
    assert ours[""] == pytest.approx(SOLO["vicreg"], rel=1e-12)
    for name in ("invariance", "variance", "covariance"):
        assert ours[name] == pytest.approx(SOLO[f"vicreg {name}"], rel=1e-12)
    half = total(VICRegMethod(NOTHING, VICReg(variance=12.5, hidden=4)))
    assert half[""] == pytest.approx(LIGHTLY["vicreg"], rel=1e-12)
