"""Fine-tuning: the whole network learns to classify, starting from the pretrained weights."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import Optimizer

from resmom.called import called
from resmom.data.loader import prefetch
from resmom.data.source import Source, labels_read
from resmom.evaluate.crops import Crops, ahead, labelled_rows, light, loss, turned
from resmom.evaluate.features import frozen
from resmom.evaluate.score import Classified, NotMeasured, score
from resmom.evaluate.settings import Finetune
from resmom.nets.copies import copied
from resmom.nets.depth import layer_rates
from resmom.schedule import warmup_cosine
from resmom.views.policy import Policy

_LEAST_STEPS = 10
_LEAST_BATCH = 16
"""On small sets batches are made smaller for `_LEAST_STEPS` steps an epoch, but not so small that BatchNorm suffers."""


@dataclass(frozen=True)
class _Settings:
    optim: Literal["sgd", "adamw"]
    lr: float
    layer_decay: float
    weight_decay: float


def _settled(config: Finetune, tokens: bool) -> _Settings:
    optim = ("adamw" if tokens else "sgd") if config.optim == "auto" else config.optim
    lr, decay = (1e-3, 0.05) if optim == "adamw" else (0.05, 0.0)
    return _Settings(
        optim,
        lr if config.lr is None else config.lr,
        (0.75 if tokens else 1.0) if config.layer_decay is None else config.layer_decay,
        decay if config.weight_decay is None else config.weight_decay,
    )


class Classifier(nn.Module):
    """A backbone (view -> map or tokens, h) and a linear layer on h that starts at zero: every class equally likely."""

    def __init__(self, backbone: nn.Module, width: int, classes: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(width, classes)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, view: Float[Tensor, "n c height width"]) -> Float[Tensor, "n classes"]:
        scores: Tensor = self.head(self.backbone(view)[1])
        return scores


def finetune(
    backbone: nn.Module,
    width: int,
    train: Source,
    test: Source,
    clean: Callable[[Source], Iterable[Float[Tensor, "_ c height width"]]],
    policy: Policy,
    config: Finetune,
    shown: str,
    half: bool = False,
    workers: int = 0,
) -> Classified:
    """Train a copy of `backbone` with a linear classifier on the labelled images of `train`; test the last epoch.

    Views are the crop, flips and quarter turns of the policy's first view, functions of (seed, epoch, image), made by
    `workers` threads; `clean` gives the images of `test`. What stands in for a file that cannot be decoded is neither
    learnt from nor scored. Everything learns, also what pretraining had fixed. `shown`: whose views they are, in
    words. `half`: train under bfloat16; the test is in float32. `train` counts as all labels where the number of epochs
    is not given. Raises ValueError for fewer than two labelled images, and for none to test on; NotMeasured if training
    diverged.
    """
    config = config.for_share(1.0)
    assert config.epochs is not None
    rows, classes = labelled_rows(train, test, "fine-tuning")
    device = next(backbone.parameters()).device
    with frozen(backbone):
        settings = _settled(config, tokens=backbone(next(iter(clean(test))))[0].ndim == 3)
    batch = min(config.batch, len(rows), max(_LEAST_BATCH, len(rows) // _LEAST_STEPS))
    # Some networks drop paths at random; the caller's random numbers stay as they are.
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(config.seed)
        model = Classifier(copied(backbone).requires_grad_(True), width, classes).to(device)
        optimizer = _optimizer(model, settings)
        crops = Crops(train, rows, batch, light(policy), config.seed, device, whole=False)
        _train(model, optimizer, settings.lr * batch / 256, crops, config, half, workers)
    with frozen(model):
        votes = torch.cat([model(view).float().cpu() for view in clean(test)])
    asked = torch.from_numpy(labels_read(test))
    known, learnt = asked >= 0, len(rows) - crops.missed
    protocol = (
        f"finetune-v1 (whole network, {settings.optim} lr {settings.lr:g} per 256 images, layer decay "
        f"{settings.layer_decay:g}, wd {settings.weight_decay:g}, {config.epochs} epochs, batch {batch}, {shown}"
        f"{turned(light(policy).views[0])}, trained on {learnt}, tested on {int(known.sum())}, last epoch, "
        f"seed {config.seed})"
    )
    return Classified(score(votes[known], asked[known], protocol), model.backbone, model.head)


def _train(
    model: Classifier,
    optimizer: Optimizer,
    lr: float,
    crops: Crops,
    config: Finetune,
    half: bool,
    workers: int,
) -> None:
    device, per_epoch = model.head.weight.device, crops.per_epoch
    assert config.epochs is not None  # `finetune` has settled it
    steps, warmup = config.epochs * per_epoch, round(config.warmup_epochs * per_epoch)
    model.train()
    with prefetch(crops.batch, 0, steps, workers, ahead(workers)) as batches:
        for step, (view, labels) in enumerate(batches, 1):
            # The first step of a warm-up from 0 would be lost.
            rate = warmup_cosine(step, steps + 1, warmup, lr)
            for group in optimizer.param_groups:
                group["lr"] = rate * group["scale"]
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=half):
                votes = model(view)
            cost = loss(votes.float(), labels)
            optimizer.zero_grad()
            cost.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            if step % per_epoch == 0 and not cost.isfinite():
                own = lr * 256 / crops.size
                raise NotMeasured(
                    f"it diverged in epoch {step // per_epoch} at rate {lr:g}, {own:g} per 256 images; give a lower "
                    f"one, such as {called('finetune.lr')} {own / 10:.3g}"
                )


def _optimizer(model: Classifier, settings: _Settings) -> Optimizer:
    rates = layer_rates(model.backbone, settings.layer_decay, "backbone.")
    groups = parameter_groups(model, rates, settings.weight_decay, settings.optim == "sgd")
    if settings.optim == "sgd":
        return torch.optim.SGD(groups, lr=0.0, momentum=0.9, nesterov=True)
    return torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.999))


def parameter_groups(
    model: nn.Module, rates: Mapping[str, float], weight_decay: float, decay_vectors: bool
) -> list[dict[str, Any]]:
    """The parameters by (share of the learning rate, weight decay); `scale` is the share, 1 where `rates` has none.

    Biases, gains, positions and tokens are decayed only if `decay_vectors`.
    """
    groups: dict[tuple[float, float], list[Tensor]] = {}
    for name, p in model.named_parameters():
        scale = rates.get(name, 1.0)
        spared = p.ndim <= 1 or name.endswith(("pos_embed", "cls_token"))
        groups.setdefault((scale, 0.0 if spared and not decay_vectors else weight_decay), []).append(p)
    return [{"params": ps, "scale": scale, "weight_decay": decay} for (scale, decay), ps in groups.items()]
