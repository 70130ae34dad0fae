"""A folder of segmentation networks to what a report says of it: settings, scores, curves, and photos with masks."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
from jaxtyping import Integer

from resmom.data.annotations.masks import IGNORE, MaskData, Masked, labels
from resmom.errors import UserError
from resmom.evaluate.fcn import Fcn
from resmom.evaluate.overlap import Overlap, confusion
from resmom.evaluate.patchlinear import PatchLinear
from resmom.evaluate.pixels import named
from resmom.report import maskcolours
from resmom.report.contents import Mask, MaskPhoto, Part, Rows, SegmentationRecord, Start
from resmom.report.thumbnails import mask_uri
from resmom.runs.finetuned.segment import WORDS, restored
from resmom.runs.finetuned.segment_tasks import FcnTask, PatchLinearTask
from resmom.runs.finetuned.tuned_record import CPU, PHOTOS, SIDE, TunedFolder, drawn, falling, picture

Labels: TypeAlias = Integer[np.ndarray, "h w"]


def is_segmentation(path: Path) -> bool:
    """Whether a folder holds segmentation networks."""
    return WORDS.file(path).is_file()


def segmentation_record(path: Path, name: str, starts: list[Start], images: bool) -> SegmentationRecord:
    """All that a report says of this folder; with `images`, photos where they are still at hand."""
    folder = TunedFolder(path, WORDS)
    task = restored(folder.written["settings"], MaskData("", tuple(folder.written["classes"]), ()), None)
    networks = folder.networks()
    form, learning = _of_fcn(task.config) if isinstance(task, FcnTask) else _of_linear(task.config)
    facts = [*form, *folder.facts(), *learning]
    record = SegmentationRecord(name, facts, task.pace.steps, networks, folder.measured(task.kind, networks), starts)
    if not images:
        return record
    return folder.photographed(record, lambda record, data: _with_photos(record, folder, task, data))


def _of_fcn(config: Fcn) -> tuple[Rows, Rows]:
    """What the network is, and how it is trained."""
    s = config.segmenter
    head = {
        "fcn": "FCN, two convolutions and a third beside the backbone's map",
        "field": f"FCN with a large field of view, two convolutions of dilation {s.rate}",
    }
    second = f"; a second head, its loss times {s.auxiliary:g}" if s.auxiliary else ""
    rate = f"{config.lr:g}, falling to {config.min_lr:g} as (1 - step / steps)^0.9"
    if config.schedule == "drops":
        rate = falling(config.lr, config.drops, config.steps)
    crop = f"{config.crop}" + ("" if config.most == 1 else f", one class at most {100 * config.most:g} % of it")
    return [
        ("network", f"{head[s.head]}, {s.width} channels, dropout {s.dropout:g}{second}; stages dilated: {s.dilated}")
    ], [
        ("length", f"{config.steps:,} steps of {config.batch} images"),
        ("rate", rate),
        ("shorter side", f"{_side(config)}, in training times {config.scales[0]:g} to {config.scales[1]:g}"),
        ("crop", crop),
        ("precision, seed", f"{config.precision}, {config.seed}"),
    ]


def _of_linear(config: PatchLinear) -> tuple[Rows, Rows]:
    """What the network is, and how it is trained."""
    tried = ", ".join(f"{lr:g}" for lr in config.lrs)
    return [("network", "a linear layer on every place of the frozen backbone")], [
        ("length", f"two passes of {config.steps:,} steps of {config.batch} images"),
        ("rate", f"of {tried} the best on {config.held_out:g} of the training images, held out; half a cosine to 0"),
        ("shorter side", _side(config)),
        ("seed", str(config.seed)),
    ]


def _side(config: Fcn | PatchLinear) -> str:
    return f"{config.side}, no side above {config.longest}" if config.side else "the images' own"


def _with_photos(
    record: SegmentationRecord, folder: TunedFolder[MaskData], task: FcnTask | PatchLinearTask, data: MaskData
) -> SegmentationRecord:
    images = _drawn(data)
    truths = [labels(image) for image in images]
    said = [_said(folder, network.name, task, images) for network in record.networks]
    colours = _colours(data.classes, [*truths, *(one for own in said for one in own)])
    photos = []
    for n, (image, truth) in enumerate(zip(images, truths, strict=True)):
        masks = tuple(_mask(own[n], data.classes, colours, truth) for own in said)
        height, width = image.size
        photos.append(MaskPhoto(picture(image.path, n + 1), width / height, _mask(truth, data.classes, colours), masks))
    return replace(record, photos=photos)


def _drawn(data: MaskData) -> list[Masked]:
    """Photos of more than one class, and only if there are not enough of them others that are not all void; in the
    order of the data, the same for every folder with these test images."""
    several: list[int] = []
    single: list[int] = []
    for at in drawn(len(data.images)).tolist():
        classes = np.setdiff1d(labels(data.images[at]), [IGNORE]).size
        if classes:
            (several if classes > 1 else single).append(at)
        if len(several) == PHOTOS:
            break
    return [data.images[at] for at in sorted((several + single)[:PHOTOS])]


def _said(
    folder: TunedFolder[MaskData], name: str, task: FcnTask | PatchLinearTask, images: list[Masked]
) -> list[Labels]:
    model = folder.model(name, task)
    try:
        votes = task.votes(model)
    except ValueError as error:
        raise UserError(f"{name} cannot be shown: {error}") from error
    try:
        return [named(votes, image, task.config.side, task.config.longest, CPU) for image in images]
    except ValueError as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"the votes of {name} are not finite; its training has diverged") from error


def _colours(classes: tuple[str, ...], masks: list[Labels]) -> dict[int, int]:
    """The number of the colour of every class that is shown: the class's own, unless there are too many."""
    shown = np.setdiff1d(np.concatenate([np.unique(mask) for mask in masks]), [IGNORE]).tolist()
    own = len(classes) <= maskcolours.MOST
    return {label: label if own else place for place, label in enumerate(shown)}


def _mask(said: Labels, classes: tuple[str, ...], colours: Mapping[int, int], truth: Labels | None = None) -> Mask:
    """A mask as it is shown, judged by `truth` if it is a network's."""
    counts = np.bincount(said.ravel(), minlength=IGNORE + 1)
    shares = 100 * counts / said.size
    largest = sorted((label for label in colours if counts[label]), key=lambda label: -counts[label])
    parts = tuple(Part(classes[label], colours[label], float(shares[label])) for label in largest)
    right = None if truth is None else Overlap(confusion(truth, said, len(classes))).accuracy
    return Mask(mask_uri(said, colours, SIDE), parts, float(shares[IGNORE]), right)
