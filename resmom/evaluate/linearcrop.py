"""The linear probe of the published tables: one linear layer on a frozen network, trained on random crops and flips."""

from collections.abc import Callable, Iterable
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from resmom.called import called
from resmom.data.loader import prefetch
from resmom.data.source import Source, labels_read
from resmom.evaluate.crops import Crops, ahead, labelled_rows, light, loss, turned
from resmom.evaluate.layers import reader
from resmom.evaluate.score import Classified, NotMeasured, score
from resmom.evaluate.settings import LinearCrop
from resmom.views.policy import Policy
from resmom.which import H

AREAS = (0.08, 1.0)
"""Of the crops, whatever pretraining's are: torchvision's RandomResizedCrop, which all the sources leave as it is."""
_LEAST_STEPS = 10
"""Steps of an epoch on small sets, whose batches are made smaller for it."""


@runtime_checkable
class Memory(Protocol):
    """Where a probe keeps what a restart needs, after every epoch."""

    def load(self) -> dict[str, Any] | None:
        """What was kept last, if anything was."""

    def save(self, state: dict[str, Any], epoch: int, loss: float) -> None:
        """Keep `state` after so many epochs; `loss` is the mean cross-entropy of the last one."""


class Forgetful:
    """Keeps nothing."""

    def load(self) -> dict[str, Any] | None:
        return None

    def save(self, state: dict[str, Any], epoch: int, loss: float) -> None:
        pass


def linear_crop(
    backbone: nn.Module,
    train: Source,
    test: Source,
    clean: Callable[[Source], Iterable[Float[Tensor, "_ c height width"]]],
    policy: Policy,
    config: LinearCrop,
    half: bool = False,
    workers: int = 0,
    memory: Memory | None = None,
) -> Classified:
    """Train a linear layer on features of random crops of the labelled images of `train`; test its last epoch on clean
    images.

    The network (view -> map or tokens, h) is frozen, its BatchNorm in evaluation mode; the features, h or those of
    `config.layer`, are neither standardised nor kept. Views are functions of (seed, epoch, image), made by `workers`
    threads; size, ratio and flips are those of the policy's first view. `half`: they are under bfloat16 in training;
    the layer and the test are in float32. Begins where `memory` says, on a CPU with the same result as without a stop.
    `clean` gives the images of `test`. What stands in for a file that cannot be decoded is neither learnt from nor
    scored. Raises ValueError for fewer than two labelled images, and for none to test on; UserError for features that
    the network does not have; NotMeasured if training diverged.
    """
    rows, classes = labelled_rows(train, test, "a linear probe")
    device = next(backbone.parameters()).device
    batch = min(config.batch, max(1, len(rows) // _LEAST_STEPS))
    shown = light(policy, AREAS)
    crops = Crops(train, rows, batch, shown, config.seed, device, whole=True)
    with reader(backbone, config.layer) as read:
        some = next(iter(clean(test)))
        lr = _rate(config, tokens=backbone(some)[0].ndim == 3)
        head = _fresh(read(some).shape[1], classes, config.seed).to(device)
        missed = _train(read, head, crops, lr * batch / 256, config, half, workers, memory or Forgetful())
        votes = torch.cat([head(read(view).float()).cpu() for view in clean(test)])
    asked = torch.from_numpy(labels_read(test))
    known, learnt = asked >= 0, len(rows) - missed
    what = H if config.layer == H else f"'{config.layer}'"
    falling = "half a cosine" if config.schedule == "cosine" else "a tenth after 60 and 80 %"
    protocol = (
        f"linear-crop-v1 (frozen {what}, one linear layer, random crops of {AREAS[0]:g} to {AREAS[1]:g} of the "
        f"area, flip {shown.views[0].flip:g}{turned(shown.views[0])}, sgd lr {lr:g} per 256 images, {falling} by "
        f"epoch, wd {config.weight_decay:g}, {config.epochs} epochs, batch {batch}, trained on {learnt}, tested on "
        f"{int(known.sum())}, last epoch, seed {config.seed})"
    )
    return Classified(score(votes[known], asked[known], protocol), backbone, head)


def _rate(config: LinearCrop, tokens: bool) -> float:
    return (3.0 if tokens else 0.1) if config.lr is None else config.lr


def _fresh(width: int, classes: int, seed: int) -> nn.Linear:
    """Weights of deviation .01 and bias 0, as at the source."""
    # Built without a draw from torch's own generator, which stays as it is.
    head: nn.Linear = nn.utils.skip_init(nn.Linear, width, classes)  # type: ignore[no-untyped-call]
    nn.init.normal_(head.weight, std=0.01, generator=torch.Generator().manual_seed(seed))
    nn.init.zeros_(head.bias)
    return head


def _train(
    read: Callable[[Tensor], Tensor],
    head: nn.Linear,
    crops: Crops,
    lr: float,
    config: LinearCrop,
    half: bool,
    workers: int,
    memory: Memory,
) -> int:
    """Train the layer, and say how many images others stood in for."""
    optimizer = torch.optim.SGD(head.parameters(), lr=lr, momentum=0.9, weight_decay=config.weight_decay)
    epoch, missed = 0, 0
    if (state := memory.load()) is not None:
        head.load_state_dict(state["head"])
        optimizer.load_state_dict(state["optimizer"])
        epoch, missed = int(state["epoch"]), int(state.get("missed", 0))
    device, per_epoch = head.weight.device, crops.per_epoch
    total = torch.zeros((), device=device)
    with prefetch(crops.batch, epoch * per_epoch, config.epochs * per_epoch, workers, ahead(workers)) as batches:
        for step, (view, labels) in enumerate(batches, epoch * per_epoch):
            optimizer.param_groups[0]["lr"] = config.rate(lr, step // per_epoch)
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=half):
                features = read(view)
            with torch.enable_grad():
                cost = loss(head(features.float()), labels)
                optimizer.zero_grad()
                cost.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            total += cost.detach()
            if (step + 1) % per_epoch == 0:
                mean, epoch = float(total) / per_epoch, (step + 1) // per_epoch
                if not np.isfinite(mean):
                    own = lr * 256 / crops.size
                    raise NotMeasured(
                        f"it diverged in epoch {epoch} at rate {lr:g}, {own:g} per 256 images; give a lower one, such "
                        f"as {called('linear_crop.lr')} {own / 10:.3g}"
                    )
                missed = crops.missed  # an epoch has read all images
                kept = {
                    "head": head.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "epoch": epoch,
                    "missed": missed,
                }
                memory.save(kept, epoch, mean)
                total.zero_()
    return missed
