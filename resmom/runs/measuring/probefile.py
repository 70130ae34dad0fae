"""The linear layers that `resmom evaluate --linear-crop` trains, in RUN/probes: a call that was stopped goes on."""

import hashlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from resmom.checkpoint import load_checkpoint, save_checkpoint
from resmom.data.source import digest


@dataclass(frozen=True)
class ProbeFile:
    """One layer's file, written anew after every epoch, which is said on standard error."""

    path: Path | None
    """None: the layer is not kept."""
    name: str
    """Of the network."""
    epochs: int
    device: torch.device

    def load(self) -> dict[str, Any] | None:
        if self.path is None or not self.path.is_file():
            return None
        state: dict[str, Any] = load_checkpoint(self.path, self.device)
        self._say(f"goes on after epoch {state['epoch']} of {self.epochs}")
        return state

    def save(self, state: dict[str, Any], epoch: int, loss: float) -> None:
        if self.path is not None:
            save_checkpoint(self.path, state)
        self._say(f"epoch {epoch} of {self.epochs}, loss {loss:.4f}")

    def _say(self, words: str) -> None:
        print(f"linear-crop-v1, {self.name}: {words}", file=sys.stderr)


def probe_file(
    folder: Path | None, name: str, backbone: nn.Module, settings: Sequence[object], epochs: int, device: torch.device
) -> ProbeFile:
    """The file in `folder` for these weights and `settings`, which name data and everything else that counts.

    Without a folder nothing is kept, and progress is said all the same.
    """
    if folder is None:
        return ProbeFile(None, name, epochs, device)
    weights = hashlib.sha256()
    for key, value in sorted(backbone.state_dict().items()):
        weights.update(key.encode())
        weights.update(value.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    key = digest([weights.digest(), *(repr(setting).encode() for setting in settings)])
    return ProbeFile(folder / f"{name}-{key}.pt", name, epochs, device)
