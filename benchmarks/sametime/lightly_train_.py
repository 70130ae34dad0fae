"""One training by lightly-train, in its own environment.

    python -m benchmarks.sametime.lightly_train_ ASK     (an `Ask` as JSON)

To find its speed it prints {"start_up", "per_step", "version"}, in seconds, as the last line of standard output. A
training leaves OUT/exported_models/exported_last.pt.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

BEGAN = time.perf_counter()  # before the imports, which are part of the time that it takes

import lightly_train  # noqa: E402
import pytorch_lightning  # noqa: E402
import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from benchmarks.sametime.arm import BATCH, SMALL, Ask, Theirs  # noqa: E402
from resmom.nets.backbones import Backbone, SmallResNet, build_backbone  # noqa: E402


class Wrapped(nn.Module):
    """Our small network as lightly-train takes networks of one's own."""

    def __init__(self) -> None:
        super().__init__()
        self.network: Backbone = build_backbone(SmallResNet(SMALL))

    def forward_features(self, x: Tensor) -> dict[str, Tensor]:
        return {"features": self.network(x)[0]}

    def forward_pool(self, x: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"pooled_features": x["features"].mean((2, 3), keepdim=True)}

    def feature_dim(self) -> int:
        return self.network.width

    def get_model(self) -> nn.Module:
        return self.network


class Speed(pytorch_lightning.Callback):
    """Ends the process when it has seen enough steps to tell how long one takes; the first one is warm-up."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self._start_up, self._first, self._steps = seconds, 0.0, 0.0, 0

    def on_train_batch_start(self, *_: Any) -> None:
        self._start_up = self._start_up or time.perf_counter() - BEGAN

    def on_train_batch_end(self, *_: Any) -> None:
        now = time.perf_counter()
        if not self._first:
            self._first = now
            return
        self._steps += 1
        if now - self._first >= self._seconds:
            per_step = (now - self._first) / self._steps
            found = {"start_up": self._start_up, "per_step": per_step, "version": lightly_train.__version__}
            print(f"\n{json.dumps(found)}", flush=True)  # below its progress bar
            os._exit(0)


def transforms(theirs: Theirs) -> dict[str, Any] | None:
    """What is changed of its own views; None for nothing."""
    changed: dict[str, Any] = {"image_size": (theirs.side, theirs.side)} if theirs.side else {}
    if theirs.method == "dino" and not theirs.local_views:
        changed["local_view"] = None
    return changed or None


def watched(seconds: float) -> None:
    """Have every trainer report its speed: what a user may give to `pretrain` has to be JSON, a callback is not."""
    fit = pytorch_lightning.Trainer.fit

    def watched_fit(trainer: Any, *given: Any, **named: Any) -> None:
        trainer.callbacks.append(Speed(seconds))
        fit(trainer, *given, **named)

    setattr(pytorch_lightning.Trainer, "fit", watched_fit)  # noqa: B010  (a method, for mypy)


def main(ask: Ask) -> None:
    torch.set_num_threads(1)
    if not ask.steps:
        watched(ask.seconds)
    theirs = ask.theirs
    lightly_train.pretrain(
        out=Path(ask.out), data=ask.data, overwrite=True, seed=ask.seed,
        model=Wrapped() if theirs.network == "small" else "torchvision/resnet18",
        method=theirs.method, transform_args=transforms(theirs),
        epochs=ask.epochs, batch_size=BATCH, precision="bf16-mixed", num_workers=1, accelerator="cpu",
        trainer_args={"max_steps": ask.steps} if ask.steps else None,
    )  # fmt: skip


if __name__ == "__main__":
    main(Ask.read(sys.argv[1]))
