"""A network's backbone as a safetensors file, under the names of the library that will load it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import Tensor

from resmom.nets.backbones import BackboneConfig, SmallResNet
from resmom.nets.weightfile import uncompiled
from resmom.version import VERSION
from resmom.views.policy import Interpolation, Policy

FORMAT = "1"
"""Version of names and metadata in our files."""


@dataclass(frozen=True)
class About:
    """What a file says of itself, beside its tensors.

    `architecture`: the backbone's configuration as plain values, its kind included, or the name of a module of the
    user's own. `step`: of the run, None for weights without a run. `mean` and `std`, per channel of pixels in
    [0, 1]: what the network was trained to see. `side`: of the views, in pixels; `resize`: how images were resized.
    `source`: who published the weights, where that was not a run.
    """

    network: str
    architecture: Mapping[str, Any] | str
    step: int | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    side: int
    resize: Interpolation = "bilinear"
    source: str = ""

    @staticmethod
    def of(network: str, architecture: Mapping[str, Any] | str, step: int | None, policy: Policy) -> "About":
        """Of a network that was trained to see what the policy's first view shows."""
        first = policy.views[0]
        return About(network, architecture, step, policy.mean, policy.std, first.size, first.interpolation)

    def metadata(self) -> dict[str, str]:
        """As safetensors holds it: texts; numbers and the architecture as JSON."""
        step = {} if self.step is None else {"step": str(self.step)}
        return {
            "format": "pt",  # which other readers of safetensors ask for: the tensors are torch's
            "resmom_format": FORMAT,
            "resmom_version": VERSION,
            "network": self.network,
            "architecture": json.dumps(self.architecture),
            **step,
            "mean": json.dumps(self.mean),
            "std": json.dumps(self.std),
            "image_size": str(self.side),
            "resize": self.resize,
            **({"source": self.source} if self.source else {}),
        }


def exported(state: Mapping[str, Tensor], config: BackboneConfig | None) -> dict[str, Tensor]:
    """The backbone's tensors of a network's `state_dict`, on the CPU, named as torchvision or timm name them.

    Our ResNet, MoCoViT and Timm have these names already; SmallResNet becomes a plain `nn.Sequential`. `config` is None
    for a backbone of the user's own, whose names are kept, but for what torch.compile adds to them: the module that it
    wrapped can then load them.
    """
    prefix = "backbone.body."
    if isinstance(config, SmallResNet):
        prefix += "layers."
    named = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    # Contiguous and each in memory of its own, as the format wants them; training holds images channels last.
    return {uncompiled(name): value.detach().cpu().contiguous().clone() for name, value in named.items()}


def save_weights(path: Path, weights: dict[str, Tensor], about: About) -> None:
    """Write the file. Not atomic: write it where nobody looks yet. Equal content makes equal bytes."""
    path.write_bytes(packed(weights, about.metadata()))


def packed(weights: dict[str, Tensor], metadata: dict[str, str]) -> bytes:
    """The bytes of a safetensors file; equal content makes equal bytes.

    `save_file` makes files that only their owner may read, and orders the metadata by chance.
    """
    content = save(weights, metadata=metadata)
    length = int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8 : 8 + length]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)  # the tensors stay aligned, as the format wants them
    return len(header).to_bytes(8, "little") + header + content[8 + length :]
