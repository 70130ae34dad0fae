"""BatchNorm over groups of the batch, and the shuffle of keys among them: "shuffling BN" of MoCo.

K. He et al., "Momentum Contrast for Unsupervised Visual Representation Learning", CVPR 2020, arXiv 1911.05722, section
3.3: where a query and its key are normalised with the same images, the statistics tell which key is whose. The authors'
code has a group per GPU; here groups have a size, so that the same run can be done on any number of devices and in
micro-batches. Normalising parts of a batch is otherwise known as ghost batches (Hoffer et al. 2017, arXiv 1705.08741).
"""

from typing import TypeVar, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils import _pytree

from resmom import dist
from resmom.called import called
from resmom.types import Encoding


class Ghost(_BatchNorm):
    """In training, every `images` rows are normalised by themselves; parameters, buffers and evaluation stay as ever.

    The running statistics move by the mean over the groups.
    """

    images: int

    def forward(self, x: Tensor) -> Tensor:
        """Raises ValueError, in training, for rows that are no whole groups; fewer than a group are one."""
        if not self.training:
            return super().forward(x)
        if len(x) > self.images and len(x) % self.images:
            raise ValueError(f"BatchNorm over groups of {self.images} images got {len(x)}; give whole groups")
        self._check_input_dim(x)  # type: ignore[no-untyped-call]
        share, recorded = self.momentum, self._recorded(x)
        if recorded is not None and share is None:  # the mean of everything so far
            assert self.num_batches_tracked is not None
            share = 1.0 / (float(self.num_batches_tracked) + 1.0)
        made = [
            F.batch_norm(
                group,
                None if recorded is None else recorded[0][number],
                None if recorded is None else recorded[1][number],
                self.weight,
                self.bias,
                True,
                0.0 if share is None else share,
                self.eps,
            )
            for number, group in enumerate(torch.split(x, self.images))
        ]
        if recorded is not None:
            self._record(*recorded)
        return torch.cat(made)

    def _recorded(self, x: Tensor) -> tuple[Tensor, Tensor] | None:
        """The running statistics once for every group; None where none are kept."""
        mean, variance = self.running_mean, self.running_var
        if not self.track_running_stats or mean is None or variance is None:
            return None
        groups = max(1, len(x) // self.images)
        return mean.repeat(groups, 1), variance.repeat(groups, 1)

    @torch.no_grad()
    def _record(self, means: Float[Tensor, "groups c"], variances: Float[Tensor, "groups c"]) -> None:
        assert self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None
        self.running_mean.copy_(means.mean(0))
        self.running_var.copy_(variances.mean(0))
        self.num_batches_tracked.add_(1)


class GhostBatchNorm1d(Ghost, nn.BatchNorm1d):
    """BatchNorm1d over groups of `images` rows."""


class GhostBatchNorm2d(Ghost, nn.BatchNorm2d):
    """BatchNorm2d over groups of `images` images."""


Network = TypeVar("Network", bound=nn.Module)

_GHOSTS: dict[type[nn.Module], type[Ghost]] = {nn.BatchNorm1d: GhostBatchNorm1d, nn.BatchNorm2d: GhostBatchNorm2d}


def in_groups(network: Network, images: int) -> Network:
    """The network, every BatchNorm of which now normalises groups of so many images; 0 leaves it as it is.

    The layers stay where and what they are, weights, buffers, hooks and names, also where one stands in several places.
    Raises ValueError for a group of one, where there is no BatchNorm, or one that is neither BatchNorm1d nor
    BatchNorm2d itself.
    """
    if images == 0:
        return network
    if images < 2:
        raise ValueError(
            f"{called('method.shuffle_bn')} is {images}; it must be 0 (off) or the images of a group, at least 2"
        )
    norms = [layer for layer in network.modules() if isinstance(layer, _BatchNorm)]
    if not norms:
        raise ValueError(
            f"the network has no BatchNorm whose statistics could be shuffled; set {called('method.shuffle_bn')} to 0"
        )
    for norm in norms:
        if type(norm) not in _GHOSTS:
            raise ValueError(
                f"the network has a {type(norm).__name__}, which cannot be split into groups: only BatchNorm1d and "
                f"BatchNorm2d can; set {called('method.shuffle_bn')} to 0"
            )
    for norm in norms:
        norm.__class__ = _GHOSTS[type(norm)]
        cast(Ghost, norm).images = images
    return network


def as_ever(network: Network) -> Network:
    """The network with every BatchNorm over the whole batch again: groups are for pretraining, not for what follows."""
    plain = {ghost: norm for norm, ghost in _GHOSTS.items()}
    for layer in ghosts(network):
        del layer.images
        cast(nn.Module, layer).__class__ = plain[type(layer)]
    return network


def ghosts(network: nn.Module) -> list[Ghost]:
    """The layers that normalise groups."""
    return [layer for layer in network.modules() if isinstance(layer, Ghost)]


@torch.no_grad()
def share_statistics(network: nn.Module) -> None:
    """Give all ranks the mean of their running statistics, where BatchNorm normalises groups.

    These are then the mean over the groups of all ranks, as one process would have it; elsewhere SyncBatchNorm does it.
    """
    if dist.world() == 1:
        return
    running = [b for layer in ghosts(network) for b in (layer.running_mean, layer.running_var) if b is not None]
    if running:
        flat = torch.cat(running)
        dist.average([flat])
        torch._foreach_copy_(running, list(torch.split(flat, [len(buffer) for buffer in running])))


@torch.no_grad()
def shuffled(network: nn.Module, view: Float[Tensor, "n c height width"], images: int) -> Encoding:
    """What a network says of a view, its images, of all ranks, in a random order meanwhile, a new one at each call.

    The order is torch's generator's, that of rank 0. `images` 0, or a network that does not
    normalise with its batch: nothing is shuffled.
    """
    said: Encoding
    if not images or not network.training:
        said = network(view)
        return said
    n, rank = len(view), dist.rank()
    mine = slice(rank * n, (rank + 1) * n)
    order = dist.from_first(torch.randperm(n * dist.world(), device=view.device))
    last = view.is_contiguous(memory_format=torch.channels_last)
    drawn = dist.gather(view)[order[mine]].contiguous(
        memory_format=torch.channels_last if last else torch.contiguous_format
    )
    said = network(drawn)
    everybodys: Encoding = _pytree.tree_map(dist.gather, said)
    return everybodys.chosen(_places(order)[mine])


def _places(order: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
    """Where each image has gone."""
    places = torch.empty_like(order)
    places[order] = torch.arange(len(order), device=order.device)
    return places
