"""A run made ready: everything built from its configuration and its data, nothing started."""

from dataclasses import dataclass, field, replace
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from resmom import dist
from resmom.build import Own, build_method, build_online
from resmom.called import called
from resmom.config import ConfigError, Run
from resmom.configcheck import check
from resmom.data.errors import DataError
from resmom.data.loader import Prefetch, prefetch
from resmom.data.order import Order
from resmom.data.pieces import in_pieces
from resmom.data.source import Data, Images, Source
from resmom.data.split import divisible, holdout
from resmom.method import Method
from resmom.methodconfig import steady_of
from resmom.nets.backbones import Backbone, patch_of
from resmom.nets.ghosts import ghosts
from resmom.nets.init import InitWeights
from resmom.recipes import is_derived
from resmom.runs.clean import labelled_part
from resmom.runs.device import has_room, stream
from resmom.runs.initial.recognise import start_weights
from resmom.runs.training.blocks import MOST, Blocks, steps_of
from resmom.runs.training.channels import require_channels
from resmom.runs.training.growth import require_sizes
from resmom.runs.training.masks import hidden_patches
from resmom.runs.training.queue import require_queue
from resmom.train.optim import Steady, build_optimizer
from resmom.train.plan import Plan, length, plan, scaled, view_share
from resmom.train.state import State
from resmom.train.step import Rules
from resmom.transfer import sent
from resmom.types import Batch, numbered
from resmom.views.apply import views
from resmom.views.policy import Policy, resized


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
    taken: InitWeights | None = None
    """What was taken of the file of weights that the run starts from."""
    multiple: int = 1
    """The pixels of which sides of views that grow are multiples."""
    blocks: Blocks = field(default_factory=Blocks)
    """Views of images that lie on the GPU, of several steps at once."""
    own: Own = field(default_factory=Own)
    """Modules of the user's own in it."""

    @property
    def rules(self) -> Rules:
        """What is the same for every step of the run."""
        run, train = self.run, self.run.train
        gated = self.device.type == "cuda"
        fixed = (train.precision, train.micro_batch, train.clip, train.seed, gated, run.ema)
        return Rules(run.residual, *fixed, train.clip_each, train.clip_parts)

    @property
    def in_parts(self) -> bool:
        """Whether a batch that memory does not hold may be cut: the method's word, the user's own or the configured."""
        return self.state.method.micro_batches if self.own.method else self.run.method.traits.micro_batches

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
        for tensor in (*batch.views, *batch.masks, *batch.hidden, batch.index):  # allocated beside training, used by it
            tensor.record_stream(torch.cuda.default_stream(self.device))
        return batch

    def batches(self, start: int, stop: int, workers: int) -> Prefetch[Batch]:
        """The batches of the steps from `start` to before `stop`, made ahead by so many threads."""
        # Of resident images a block at least, or a step would wait for the next one each time.
        ahead = None if self.resident is None else max(2 * workers, MOST)
        return prefetch(self.batch, start, stop, workers, ahead)

    def _made(self, index: NDArray[np.int64], step: int) -> Batch:
        run, policy, epoch = self.run, self.policy(step), step // self.per_epoch
        placed = self._views(index, step) if self.resident is None else self._of_block(policy, step)
        with self.state.clock.part("transfer", self.device):
            masks = hidden_patches(run, policy, index, epoch)
            hidden = tuple(sent(numbered(mask), self.device) for mask in masks)  # counted before a device has them
            masks = tuple(sent(mask, self.device) for mask in masks)
            return Batch(placed, sent(torch.from_numpy(index), self.device), masks, step / self.per_epoch, hidden)

    def _of_block(self, policy: Policy, step: int) -> tuple[Tensor, ...]:
        """The views of a step, made together with those of its neighbours: each image's are the same in any company."""
        size = max(view.size for view in policy.views)
        assert self.resident is not None
        # Of the view or of the image that it is cut from: both lie there as floats, of all steps at once.
        batch, numbers = self.run.train.batch, max(self.data.train.channels * size * size, self.resident[0].numel())
        # Of one size: where views grow, a block ends.
        around = [s for s in steps_of(step, self.per_epoch, batch, numbers) if self.policy(s) == policy]

        def make() -> dict[int, tuple[Tensor, ...]]:
            index = [self.order.index(s) for s in around]
            made = self._views(np.concatenate(index), step)
            if self.device.type == "cuda":  # another thread that takes its part waits for its own stream alone
                torch.cuda.current_stream(self.device).synchronize()
            each = zip(*(torch.split(view, [len(own) for own in index]) for view in made), strict=True)
            return dict(zip(around, each, strict=True))

        return self.blocks.views((around[0], policy), step, make)

    def _views(self, index: NDArray[np.int64], step: int) -> tuple[Tensor, ...]:
        """The views of some images as the epoch and the size of a step have them, on the device."""
        pieces = [index] if self.resident is not None else self.data.train.pieces(index)
        made = in_pieces(pieces, lambda piece: self._seen(piece, step))
        with self.state.clock.part("transfer", self.device):
            return tuple(self._placed(view) for view in made)

    def _seen(self, index: NDArray[np.int64], step: int) -> tuple[Tensor, ...]:
        """The same of so few images that all are decoded at once."""
        clock = self.state.clock
        with clock.part("decode"):
            images = self._images(index)
        with clock.part("views", self.device if isinstance(images, Tensor) else None):
            return views(images, index, self.policy(step), self.run.train.seed, step // self.per_epoch)

    def _images(self, index: NDArray[np.int64]) -> Images:
        """Some images; those of a resident set are on the device already."""
        if self.resident is not None:
            return self.resident.index_select(0, sent(torch.from_numpy(index), self.device))
        images = self.data.train.read(index)
        return sent(images, self.device) if isinstance(images, Tensor) else images

    def _placed(self, view: Tensor) -> Tensor:
        return sent(view, self.device).contiguous(memory_format=torch.channels_last)


def fresh_method(run: Run, device: torch.device, own: Own | None = None) -> Method:
    """The run's method with random weights (or those a module of the user's own has); `run.init` is not looked at.

    Raises ConfigError for a backbone that cannot be built.
    """
    require_channels(run, own)
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


def put_weights(run: Run, method: Method, own: Own | None = None) -> InitWeights:
    """Put the weights of the file `run.init` into all backbones, so that student and teacher start equal as ever.

    Returns what was used of the file. Raises ConfigError for weights that do not fit.
    """
    student: nn.Module = method.student.backbone  # type: ignore[assignment]
    assert isinstance(student, Backbone)
    asked = run.backbone if own is None or own.backbone is None else None
    taken = start_weights(student, run.init, asked, derived=is_derived(run))
    if method.teacher is not None:
        backbone_of(method.teacher).load_state_dict(student.state_dict(), strict=True)
    return taken


def prepare(run: Run, data: Data, device: torch.device, own: Own | None = None, start: bool = True) -> Job:
    """Build a run, with the weights it starts from unless a checkpoint will replace them (`start` False).

    Raises ConfigError or DataError for what cannot go together, before anything is written.
    """
    given = own is not None and own.method is not None
    check(run, given)
    require_channels(run, own, data.train.channels)
    order = Order(len(data.train), run.train.batch, run.train.seed, dist.rank(), dist.world())
    method = fresh_method(run, device, own)
    taken = put_weights(run, method, own) if run.init and start else None
    if method.teacher is None and run.residual.weight > 0:  # of the user's own: the others are refused above
        raise ConfigError(
            f"this method has no teacher, so there is no gap to close: set {called('residual.weight')} to 0"
        )
    if given and not method.micro_batches and 0 < run.train.micro_batch < run.train.batch:
        raise ConfigError(
            f"this method does not say that a part of the batch can be learnt from alone (micro_batches = True in its "
            f"class): say so, or set {called('train.micro_batch')} to 0"
        )
    names = () if given else steady_of(run.method)
    steady = Steady(names, scaled(run.optim.lr, run.train.batch))
    state = State(method, build_optimizer(run.optim, method.student, steady=steady))
    if run.train.precision == "fp16":
        state.scaler = torch.amp.GradScaler(device.type)
    labels = None
    if (learned := _online_labels(data)) is not None:
        labels = torch.from_numpy(learned).to(device)
        width = cast(int, backbone_of(method.student).width)
        state.online = build_online(width, len(data.train.classes), run.train.seed).to(device)
        state.online_optimizer = build_optimizer(run.optim, state.online, weight_decay=run.online.weight_decay)
    resident = _resident(data.train, device)
    multiple = _multiple(run, own)
    return Job(run, data, state, order, device, labels, resident, taken, multiple, own=own or Own())


def _resident(source: Source, device: torch.device) -> Tensor | None:
    """All images of a source in RAM as one tensor on the GPU, if it has room for them."""
    if device.type != "cuda" or not source.stacked:
        return None
    height, width = source.sizes[0].tolist()
    if not has_room(device, len(source) * source.channels * height * width):
        return None
    images = source.read(np.arange(len(source)))
    assert isinstance(images, Tensor)
    return images.to(device)


def _online_labels(data: Data) -> NDArray[np.int64] | None:
    """The labels that the online classifier may learn from: those of the images it will be tested on are taken out.

    None where there are none, or none to test on.
    """
    if data.train.labels is None or not (data.train.labels >= 0).any():
        return None
    labels = data.train.labels.copy()
    if data.test is None or labelled_part(data.test) is None:
        if not divisible(labels):
            return None
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
            f"{data.train.name} has {len(data.train)} images, {called('train.batch')} is {run.train.batch}: no batch "
            f"can be filled; lower {called('train.batch')}, and mind that "
            "contrastive methods need many negatives"
        )
    require_queue(run, data)
