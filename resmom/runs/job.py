"""A run made ready: everything built from its configuration and its data, nothing started."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

from resmom import dist
from resmom.build import Own, build_method, build_online
from resmom.config import ConfigError, Run
from resmom.configcheck import check
from resmom.data.order import Order
from resmom.data.source import Data, DataError, Images, Source
from resmom.data.split import holdout
from resmom.method import Method
from resmom.methodconfig import steady_of
from resmom.nets.backbones import Backbone, patch_of
from resmom.nets.ghosts import ghosts
from resmom.runs.device import has_room, stream
from resmom.runs.growth import require_sizes
from resmom.runs.masks import hidden_patches
from resmom.runs.queue import require_queue
from resmom.runs.recognise import start_weights
from resmom.train.optim import Steady, build_optimizer
from resmom.train.plan import Plan, length, plan, scaled, view_share
from resmom.train.state import State
from resmom.train.step import Rules
from resmom.types import Batch
from resmom.views.apply import plain, views
from resmom.views.policy import Policy, resized

CHUNK = 256
"""Images per forward pass of an evaluation."""


@dataclass
class Job:
    """The parts of a run in the hands of the loop."""

    run: Run
    data: Data
    state: State
    order: Order
    device: torch.device
    labels: Tensor | None
    resident: Tensor | None = None
    """All training images on the GPU, where they are few and small enough; views are then made there."""
    started: str = ""
    """What was taken of the file of weights that the run starts from, in words."""
    multiple: int = 1
    """The pixels of which sides of views that grow are multiples."""

    @property
    def rules(self) -> Rules:
        """What is the same for every step of the run."""
        run, train = self.run, self.run.train
        gated = self.device.type == "cuda"
        fixed = (train.precision, train.micro_batch, train.clip, train.seed, gated, run.ema, train.clip_each)
        return Rules(run.residual, *fixed)

    @property
    def per_epoch(self) -> int:
        return self.order.steps

    @property
    def steps(self) -> int:
        return length(self.run.train, self.order.steps)

    def plan(self, step: int) -> Plan:
        """What a step is told."""
        run = self.run
        return plan(run.train, run.optim.lr, run.ema, run.residual, step, self.per_epoch, run.optim)

    def policy(self, step: int) -> Policy:
        """The views of a step, smaller than the run's own where they grow over it."""
        return resized(self.run.policy, view_share(self.run.train, step, self.steps), self.multiple)

    def batch(self, step: int) -> Batch:
        """The batch of a step (counted from 0): a pure function of (seed, step) and the data.

        On a GPU it is made in a stream of its own, beside training, and complete when it is handed over.
        """
        index = self.order.index(step)
        if self.device.type != "cuda":
            return self._made(index, step)
        aside = stream(self.device)
        with torch.cuda.stream(aside):
            batch = self._made(index, step)
        aside.synchronize()
        for tensor in (*batch.views, *batch.masks, batch.index):  # allocated beside training, used by it
            tensor.record_stream(torch.cuda.default_stream(self.device))
        return batch

    def _made(self, index: NDArray[np.int64], step: int) -> Batch:
        clock, run, policy = self.state.clock, self.run, self.policy(step)
        with clock.part("decode"):
            images = self._images(index)
        with clock.part("views", self.device if isinstance(images, Tensor) else None):
            made = views(images, index, policy, run.train.seed, step // self.per_epoch)
        with clock.part("transfer", self.device):
            placed = tuple(self._placed(view) for view in made)
            masks = tuple(mask.to(self.device) for mask in hidden_patches(run, policy, index, step // self.per_epoch))
            return Batch(placed, torch.from_numpy(index).to(self.device), masks, step / self.per_epoch)

    def _images(self, index: NDArray[np.int64]) -> Images:
        """The images of a batch; those of a resident set are on the device already."""
        if self.resident is not None:
            return self.resident.index_select(0, torch.from_numpy(index).to(self.device))
        images = self.data.train.read(index)
        return images.to(self.device) if isinstance(images, Tensor) else images

    def _placed(self, view: Tensor) -> Tensor:
        if self.device.type == "cuda" and not view.is_cuda:
            view = view.pin_memory().to(self.device, non_blocking=True)
        return view.to(self.device).contiguous(memory_format=torch.channels_last)


def fresh_method(run: Run, device: torch.device, own: Own | None = None) -> Method:
    """The run's method with random weights (or those a module of the user's own has); `run.init` is not looked at.

    Raises ConfigError for a backbone that cannot be built.
    """
    side, channels = run.policy.views[0].size, len(run.policy.mean)
    try:
        method = build_method(run.method, run.backbone, run.train.seed, own or Own(), (channels, side, side))
    except ValueError as error:
        raise ConfigError(f"backbone or method cannot be built: {error}") from error
    require_sizes(backbone_of(method.student), run, channels, _multiple(run, own))
    if dist.world() > 1 and device.type == "cuda" and not ghosts(method):
        method = nn.SyncBatchNorm.convert_sync_batchnorm(method)  # type: ignore[no-untyped-call]
    return method.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def _multiple(run: Run, own: Own | None) -> int:
    """The pixels of which sides of views that grow are multiples: a backbone from Python names none."""
    return 1 if own is not None and own.backbone is not None else patch_of(run.backbone)


def at_size(job: Job, share: float) -> Job:
    """The same job, its networks too, with views of one size throughout: that of the policy times `share`."""
    return replace(job, run=replace(job.run, train=replace(job.run.train, sizes=(share,))))


def start_from(run: Run, method: Method, own: Own | None = None) -> str:
    """Put the weights of the file `run.init` into all backbones, so that student and teacher start equal as ever.

    Returns what was used of the file, in words. Raises ConfigError for weights that do not fit.
    """
    student: nn.Module = method.student.backbone  # type: ignore[assignment]
    assert isinstance(student, Backbone)
    asked = run.backbone if own is None or own.backbone is None else None
    taken = start_weights(student, run.init, asked, derived=run.recipe == "automatic")
    if method.teacher is not None:
        backbone_of(method.teacher).load_state_dict(student.state_dict(), strict=True)
    return taken.words


def prepare(run: Run, data: Data, device: torch.device, own: Own | None = None, start: bool = True) -> Job:
    """Build a run, with the weights it starts from unless a checkpoint will replace them (`start` False).

    Raises ConfigError or DataError for what cannot go together, before anything is written.
    """
    check(run)
    if len(run.policy.mean) != data.train.channels:
        raise ConfigError(
            f"the images have {data.train.channels} channel(s), policy.mean {len(run.policy.mean)}; "
            "give --policy.mean and --policy.std one number per channel"
        )
    order = Order(len(data.train), run.train.batch, run.train.seed, dist.rank(), dist.world())
    method = fresh_method(run, device, own)
    started = start_from(run, method, own) if run.init and start else ""
    if method.teacher is None and run.residual.weight > 0:  # of the user's own: the others are refused above
        raise ConfigError("this method has no teacher, so there is no gap to close: set residual.weight to 0")
    names = () if own is not None and own.method is not None else steady_of(run.method)
    steady = Steady(names, scaled(run.optim.lr, run.train.batch))
    state = State(method, build_optimizer(run.optim, method.student, steady=steady))
    if run.train.precision == "fp16":
        state.scaler = torch.amp.GradScaler(device.type)
    labels = None
    if data.train.labels is not None and (data.train.labels >= 0).any():
        labels = torch.from_numpy(_online_labels(data)).to(device)
        width = cast(int, backbone_of(method.student).width)
        state.online = build_online(width, len(data.train.classes), run.train.seed).to(device)
        state.online_optimizer = build_optimizer(run.optim, state.online, weight_decay=run.online.weight_decay)
    return Job(run, data, state, order, device, labels, _resident(data.train, device), started, _multiple(run, own))


def _resident(source: Source, device: torch.device) -> Tensor | None:
    """All images of a source in RAM as one tensor on the GPU, if it has room for them."""
    if device.type != "cuda" or not isinstance(source.read(np.array([0])), Tensor):
        return None
    height, width = source.sizes[0].tolist()
    if not has_room(device, len(source) * source.channels * height * width):
        return None
    images = source.read(np.arange(len(source)))
    assert isinstance(images, Tensor)  # as the first one was
    return images.to(device)


def _online_labels(data: Data) -> NDArray[np.int64]:
    """The labels that the online classifier may learn from: those of the images it will be tested on are taken out."""
    assert data.train.labels is not None
    labels = data.train.labels.copy()
    if data.test is None or _labelled(data.test) is None:
        known = np.flatnonzero(labels >= 0)
        labels[known[holdout(labels[known])[1]]] = -1
    return labels


def backbone_of(network: nn.Module) -> nn.Module:
    """The part of a network that is kept: without projector and predictor."""
    backbone: nn.Module = network.backbone  # type: ignore[assignment]
    return backbone


def require_batch(run: Run, data: Data) -> None:
    """Raise DataError if the images do not fill one batch, or are fewer than the keys that the method remembers."""
    if len(data.train) < run.train.batch:
        raise DataError(
            f"{data.train.name} has {len(data.train)} images, train.batch is {run.train.batch}: "
            f"no batch can be filled; lower --train.batch (and mind that contrastive methods need many negatives)"
        )
    require_queue(run, data)


def clean_batches(source: Source, policy: Policy, device: torch.device) -> Iterator[Float[Tensor, "n c h w"]]:
    """The images of a source as the evaluation sees them: no chance, whole or centre crop, normalised."""
    size = policy.views[0].size
    for start in range(0, len(source), CHUNK):
        images = source.read(np.arange(start, min(start + CHUNK, len(source))))
        if isinstance(images, Tensor):  # a quarter of the bytes, and the rest is computed where that is fast
            images = images.to(device)
        view = plain(images, size, policy.mean, policy.std, resize=policy.views[0].interpolation)
        yield view.to(device).contiguous(memory_format=torch.channels_last)


@dataclass(frozen=True)
class Split:
    """Labelled images to learn from and to test on. `origin` says where the split comes from."""

    train: Source
    test: Source
    origin: str


def labelled_split(data: Data, trained_on: bool = True) -> Split | None:
    """The data's own split, or a stratified fifth of the training images held out; None without labels.

    `trained_on`: whether these are the images of the run, which the split's words then say.
    """
    train = _labelled(data.train)
    if train is None or train.labels is None:
        return None
    test = None if data.test is None else _labelled(data.test)
    if test is not None:
        return Split(train, test, data.origin)
    bank, queries = holdout(train.labels)
    return Split(
        train.subset(bank),
        train.subset(queries),
        "a fifth of the images held out" + (", which pretraining saw unlabelled" if trained_on else ""),
    )


def _labelled(source: Source) -> Source | None:
    if source.labels is None:
        return None
    known = np.flatnonzero(source.labels >= 0)
    if len(known) == 0:
        return None
    return source if len(known) == len(source) else source.subset(known)


def thinned(source: Source, most: int, seed: int = 0) -> Source:
    """At most `most` images of a source, drawn without replacement, in their old order."""
    if len(source) <= most:
        return source
    chosen: NDArray[np.int64] = np.sort(np.random.default_rng(seed).choice(len(source), most, replace=False))
    return source.subset(chosen)
