"""What a frozen network says of clean images."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn

from resmom.errors import UserError
from resmom.types import Encoding
from resmom.which import Site

NO_IMAGES = "there are no images to encode; give at least one batch"


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradient; afterwards every module is in the mode it was in."""
    # Set one by one: a module that its owner froze must not come back in training mode because its parent does.
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes.items():
            module.training = training


def features(
    network: nn.Module, batches: Iterable[Float[Tensor, "_ c height width"]], site: Site = "h"
) -> Float[Tensor, "m d"]:
    """What `network` (view -> Encoding) says of all batches at one site, in float32, on the CPU, row after row.

    The last batch may be smaller. The batches lie on the network's device, and an autocast around the call is
    respected. Running statistics are used and not changed. Raises ValueError if there is no batch, UserError for a site
    that the network does not have.
    """
    with frozen(network):
        parts = [_at(network(batch), site).float().cpu() for batch in batches]
    if not parts:
        raise ValueError(NO_IMAGES)
    return torch.cat(parts)


def _at(said: Encoding, site: Site) -> Tensor:
    if site not in said.sites:
        lacks = "no predictor, so there is no p" if site == "p" else "no prototypes, so there are no logits"
        raise UserError(f"this network has {lacks}; use another site: {', '.join(said.sites)}")
    return said.at(site)
