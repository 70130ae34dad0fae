"""What of a run must fit into memory, and what follows where it does not."""

import math
import time
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree

from resmom import dist
from resmom.called import called, either
from resmom.config import ConfigError, Run
from resmom.methodconfig import groups_of
from resmom.nets.backbones import MoCoViT
from resmom.runs.settling.facts import free_memory
from resmom.runs.training.job import Job, at_size
from resmom.train.state import networks_of, student_of
from resmom.train.step import Rules, autocast
from resmom.types import Batch, Targets

MEMORY = 0.7
"""Share of the free memory that a step may take."""
TRANSIENT = 1.6
"""A step's peak as a multiple of what is kept for it: gradients under way, the teacher's pass, fragmentation."""


@dataclass(frozen=True)
class Kept:
    """Bytes that a step keeps until its end: of each image, all views, and of what is there once however many images
    there are (prototypes brought to length 1, correlations of all features, weights in half precision, copies of
    queues)."""

    per_image: int
    fixed: int = 0
    image_seconds: float = field(default=0.0, compare=False)
    """What the pass that told it took, for each image: student and teacher, forward alone."""

    def of(self, images: int) -> int:
        """Those of the graph of so many images."""
        return self.fixed + images * self.per_image

    @property
    def words(self) -> str:
        """As an error names them."""
        fixed = f" and {self.fixed / 2**20:.0f} MiB for all of them together" if self.fixed >= 2**20 else ""
        return f"{self.per_image / 2**20:.0f} MiB per image{fixed}"


def fit_batch(run: Run, kept: Kept, weight_bytes: int, device: torch.device) -> int:
    """The most images that memory holds at once, at most the run's batch, halved from it as often as needed; of several
    processes those of each, at most its part of the batch.

    Raises ConfigError if not even four images fit (or that part, where it is smaller).
    """
    share = share_of(run.train.batch)
    batch = dist.least(_halved(share, kept, weight_bytes, device, groups_of(run.method)))
    if batch < min(4, share):
        raise ConfigError(
            f"the network does not fit into memory: {weight_bytes / 2**30:.1f} GiB for weights and {kept.words}, of "
            f"{free_memory(device) / 2**30:.1f} GiB free; take "
            + (" or ".join(lighter(run)) or "a file of a smaller backbone")
        )
    return batch


def within_memory(job: Job, kept: Kept) -> Rules:
    """The rules of the run's steps, cut into micro-batches where a whole batch would not fit into memory.

    Looked at before the first step: on a GPU that step would end the call, on a CPU the system would.
    """
    if not job.in_parts:
        return job.rules
    trained = bytes_of(student_of(job.state.method).state_dict())
    weights = bytes_of([network.state_dict() for network in networks_of(job.state.method).values()])
    held, groups = job.rules.micro_batch or share_of(job.run.train.batch), groups_of(job.run.method)
    weights += 3 * trained  # gradients, and an optimiser's two
    fits = dist.least(max(1, _halved(held, kept, weights, job.device, groups)))
    return job.rules if fits == held else replace(job.rules, micro_batch=fits)


def kept_bytes_of(job: Job, images: int = 8) -> Kept:
    """What a step keeps: the teacher's word and what autograd saves, of so many images and of half as many.

    What both have alike is fixed: divided among the few it would be counted again for each image of a whole batch. Of a
    batch too small to be halved all counts as the images'. Of the largest views, where these grow. The copy of batch
    statistics and queues from which a step that is not finite is taken back (`train/step.py`) is fixed, too.
    """
    batch = at_size(job, max(job.run.train.sizes, default=1.0)).batch(0)
    many = few_images(job, images)
    few = few_images(job, many // 2)
    buffers = [buffer.clone() for buffer in job.state.method.buffers()]
    began = time.perf_counter()
    saved = _saved_bytes(job, batch, many)
    slope, seconds = saved / many, (time.perf_counter() - began) / many
    if few > 1:  # one image alone is nothing that BatchNorm could normalise
        began = time.perf_counter()
        slope = (saved - _saved_bytes(job, batch, few)) / (many - few)
        seconds = (time.perf_counter() - began) / few  # what is only done once, the first pass did
    with torch.no_grad():
        for buffer, value in zip(job.state.method.buffers(), buffers, strict=True):
            buffer.copy_(value)
    each = math.ceil(slope)
    fixed = max(0, saved - many * each) + bytes_of(buffers)
    return Kept(each + sum(view[0].numel() * 4 for view in batch.views), fixed, seconds)


def _saved_bytes(job: Job, batch: Batch, images: int) -> int:
    """Bytes that the teacher says of the batch's first images, a copy of its queue included, and that autograd saves of
    their graph; what the method has anyway does not count.

    The largest that autograd saves counts twice: where that is the similarities to a long queue, their gradient, made
    while nearly all else is still kept, is more than `TRANSIENT` has room for.
    """
    method = job.state.method
    own = {kept.untyped_storage().data_ptr() for kept in (*method.parameters(), *method.buffers())}
    seen: dict[int, int] = {}
    alive: list[Tensor] = []

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            seen[storage.data_ptr()] = storage.nbytes()
        alive.append(tensor)  # or its address would be used again, and counted once
        return tensor

    # Copies: a part of the views would keep, and be counted as, the whole batch's storage.
    rows = replace(batch.rows(slice(0, images)), views=tuple(view[:images].clone() for view in batch.views))
    method.train()
    with autocast(job.device, job.run.train.precision):
        targets = method.teach(rows)
        said = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in _tensors(targets)}
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            method(rows, targets, slice(0, images))
    largest = max(seen.values(), default=0)
    return sum({place: size for place, size in (said | seen).items() if place not in own}.values()) + largest


def _tensors(targets: Targets) -> list[Tensor]:
    return [leaf for leaf in _pytree.tree_leaves(targets) if isinstance(leaf, Tensor)]


def few_images(job: Job, images: int) -> int:
    """So many images of a batch as a trial of its step takes, whole groups where BatchNorm has these."""
    few, groups = min(images, share_of(job.run.train.batch)), groups_of(job.run.method)
    return few - few % groups if 0 < groups < few else few


def share_of(batch: int) -> int:
    """A process's part of a batch."""
    return batch // dist.world()


def lighter(run: Run) -> list[str]:
    """What makes a step cheaper at the same batch: not another backbone than that of the file that a run starts from,
    nor other views than those that MoCo-v3's transformer has its fixed positions for."""
    views = f"smaller views ({either('--image-size', 'with_side of resmom.recipes.side')})"
    if not run.init:
        return [views, f"a smaller {called('backbone')}"]
    return [] if isinstance(run.backbone, MoCoViT) else [views]


def bytes_of(content: Any) -> int:
    """Bytes of all tensors in nested dictionaries and lists."""
    if isinstance(content, Tensor):
        return content.numel() * content.element_size()
    if isinstance(content, dict):
        return sum(bytes_of(value) for value in content.values())
    return sum(bytes_of(value) for value in content) if isinstance(content, list | tuple) else 0


def _halved(batch: int, kept: Kept, weight_bytes: int, device: torch.device, groups: int) -> int:
    """The batch, halved until memory holds the graph of so many images; 0 where it does not hold one.

    `groups`: the images that BatchNorm normalises together, of which it is then a multiple; 0 where that is all. Raises
    ConfigError where memory does not hold the graph of one group.
    """
    room = MEMORY * free_memory(device) - weight_bytes
    while batch and kept.of(batch) * TRANSIENT > room:
        if groups and batch <= groups:
            raise ConfigError(
                f"memory does not hold the graph of {groups} images, which {called('method.shuffle_bn')} has "
                f"normalised together: {kept.words}, {weight_bytes / 2**30:.1f} GiB for weights, of "
                f"{free_memory(device) / 2**30:.1f} GiB free; set {called('method.shuffle_bn')} lower, or to 0"
            )
        batch //= 2
        if groups:
            batch = max(batch - batch % groups, groups)
    return batch
