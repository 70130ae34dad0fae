"""Fine-tuning a backbone as a fully convolutional network: settings, what is done to an image, loss and protocol."""

from dataclasses import dataclass, field
from typing import Annotated, Literal, final

import numpy as np
import torch
import torch.nn.functional as F
import tyro
from jaxtyping import UInt8
from numpy.typing import NDArray
from torch import Tensor, nn
from torchvision.transforms.v2 import functional as T

from resmom.counter import uniforms
from resmom.data.annotations.masks import IGNORE, MaskData, Masked
from resmom.data.order import Order
from resmom.evaluate.pixels import factor, read, read_labels, shown
from resmom.nets.segmenter import FcnNetwork, Segmenter
from resmom.transfer import sent

TRIES = 10
"""So many crops are drawn until one is not nearly all of one class."""
_SCALE, _FLIP, _CROPS, _COLOURS = 0, 1, 2, 2 + 2 * TRIES
_COLUMNS = _COLOURS + 9


@dataclass(frozen=True)
class Fcn:
    """Everything that determines a network's training, its data, backbone and machine apart."""

    recipe: Annotated[str, tyro.conf.Suppress] = "custom"
    """The recipe it began as."""
    segmenter: Segmenter = field(default_factory=Segmenter)
    steps: int = 20_000
    batch: int = 16
    lr: float = 0.01
    """As it is, for whatever batch."""
    schedule: Literal["poly", "drops"] = "poly"
    """`poly`: from lr to min_lr as (1 - step / steps)^0.9; `drops`: a tenth after each of `drops`."""
    min_lr: float = 1e-4
    drops: tuple[float, ...] = (0.7, 0.9)
    """Shares of the steps."""
    weight_decay: float = 5e-4
    """Of all parameters."""
    clip: float = 0.0
    """Largest norm of the gradient; 0 does not clip."""
    side: int = 512
    """Shorter side of the images, in training (before `scales`) and in testing; 0: their own size."""
    longest: int = 2048
    """No side is longer, before `scales`; without a meaning where `side` is 0."""
    scales: tuple[float, float] = (0.5, 2.0)
    """In training an image is resized by a factor drawn evenly from here."""
    crop: int = 512
    """Side of the square cut out in training; smaller images are filled up."""
    most: float = 0.75
    """A crop of which one class is a larger share is drawn anew, ten times at most; 1 takes the first."""
    flip: float = 0.5
    """Chance that an image is mirrored in training."""
    distort: float = 0.5
    """Chance of each change of brightness, contrast, saturation and hue; 0: none."""
    precision: Literal["fp32", "bf16"] = "fp32"
    seed: int = 0
    line_steps: int = 20
    """Steps between two lines of metrics."""
    measure_steps: int = 0
    """Steps between two measurements on the test images; 0 measures at the end only."""
    save_steps: int = 500
    """Steps between two checkpoints."""


def learning_rate(config: Fcn, step: int) -> float:
    """The rate of a step, counted from 0."""
    if config.schedule == "drops":
        return config.lr * 0.1 ** sum(step >= round(share * config.steps) for share in config.drops)
    return float((config.lr - config.min_lr) * (1 - step / config.steps) ** 0.9 + config.min_lr)


Sample = tuple[UInt8[Tensor, "3 _ _"], UInt8[Tensor, "_ _"]]
"""A crop, and its labels."""


@final
class Crops:
    """The training images, in an order and with scale, crop, mirroring and colours by (seed, epoch, image) alone."""

    def __init__(self, data: MaskData, config: Fcn) -> None:
        """Raises DataError if the images do not fill a batch."""
        self._images, self._config = data.images, config
        self._order = Order(len(self._images), config.batch, config.seed, field="batch")

    def __len__(self) -> int:
        return len(self._images)

    @property
    def per_epoch(self) -> int:
        """Steps of an epoch."""
        return self._order.steps

    def batch(self, step: int) -> list[Sample]:
        """The crops of a step, counted from 0."""
        index = self._order.index(step)
        u = uniforms(self._config.seed, step // self.per_epoch, index, 0, _COLUMNS)
        return [sample(self._images[at], row, self._config) for at, row in zip(index.tolist(), u, strict=True)]


def sample(image: Masked, u: NDArray[np.float64], config: Fcn) -> Sample:
    """One crop, by the uniform numbers `u`."""
    low, high = config.scales
    by = (low + (high - low) * float(u[_SCALE])) * factor(image.size, config.side, config.longest)
    labels = read_labels(image, by)
    y, x = _corner(labels, u[_CROPS:_COLOURS], config)
    pixels = read(image, by)[:, y : y + config.crop, x : x + config.crop]
    labels = labels[y : y + config.crop, x : x + config.crop]
    if u[_FLIP] < config.flip:
        pixels, labels = pixels.flip(2), labels.flip(1)
    return distorted(pixels, u[_COLOURS:], config.distort), labels


def _corner(labels: Tensor, u: NDArray[np.float64], config: Fcn) -> tuple[int, int]:
    """Where the crop begins: the first drawn place of which no class is nearly all, else the last one drawn."""
    height, width = (max(side - config.crop, 0) + 1 for side in labels.shape)
    y = x = 0
    for down, right in u.reshape(-1, 2):
        y, x = int(down * height), int(right * width)
        if config.most >= 1:
            break
        there = torch.bincount(labels[y : y + config.crop, x : x + config.crop].flatten(), minlength=IGNORE + 1)[
            :IGNORE
        ]
        if (there > 0).sum() > 1 and there.max() / there.sum() < config.most:
            break
    return y, x


def distorted(pixels: UInt8[Tensor, "3 h w"], u: NDArray[np.float64], chance: float) -> UInt8[Tensor, "3 h w"]:
    """Brightness up to 32 of 255 off, contrast (before or after the colours) and saturation by .5 to 1.5, hue by up to
    a tenth of the circle, each with the given chance: the ranges of mmsegmentation's photometric distortion.

    `u` has nine uniform numbers: whether and how much, for each, and when the contrast.
    """
    if chance <= 0:
        return pixels
    do, much = u[:4] < chance, u[4:8]
    first = u[8] < 0.5
    x = pixels.float()
    if do[0]:
        x = (x + (64 * float(much[0]) - 32)).clamp(0, 255)
    if do[1] and first:
        x = (x * (0.5 + float(much[1]))).clamp(0, 255)
    if do[2]:
        x = saturated(x, 0.5 + float(much[2]))
    if do[3]:
        x = T.adjust_hue(x / 255, 0.2 * float(much[3]) - 0.1) * 255
    if do[1] and not first:
        x = (x * (0.5 + float(much[1]))).clamp(0, 255)
    return (x + 0.5).to(torch.uint8)


def saturated(x: Tensor, by: float) -> Tensor:
    """The saturation of HSV times `by`, 1 at most: each channel's distance below the largest one times as much."""
    high, low = x.amax(0), x.amin(0)
    most = torch.where(high > low, high / (high - low).clamp(min=1e-6), torch.inf)
    return high - (high - x) * most.clamp(max=by)


def loss_terms(
    model: nn.Module, samples: list[Sample], config: Fcn, device: torch.device, step: int
) -> dict[str, Tensor]:
    """Cross-entropy of every pixel, the votes brought to the crop's size. As in mmsegmentation the mean is over all
    pixels, those that count for nothing included as 0. Dropout depends on (seed, step) alone; torch's generators are
    left as they were.
    """
    assert isinstance(model, FcnNetwork)
    x = model.ready([sent(pixels, device).float() / 255 for pixels, _ in samples], config.crop)
    truth = sent(torch.stack([_filled(labels, config.crop) for _, labels in samples]), device).long()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(config.seed * 2**32 + step)
        with torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bf16"):
            votes, second = model(x)
    terms = {"votes": _cross_entropy(votes, truth)}
    if second is not None:
        terms["auxiliary"] = config.segmenter.auxiliary * _cross_entropy(second, truth)
    return terms


def _filled(labels: Tensor, side: int) -> Tensor:
    return F.pad(labels, (0, side - labels.shape[1], 0, side - labels.shape[0]), value=IGNORE)


def _cross_entropy(votes: Tensor, truth: Tensor) -> Tensor:
    whole = F.interpolate(votes.float(), truth.shape[1:], mode="bilinear", align_corners=False)
    return F.cross_entropy(whole, truth, ignore_index=IGNORE, reduction="sum") / truth.numel()


def protocol(config: Fcn) -> str:
    """How a number came about, in one line."""
    s = config.segmenter
    rate = f"rate {s.rate}, " if s.head == "field" else ""
    second = f", a second head of weight {s.auxiliary:g}" if s.auxiliary else ""
    size = f"side {config.side}" if config.side else "their own size"
    return (
        f"segment-v1: head {s.head}, {rate}{s.width} channels{second}, {s.dilated} stages dilated, all layers trained, "
        f"{config.steps} steps of batch {config.batch}, lr {config.lr:g} {config.schedule}, images at {size} times "
        f"{config.scales[0]:g}-{config.scales[1]:g}, crop {config.crop}; {shown(config.side)}; mIoU of one "
        "confusion matrix over all images, void left out"
    )
