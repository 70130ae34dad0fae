"""Fine-tuning a backbone as a detector: settings, what is done to an image, and how the result is measured."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, final

import numpy as np
import torch
import tyro
from jaxtyping import UInt8
from torch import Tensor, nn
from torch.optim import Optimizer
from torchvision.ops import FrozenBatchNorm2d

from resmom.counter import uniforms
from resmom.data.annotations.boxes import BoxData, Boxed
from resmom.data.annotations.labelled import needed, require_size
from resmom.data.annotations.runlength import filled
from resmom.data.decode import decode, header
from resmom.data.loader import prefetch, workers_here
from resmom.data.order import Order
from resmom.evaluate.average_precision import Found, Precision, Truth, coco, voc07
from resmom.evaluate.finetune import parameter_groups
from resmom.evaluate.instances import found_masks, mask_overlap_tables, true_masks
from resmom.evaluate.pixels import by_factor, factor
from resmom.nets.depth import layer_rates
from resmom.nets.detector import Detector
from resmom.transfer import sent

_SIDE, _FLIP, _COLUMNS = 0, 1, 2


@dataclass(frozen=True)
class Detect:
    """Everything that determines a detector's training, its data, backbone and machine apart."""

    recipe: Annotated[str, tyro.conf.Suppress] = "custom"
    """The recipe it began as."""
    detector: Detector = field(default_factory=Detector)
    steps: int = 24_000
    batch: int = 16
    optim: Literal["sgd", "adamw"] = "sgd"
    """SGD with momentum .9; or AdamW, as Vision Transformers are fine-tuned."""
    lr: float = 0.02
    """As it is, for whatever batch."""
    layer_decay: float = 1.0
    """Of a Vision Transformer, with AdamW: each block learns at this share of the rate of the next."""
    drops: tuple[float, ...] = (0.75, 11 / 12)
    """Shares of the steps after which the learning rate is a tenth of what it was."""
    warmup_steps: int = 100
    """Steps in which the learning rate rises from a thousandth to its value."""
    weight_decay: float = 1e-4
    """SGD: gains and biases of normalisations are not decayed. AdamW: no vector is, nor are positions and tokens."""
    clip: float = 0.0
    """Largest norm of the gradient; 0 does not clip."""
    sides: tuple[int, ...] = (480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800)
    """Shorter sides of the images in training, one drawn for each."""
    test_side: int = 800
    longest: int = 1333
    """No side is longer, in training or in testing."""
    flip: float = 0.5
    """Chance that an image is mirrored in training."""
    precise_bn: int = 0
    """Training batches on which BatchNorm's statistics are estimated anew before a measurement (TEST.PRECISE_BN of
    Detectron2); 0 keeps the running averages. Where BatchNorm is frozen, or there is none, nothing is estimated."""
    precision: Literal["fp32", "bf16"] = "fp32"
    seed: int = 0
    line_steps: int = 20
    """Steps between two lines of metrics."""
    measure_steps: int = 0
    """Steps between two measurements on the test images; 0 measures at the end only."""
    save_steps: int = 500
    """Steps between two checkpoints."""


def learning_rate(config: Detect, step: int) -> float:
    """Linear from a thousandth over the warm-up, then a tenth after each drop (Detectron2's rule)."""
    share = min(1.0, step / config.warmup_steps) if config.warmup_steps else 1.0
    drops = sum(step >= round(share * config.steps) for share in config.drops)
    return config.lr * (0.001 * (1 - share) + share) * 0.1**drops


Sample = tuple[UInt8[Tensor, "3 _ _"], dict[str, Tensor]]
"""An image at its size of this epoch, and its `boxes`, `labels` (from 1) and, for masks, `masks` there."""


@final
class Samples:
    """The training images, in an order and at sizes that depend on (seed, epoch, image) alone."""

    def __init__(self, data: BoxData, config: Detect) -> None:
        """Images without an object to learn from are left out, as are crowds. Raises DataError if too few are left."""
        self._images = [image for image in data.images if _learned(image).any()]
        self._order = Order(len(self._images), config.batch, config.seed, field="batch")
        self._config = config

    def __len__(self) -> int:
        return len(self._images)

    @property
    def per_epoch(self) -> int:
        """Steps of an epoch."""
        return self._order.steps

    def require_sizes(self) -> None:
        """Raise DataError unless every image's header tells the size that its boxes speak of."""
        with ThreadPoolExecutor() as pool:
            for image, there in zip(self._images, pool.map(_told, self._images), strict=True):
                require_size(image.path, there, image.size, "boxes")

    def batch(self, step: int) -> list[Sample]:
        """The images of a step, counted from 0."""
        index = self._order.index(step)
        u = uniforms(self._config.seed, step // self.per_epoch, index, 0, _COLUMNS)
        return [self._sample(self._images[at], row) for at, row in zip(index.tolist(), u, strict=True)]

    def _sample(self, image: Boxed, u: Any) -> Sample:
        sides = self._config.sides
        pixels, scale = resized(image, sides[int(u[_SIDE] * len(sides))], self._config.longest)
        height, width = pixels.shape[1:]
        keep = _learned(image)
        boxes = np.clip(image.boxes[keep], 0, [image.size[1], image.size[0]] * 2) * np.concatenate([scale, scale])
        target = {"labels": torch.from_numpy(image.labels[keep] + 1)}
        if image.masks is not None:
            target["masks"] = true_masks(image, keep, (height, width))
        if u[_FLIP] < self._config.flip:
            pixels = pixels.flip(2)
            boxes = np.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], axis=1)
            target.update({name: masks.flip(2) for name, masks in target.items() if name == "masks"})
        return pixels, target | {"boxes": torch.from_numpy(boxes).float()}


def _told(image: Boxed) -> tuple[int, int]:
    return needed(header, image.path)


def _learned(image: Boxed) -> Any:
    """Which objects are learned from: difficult ones too, as in Detectron2; crowds, boxes without an area and, where
    there are masks, empty ones not.
    """
    inside = np.clip(image.boxes, 0, [image.size[1], image.size[0]] * 2)
    # Half a pixel: what is thinner can become nothing in float32 once it is resized and mirrored.
    learned = ~image.crowd & (inside[:, 2:] - inside[:, :2] > 0.5).all(1)
    return learned if image.masks is None else learned & filled(image.masks, image.size)


def resized(image: Boxed, side: int, longest: int) -> tuple[UInt8[Tensor, "3 _ _"], Any]:
    """Pixels whose shorter side is `side`, or less where the longer would pass `longest`, and the factors of x and y.

    Raises DataError for an image that cannot be read, or has not the size its boxes speak of.
    """
    return scaled(_pixels(image), side, longest)


def _pixels(image: Boxed) -> UInt8[Tensor, "3 _ _"]:
    pixels = needed(decode, image.path)
    height, width = pixels.shape[1:]
    require_size(image.path, (height, width), image.size, "boxes")
    return pixels


def scaled(pixels: UInt8[Tensor, "3 _ _"], side: int, longest: int) -> tuple[UInt8[Tensor, "3 _ _"], Any]:
    """The same of pixels that are there."""
    height, width = pixels.shape[1:]
    out = by_factor(pixels, factor((height, width), side, longest))
    return out, np.array([out.shape[2] / width, out.shape[1] / height])


def detections(model: nn.Module, data: BoxData, config: Detect, device: torch.device) -> list[Found]:
    """What a detector finds in every image, one image at a time so that none depends on another's padding.

    Masks are told where the detector has any and the data too.
    """
    was = model.training
    model.eval()
    with prefetch(lambda at: _pixels(data.images[at]), 0, len(data.images), workers_here()) as decoded:
        found = [
            detected(model, pixels, config, device, image.masks is not None)
            for image, pixels in zip(data.images, decoded, strict=True)
        ]
    model.train(was)
    return found


@torch.no_grad()
def detected(
    model: nn.Module, pixels: UInt8[Tensor, "3 _ _"], config: Detect, device: torch.device, with_masks: bool
) -> Found:
    """What a detector in evaluation mode finds in one image, in its pixels; with masks if asked for and it has any."""
    shown, scale = scaled(pixels, config.test_side, config.longest)
    with torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bf16"):
        (said,) = model([shown.to(device).float() / 255])
    boxes = said["boxes"].double().cpu().numpy() / np.concatenate([scale, scale])
    size = (pixels.shape[1], pixels.shape[2])
    masks = found_masks(said["masks"], said["boxes"], scale, size) if with_masks and "masks" in said else None
    return Found(boxes, said["scores"].double().cpu().numpy(), said["labels"].cpu().numpy() - 1, masks)


@dataclass(frozen=True)
class DetectionScore:
    """Average precisions in percent, of COCO's kind and of VOC 2007's; NaN where no class has an object."""

    coco: Precision
    voc07: Precision
    classes: tuple[str, ...]
    masks: Precision | None = None
    """COCO's, by the overlap of masks instead of boxes."""

    def plain(self) -> dict[str, Any]:
        """As plain values; a class without an object in the test images is left out."""
        boxes, masks = _plain(self.coco, ""), {} if self.masks is None else _plain(self.masks, "mask_")
        per_class = {"per_class": self._named(self.coco.per_class)}
        if self.masks is not None:
            per_class["mask_per_class"] = self._named(self.masks.per_class)
        per_class["voc07_ap50_per_class"] = self._named(self.voc07.table[0].tolist())
        return boxes | masks | _plain(self.voc07, "voc07_") | per_class

    def _named(self, values: list[float]) -> dict[str, float]:
        known = zip(self.classes, values, self.coco.per_class, strict=True)
        return {name: value for name, value, ap in known if not np.isnan(ap)}


def _plain(precision: Precision, prefix: str) -> dict[str, Any]:
    values = {"ap": precision.ap, "ap50": precision.at(0.5), "ap75": precision.at(0.75)}
    return {prefix + name: value for name, value in values.items()}


def score(found: list[Found], data: BoxData) -> DetectionScore:
    """Both scores, and that of masks where there are any; difficult objects count for nothing in any."""
    truth = [Truth(image.boxes, image.labels, image.difficult, image.crowd) for image in data.images]
    classes, tables = len(data.classes), mask_overlap_tables(found, data)
    masks = None if tables is None else coco(found, truth, classes, tables)
    return DetectionScore(coco(found, truth, classes), voc07(found, truth, classes), data.classes, masks)


def protocol(config: Detect, model: nn.Module) -> str:
    """How a number came about, in one line."""
    d = config.detector
    sides = f"{min(config.sides)}-{max(config.sides)}"
    norm = "LayerNorm"
    if any(isinstance(module, nn.BatchNorm2d) for module in model.modules()):
        norm = f"BatchNorm trained, statistics of {config.batch} images on one device"
    elif any(isinstance(module, FrozenBatchNorm2d) for module in model.modules()):
        norm = "BatchNorm frozen"
    adamw = f"AdamW, layer decay {config.layer_decay:g}, " if config.optim == "adamw" else ""
    masks = "; of boxes and of masks" if d.form == "mask" else ""
    return (
        f"detect-v1: {d.form}, {norm}, all layers trained, {config.steps} steps of batch {config.batch}, "
        f"{adamw}lr {config.lr:g}, sides {sides}, tested at {config.test_side}; AP of COCO (101 recalls, "
        f"difficult objects ignored{masks}) and of VOC 2007 (11 recalls)"
    )


def optimizer(config: Detect, model: nn.Module) -> Optimizer:
    """SGD or AdamW on all that learns, in groups whose `scale` is their share of the learning rate."""
    if config.optim == "adamw":
        rates: Mapping[str, float] = {}
        if config.layer_decay < 1:
            rates = layer_rates(model.get_submodule("backbone.body"), config.layer_decay, "backbone.body.")
        groups = parameter_groups(model, rates, config.weight_decay, decay_vectors=False)
        return torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.999))
    norm = {
        id(p)
        for module in model.modules()
        if isinstance(module, (nn.BatchNorm2d, nn.LayerNorm))
        for p in module.parameters(recurse=False)
    }
    learned = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in learned if id(p) not in norm], "weight_decay": config.weight_decay},
        {"params": [p for p in learned if id(p) in norm], "weight_decay": 0.0},
    ]
    return torch.optim.SGD([group for group in groups if group["params"]], lr=0.0, momentum=0.9)


def loss_terms(
    model: nn.Module, samples: list[Sample], config: Detect, device: torch.device, step: int
) -> dict[str, Tensor]:
    """The detector's losses on a batch. What torchvision draws (which regions are learned from) depends on
    (seed, step) alone; torch's generators are left as they were.
    """
    images = [sent(pixels, device).float() / 255 for pixels, _ in samples]
    targets = [{name: sent(value, device) for name, value in target.items()} for _, target in samples]
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(config.seed * 2**32 + step)
        with torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bf16"):
            terms: dict[str, Tensor] = model(images, targets)
    return terms
