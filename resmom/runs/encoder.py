"""The encoder of a run: read from its folder, ready to be used."""

from collections.abc import Callable
from pathlib import Path
from typing import get_args

from torch import nn

from resmom.arguments import arguments_checked
from resmom.build import Own
from resmom.errors import UserError
from resmom.method import Method
from resmom.nets.backbones import Backbone
from resmom.runs.loaded import Loaded, load_run
from resmom.runs.own import say_others
from resmom.which import Network


@arguments_checked("backbone")
def load(
    path: str | Path,
    network: Network = "student",
    device: str = "cpu",
    *,
    backbone: nn.Module | None = None,
    method: Callable[[Backbone], Method] | None = None,
) -> nn.Module:
    """The encoder of a run folder or checkpoint, in evaluation mode, taking no gradient: views to Encoding(h, z, p).

    Views are N x C x S x S, normalised as `run.policy` says. `backbone` and `method`: as they were given at the start
    of the run. Raises RunDirError, CheckpointError, ConfigError; UserError for another network.
    """
    own = Own(backbone, method)
    loaded = load_run(Path(path), device, own)
    say_others(own, loaded.written)
    return encoder_of(loaded, network)


def encoder_of(loaded: Loaded, network: Network) -> nn.Module:
    """One of a loaded run's networks, in evaluation mode, taking no gradient. Raises UserError for another network."""
    if network not in get_args(Network):
        raise UserError(f"network is {network!r}; it is one of {', '.join(get_args(Network))}")
    encoder = loaded.networks(network)[network]
    return encoder.eval().requires_grad_(False)
