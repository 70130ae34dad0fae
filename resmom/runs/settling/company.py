"""Whether what a network says of an image depends on the other images of its batch."""

from torch import Tensor, nn

from resmom.evaluate.features import frozen

FEW = 2
"""Images that are seen without the others. One alone is not taken by a norm over the batch."""
ROUNDING = 1e-3
"""Of the features' root mean square: with the size of a batch kernels change, and their rounding with them."""
SPREAD = 1e-2
"""Of the standard deviation of the features over the images."""


def sites_with_company(network: nn.Module, view: Tensor) -> list[str]:
    """The sites (h, z, p) at which a network (view -> Encoding), in evaluation mode, says other things of two images
    alone than of the same two among all of the view. Empty for a network that draws then: it never says the same twice.
    """
    with frozen(network):
        alone, among, again = network(view[:FEW]), network(view), network(view)
    found = []
    for site in ("h", "z", "p"):
        said, same, without = (getattr(encoding, site) for encoding in (among, again, alone))
        if said is not None and _equal(said, same, said) and not _equal(without, said[:FEW], said):
            found.append(site)
    return found


def _equal(one: Tensor, other: Tensor, all_of_it: Tensor) -> bool:
    """Whether two are the same but for rounding, beside the features of all images."""
    one, other, features = one.float(), other.float(), all_of_it.float()
    limit = ROUNDING * _size(features) + SPREAD * _size(features - features.mean(0))
    return bool(_size(one - other) <= limit)


def _size(x: Tensor) -> Tensor:
    return x.square().mean().sqrt()
