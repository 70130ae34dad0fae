"""Evaluate a run's student and teacher, or weights by themselves, beside what no learning gives."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from resmom.build import Own
from resmom.called import called, either
from resmom.config import ConfigError
from resmom.data.labelwords import labels_lines
from resmom.data.open import short_name
from resmom.data.source import Data, digest
from resmom.errors import UserError
from resmom.evaluate.layers import reader
from resmom.evaluate.score import NotMeasured, Score
from resmom.evaluate.settings import Linear
from resmom.jsonfiles import append_or_say
from resmom.ondisk import require_writable
from resmom.runs.clean import NOT_DIVISIBLE, Split, labelled_part, labelled_split
from resmom.runs.environment import environment
from resmom.runs.loaded import Loaded, load_run
from resmom.runs.measurable import Measurable
from resmom.runs.measuring.asked import PROTOCOLS, Asked, More, Protocol, check
from resmom.runs.measuring.labels import lent_share, with_labels
from resmom.runs.measuring.measure import Ground, pixel_features
from resmom.runs.measuring.repeats import Found, Repeats, require_difference
from resmom.runs.measuring.rows import Incomplete, Missing, Row
from resmom.runs.measuring.saving import saver
from resmom.runs.sized import with_image_size
from resmom.runs.training.job import backbone_of
from resmom.which import H, Which

Trying = Callable[[str, str], AbstractContextManager[None]]
"""Of a network's name and what is measured: where that has no score inside the block, what comes after goes on."""


def evaluate(
    path: Path,
    data: str | Data | None = None,
    network: Which = "both",
    protocols: Sequence[Protocol] = PROTOCOLS,
    linear: Linear | None = None,
    baselines: bool = False,
    device: str = "auto",
    own: Own | None = None,
    more: More | None = None,
) -> list[Row]:
    """Measure a run on labelled images (its own data by default) and add the rows to RUN/evaluations.jsonl.

    Each row is written when it is measured, so that what is stopped later is not lost.

    `baselines` adds kNN of raw pixels, of normalised pixels, and of the network before training. `more` adds other
    protocols, or lets all of them learn from some of the labels; the online classifier, which learnt from all, is left
    out then. Raises UserError if there are no labels, if the images or their size do not fit the network, and for
    repetitions where nothing would differ; OSError, before anything is measured, where the rows cannot be written.
    Raises Incomplete, which has the rows, when all else is measured, where a network has no score by a protocol: its
    probe diverged, or its features are not finite.
    """
    more = more or More()
    check(more)
    loaded = _as_asked(load_run(path, device, own), more)
    asked = Asked(tuple(protocols), linear or Linear(), baselines, more)
    rows = measured(loaded, loaded.opened(data), network, asked, str(path))
    if not rows:
        raise UserError(f"{path} has nothing to measure: {_no_online(loaded, network, more)}; ask for knn or linear")
    return rows


def measured(subject: Measurable, opened: Data, network: Which, asked: Asked, name: str) -> list[Row]:
    """The rows of all that was asked for and that there is, each added to the file of `subject` when it is there.

    `name` begins the sentence about images that do not do. Raises as `evaluate`.
    """
    split, label_sets = labelled(subject, opened)
    named = name_and_fingerprint(opened)
    labels = tuple(labels_lines(opened))
    more, lent, part = asked.more, None, None
    if more.labels:
        whole = split
        (split, lent), label_sets = with_labels(whole, more.labels, more.seed, more.draws), False
        part = lent_share(whole, more.labels, lent[0])
    repeats = Repeats.of(more.draws, lent)
    require_difference(asked, repeats)
    if asked.baselines and "knn" in asked.protocols:
        pixel_features(split, subject.policy)  # before hours are spent on the rest
    save = saver(subject, network, asked)
    if more.linear_crop is not None and more.linear_crop.layer != H:
        _require_layer(subject, network, more.linear_crop.layer)
    if (file := subject.evaluations) is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        require_writable(file)
    rows: list[Row] = []
    missing: list[Missing] = []
    machine = environment()

    def add(name: str, found: Found) -> None:
        score, told = found
        classifier = told.pop("classifier", None)
        stated = Score(score.top1, score.top5, f"{score.protocol}; {subject.size_words}{split.origin}")
        sized = f"{score.protocol}; images of {subject.policy.views[0].size} pixels; {split.origin}"
        told |= {"about": subject.about, "sized": sized, "labels": labels, "label_share": part}
        row = Row(name, stated, subject.step, *named, **told)
        kept = file is None or append_or_say(file, {**row.plain(), "environment": machine})
        rows.append(replace(row, kept=kept))
        if save is not None and classifier is not None:
            save(classifier, split.train.classes, (name, stated, row.data))

    @contextmanager
    def trying(name: str, probe: str) -> Iterator[None]:
        try:
            yield
        except NotMeasured as error:
            missing.append(Missing(name, probe, str(error)))

    try:
        settled = replace(asked, more=_settled(more, 1.0 if part is None else part))
        _measure(Ground(subject, split, repeats), network, settled, label_sets, add, trying)
    except ValueError as error:  # the protocols' own words: too few labels …
        if not rows and not missing:
            raise UserError(f"{name} cannot be evaluated on {split.train.name}: {error}") from error
        missing.append(Missing("", "the rest", str(error)))
    if missing:
        raise Incomplete(name, split.train.name, rows, missing)
    return rows


def _require_layer(subject: Measurable, network: Which, layer: str) -> None:
    """Raise UserError if one of the networks has no such features, before hours are spent on the rest."""
    side, channels = subject.policy.views[0].size, len(subject.policy.mean)
    for _, net in subject.each(network):
        with reader(backbone_of(net), layer) as read:
            read(torch.zeros(1, channels, side, side, device=subject.device))


def _as_asked(loaded: Loaded, more: More) -> Loaded:
    """The run as it is measured: with neighbours and a size of images of its own choice, or those asked for."""
    loaded = with_image_size(loaded, more.image_size)
    try:
        return replace(loaded, run=replace(loaded.run, knn=more.knn.instead_of(loaded.run.knn)))
    except ValueError as error:
        raise UserError(str(error)) from error


def _settled(more: More, part: float) -> More:
    """With the epochs of fine-tuning on this share of the labels, said on standard error where nobody gave them and
    only some of the labels are lent. Raises ValueError if they are less than the warm-up.
    """
    if more.finetune is None:
        return more
    settled = more.finetune.for_share(part)
    if more.finetune.epochs is None and more.labels:
        print(
            f"fine-tuning for {settled.epochs} epochs: 60 is the default with 1 % of the labels or less, 30 with more; "
            f"{called('finetune.epochs')} N takes another number",
            file=sys.stderr,
        )
    return replace(more, finetune=settled)


def _measure(
    ground: Ground, network: Which, asked: Asked, label_sets: bool, add: Callable[..., None], trying: Trying
) -> None:
    more = asked.more
    for name, net in ground.measured.each(network):
        if asked.protocols or more.low_shot is not None:
            _plain(name, ground, net, asked, label_sets, add, trying)
        if more.linear_crop is not None:
            with trying(name, "the linear probe on crops"):
                add(name, ground.linear_crop(name, net, more.linear_crop))
        if more.sweep:
            with trying(name, "the sweep over layers"):
                add(name, ground.sweep(net, asked.linear))
        if more.finetune is not None:
            with trying(name, "fine-tuning"):
                add(name, ground.finetune(net, more.finetune))
    if asked.baselines and "knn" in asked.protocols:
        with trying("random init", "kNN"):
            for baseline, found in ground.baselines():
                add(baseline, found)


def _plain(
    name: str,
    ground: Ground,
    net: nn.Module,
    asked: Asked,
    label_sets: bool,
    add: Callable[..., None],
    trying: Trying,
) -> None:
    """What needs nothing but h of the clean images, to learn from and to test on."""
    bank, queries = ground.features(net)
    if "knn" in asked.protocols:
        with trying(name, "kNN"):
            add(name, ground.knn(bank, queries))
    if "linear" in asked.protocols:
        with trying(name, "the linear probe"):
            add(name, ground.linear(net, bank, queries, asked.linear))
    if "online" in asked.protocols and name == "student" and label_sets:
        with trying(name, "the online classifier"):
            add(name, ground.online(queries))
    if asked.more.low_shot is not None:
        with trying(name, "few labels"):
            for found in ground.low_shot(bank, queries, asked.more.low_shot):
                add(name, found)


def _no_online(loaded: Loaded, network: str, more: More) -> str:
    """Why the online classifier, which alone was asked for, says nothing of these images."""
    if network == "teacher":
        return "the online classifier learns from the student, so there is none of the teacher"
    if loaded.online is None:
        return "the run trained no online classifier, which needs labels"
    if more.labels:
        return f"the online classifier learnt from all labels, and {called('labels')} asks for some"
    return "the online classifier names the classes of its training images, and these have others"


def name_and_fingerprint(data: Data) -> tuple[str, str]:
    """What a row says of its images."""
    parts = [source.fingerprint().encode() for source in (data.train, data.test) if source is not None]
    return short_name(data.spec) if data.spec else data.train.name, digest(parts)


def labelled(subject: Measurable, opened: Data) -> tuple[Split, bool]:
    """The labelled split, and whether the online classifier, if there is one, speaks of its classes."""
    split = labelled_split(opened, opened.train.fingerprint() == subject.trained_on)
    if split is None and labelled_part(opened.train) is not None:
        raise UserError(
            f"{opened.train.name} has labels and no test images, and {NOT_DIVISIBLE}; give more images per class, or a "
            "test split (docs/data.md)"
        )
    if split is None:
        raise UserError(
            f"{opened.train.name} has no labels, and these protocols need them: name labelled images with "
            f"{either('--data LABELLED', 'data')}, a folder with one sub-folder per class or an .npz with "
            "train_labels; in Python give images with labels as a pair, or a Dataset that has them as `targets` or "
            "`labels`"
        )
    channels = len(subject.policy.mean)
    if split.train.channels != channels:
        raise ConfigError(f"the images have {split.train.channels} channel(s), the network was trained on {channels}")
    return split, subject.online is not None and list(subject.classes) == list(split.train.classes)
