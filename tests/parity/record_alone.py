"""As `record.py`, for methods without a teacher: what their authors' code says, into tests/golden/parity.json.

    python -m tests.parity.record_alone --simsiam PATH --barlow PATH --vicreg PATH

PATHs are checkouts of the repositories named in `SOURCES`; what is not given stays as it was recorded. Models, losses,
optimisers and schedules are the authors'; in place of their ResNet stands a small `Body`.
"""

import importlib
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tests.parity.record import Sources, load, record_from
from tests.parity.record_queues import alone
from tests.parity.setting import Body, BodySetting, weight
from tests.parity.weights import fingerprints

S = BodySetting()


def five_steps(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    loss_of: Callable[[Tensor, Tensor], Tensor],
    schedule: Callable[[int], None],
) -> dict[str, Any]:
    """Losses, learning rates and the weights after five steps; `schedule` sets the rates of a step."""
    found: dict[str, Any] = {"losses": [], "lr": []}
    for step in range(S.steps):
        schedule(step)
        loss = loss_of(*S.views(step))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found["losses"].append(loss.item())
        found["lr"].append([group["lr"] for group in optimizer.param_groups])
    return found | {"student": fingerprints(model)}


@torch.no_grad()
def filled(model: nn.Module) -> nn.Module:
    model.double()
    for name, p in model.named_parameters():
        p.copy_(weight(name, p))
    return model


def simsiam(root: Path) -> dict[str, Any]:
    script = load(root / "main_simsiam.py", "main_simsiam")
    builder = importlib.import_module("simsiam.builder")

    def encoder(num_classes: int, zero_init_residual: bool) -> Body:
        return Body(S.width, nn.Linear(S.width, num_classes))

    model = filled(builder.SimSiam(encoder, S.out, S.predictor))
    groups = [
        {"params": model.encoder.parameters(), "fix_lr": False},
        {"params": model.predictor.parameters(), "fix_lr": True},
    ]
    optimizer = torch.optim.SGD(groups, S.lr, momentum=0.9, weight_decay=S.weight_decay)
    similarity = nn.CosineSimilarity(dim=1)

    def loss(x1: Tensor, x2: Tensor) -> Tensor:
        p1, p2, z1, z2 = model(x1, x2)  # what follows is one line of their training script
        return -(similarity(p1, z2).mean() + similarity(p2, z1).mean()) * 0.5

    given = types.SimpleNamespace(epochs=S.steps)
    return five_steps(model, optimizer, loss, lambda step: script.adjust_learning_rate(optimizer, S.lr, step, given))


def late(script: Any, optimizer: torch.optim.Optimizer, *names: str) -> Callable[[int], None]:
    """Their schedule from the last epochs of its warm-up to the end, one step an epoch; `names`: what rates are called.

    The rates are per 256 images.
    """
    before = S.written_warmup - S.warmup
    rates = dict.fromkeys(names, S.lars_lr * 256 / S.images)
    given = types.SimpleNamespace(epochs=before + S.steps, batch_size=S.images, **rates)
    return lambda step: script.adjust_learning_rate(given, optimizer, range(1), before + step)


def barlow(root: Path) -> dict[str, Any]:
    script = load(root / "main.py", "barlow_main")
    projector = f"{S.hidden}-{S.hidden}-{S.out}"
    given = types.SimpleNamespace(projector=projector, batch_size=S.images, lambd=0.0051)
    real = script.torchvision.models.resnet50
    script.torchvision.models.resnet50 = lambda zero_init_residual: Body(2048)  # the width that their heads expect
    model = filled(script.BarlowTwins(given))
    script.torchvision.models.resnet50 = real
    groups = [{"params": [p for p in model.parameters() if (p.ndim == 1) == vector]} for vector in (False, True)]
    optimizer = script.LARS(
        *(groups, 0, S.weight_decay), eta=S.trust, weight_decay_filter=True, lars_adaptation_filter=True
    )
    # They give biases and gains a rate of their own; here it is that of the weights.
    schedule = late(script, optimizer, "learning_rate_weights", "learning_rate_biases")
    return five_steps(model, optimizer, model, schedule)


def vicreg(root: Path) -> dict[str, Any]:
    script = load(root / "main_vicreg.py", "main_vicreg")
    script.resnet.body = lambda zero_init_residual: (Body(S.width), S.width)
    given = types.SimpleNamespace(
        mlp=f"{S.hidden}-{S.hidden}-{S.out}",
        arch="body",
        batch_size=S.images,
        sim_coeff=25.0,
        std_coeff=25.0,
        cov_coeff=1.0,
    )
    model = filled(script.VICReg(given))
    spared = script.exclude_bias_and_norm
    optimizer = script.LARS(
        *(model.parameters(), 0, S.weight_decay),
        eta=S.trust,
        weight_decay_filter=spared,
        lars_adaptation_filter=spared,
    )
    return five_steps(model, optimizer, model, late(script, optimizer, "base_lr"))


SOURCES: Sources = {
    "simsiam": ("facebookresearch/simsiam", simsiam),
    "barlow": ("facebookresearch/barlowtwins", barlow),
    "vicreg": ("facebookresearch/vicreg", vicreg),
}


def main() -> None:
    with alone():
        record_from(SOURCES, __doc__)


if __name__ == "__main__":
    main()
