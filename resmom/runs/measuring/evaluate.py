"""Evaluate a run's student and teacher, beside what no learning gives."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from torch import nn

from resmom.build import Own
from resmom.config import ConfigError
from resmom.data.open import short_name
from resmom.data.source import Data, digest
from resmom.errors import UserError
from resmom.evaluate.finetune import Finetune
from resmom.evaluate.knn import OtherKnn
from resmom.evaluate.linear import Linear
from resmom.evaluate.linearcrop import LinearCrop
from resmom.evaluate.lowshot import LowShot
from resmom.evaluate.score import Score
from resmom.ondisk import append_or_say, require_writable
from resmom.runs.clean import NOT_DIVISIBLE, Split, labelled_part, labelled_split
from resmom.runs.environment import environment
from resmom.runs.loaded import Loaded, load_run
from resmom.runs.measuring.labels import is_share, lent_share, with_labels
from resmom.runs.measuring.measure import Candidate, Ground, pixel_features
from resmom.runs.measuring.repeats import Found, Repeats
from resmom.runs.measuring.saving import require_one_classifier, save_or_say
from resmom.runs.sized import with_image_size
from resmom.which import Which

Protocol = Literal["knn", "linear", "online"]
PROTOCOLS: tuple[Protocol, ...] = ("knn", "linear", "online")
TRAINED = ("linear", "--linear-crop", "--finetune")
"""What trains a classifier that can be kept."""


@dataclass(frozen=True)
class Row:
    """One result: what was measured, how, on which images, and at which step of the run."""

    network: str
    score: Score
    step: int
    data: str
    """The images in a word, see `short_name`."""
    fingerprint: str
    """Of all these images, training and test: it tells two sets of one name apart."""
    sd: float | None = None
    """Standard deviation over repetitions, where the score is a mean of several."""
    draws: tuple[float, ...] = ()
    """The accuracies that the score is the mean of."""
    protocols: tuple[str, ...] = ()
    """How each of these came about, where that differs: what was chosen, and the seed."""
    candidates: tuple[Candidate, ...] = ()
    """What a sweep chose among."""
    kept: bool = True
    """Whether it is in RUN/evaluations.jsonl; if that could not be written, standard error has had it."""

    def plain(self) -> dict[str, Any]:
        """As plain values for JSON; what only some results have is left out of others."""
        s = self.score
        line = {"network": self.network, "top1": s.top1, "top5": s.top5, "protocol": s.protocol, "step": self.step}
        line |= {"data": self.data, "fingerprint": self.fingerprint}
        line |= {"sd": self.sd, "draws": list(self.draws)} if self.draws else {}
        line |= {"protocols": list(self.protocols)} if self.protocols else {}
        return line | ({"candidates": [asdict(c) for c in self.candidates]} if self.candidates else {})


@dataclass(frozen=True)
class More:
    """What may be measured beside the plain protocols, and of which labels all of them learn."""

    low_shot: LowShot | None = None
    linear_crop: LinearCrop | None = None
    finetune: Finetune | None = None
    sweep: bool = False
    labels: str = ""
    """A share of each class (0.01), or a file of image names, one per line; empty for all."""
    seed: int = 0
    """Of the draw of a share."""
    draws: int = 1
    """How often to measure: with other images of the share, and with the next seed where a classifier is trained."""
    knn: OtherKnn = field(default_factory=OtherKnn)
    """k and temperature, where they are not to be the run's."""
    image_size: int | None = None
    """Side of all images, to learn from and to test on, in pixels, where it is not to be that of the run's views."""
    save_classifier: Path | None = None
    """The new file (.safetensors) for the one classifier that is trained."""


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
    """
    more = more or More()
    _check(more)
    loaded = _asked(load_run(path, device, own), more)
    opened = loaded.opened(data)
    split, label_sets = labelled(loaded, opened)
    named = name_and_fingerprint(opened)
    lent, part = None, 1.0
    if more.labels:
        whole = split
        (split, lent), label_sets = with_labels(whole, more.labels, more.seed, more.draws), False
        part = lent_share(whole, more.labels, lent[0])
    repeats = Repeats.of(more.draws, lent)
    _require_difference(more, protocols, repeats)
    if baselines and "knn" in protocols:
        pixel_features(split, loaded.policy)  # before hours are spent on the rest
    require_writable(loaded.folder.evaluations)
    if (file := more.save_classifier) is not None:
        asked = ("linear" in protocols, more.linear_crop is not None, more.finetune is not None)
        kinds = [kind for kind, there in zip(TRAINED, asked, strict=True) if there]
        require_one_classifier(file, loaded, network, kinds, more.draws)
    rows: list[Row] = []
    machine = environment()
    size = "" if loaded.image_size is None else f"images of {loaded.image_size} pixels; "

    def add(name: str, found: Found) -> None:
        score, told = found
        classifier = told.pop("classifier", None)
        stated = Score(score.top1, score.top5, f"{score.protocol}; {size}{split.origin}")
        row = Row(name, stated, loaded.step, *named, **told)
        kept = append_or_say(loaded.folder.evaluations, {**row.plain(), "environment": machine})
        rows.append(replace(row, kept=kept))
        if file is not None and classifier is not None:
            save_or_say(file, classifier, loaded, split.train.classes, (name, stated, row.data))

    try:
        more = _settled(more, part)
        _measure(loaded, split, repeats, label_sets, network, protocols, linear or Linear(), baselines, more, add)
    except ValueError as error:  # the protocols' own words: too few labels, features that are not finite …
        raise UserError(f"{path} cannot be evaluated on {split.train.name}: {error}") from error
    if not rows:
        raise UserError(f"{path} has nothing to measure: {_no_online(loaded, network, more)}; ask for knn or linear")
    return rows


def _asked(loaded: Loaded, more: More) -> Loaded:
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
            "--tuning.epochs N takes another number",
            file=sys.stderr,
        )
    return replace(more, finetune=settled)


def _measure(
    loaded: Loaded,
    split: Split,
    repeats: Repeats,
    label_sets: bool,
    network: Which,
    protocols: Sequence[Protocol],
    linear: Linear,
    baselines: bool,
    more: More,
    add: Callable[..., None],
) -> None:
    ground = Ground(loaded, split, repeats)
    for name, net in loaded.networks(network).items():
        if protocols or more.low_shot is not None:
            _plain(name, ground, net, label_sets, protocols, linear, more, add)
        if more.linear_crop is not None:
            add(name, ground.linear_crop(name, net, more.linear_crop))
        if more.sweep:
            add(name, ground.sweep(net, linear))
        if more.finetune is not None:
            add(name, ground.finetune(net, more.finetune))
    if baselines and "knn" in protocols:
        for baseline, found in ground.baselines():
            add(baseline, found)


def _plain(
    name: str,
    ground: Ground,
    net: nn.Module,
    label_sets: bool,
    protocols: Sequence[Protocol],
    linear: Linear,
    more: More,
    add: Callable[..., None],
) -> None:
    """What needs nothing but h of the clean images, to learn from and to test on."""
    bank, queries = ground.features(net)
    if "knn" in protocols:
        add(name, ground.knn(bank, queries))
    if "linear" in protocols:
        add(name, ground.linear(net, bank, queries, linear))
    if "online" in protocols and name == "student" and label_sets:
        add(name, ground.online(queries))
    if more.low_shot is not None:
        for found in ground.low_shot(bank, queries, more.low_shot):
            add(name, found)


def _no_online(loaded: Loaded, network: str, more: More) -> str:
    """Why the online classifier, which alone was asked for, says nothing of these images."""
    if network == "teacher":
        return "the online classifier learns from the student, so there is none of the teacher"
    if loaded.content["state"]["online"] is None:
        return "the run trained no online classifier, which needs labels"
    if more.labels:
        return "the online classifier learnt from all labels, and --labels asks for some"
    return "the online classifier names the classes of its training images, and these have others"


def _check(more: More) -> None:
    """Refuse what would be measured otherwise than asked for."""
    if more.draws < 1:
        raise UserError(f"--draws must be 1 or more; got {more.draws}")
    if more.low_shot is not None and is_share(more.labels):
        raise UserError("--low-shot and --labels SHARE both draw images; ask for them in two calls")
    if more.image_size is not None and (more.linear_crop is not None or more.finetune is not None):
        raise UserError(
            "--linear-crop and --finetune train on random crops at the side of the run's views, and are tested there: "
            "leave --image-size out, or ask for what takes it (kNN, --protocols linear, --sweep …) in another call"
        )


def _require_difference(more: More, protocols: Sequence[Protocol], repeats: Repeats) -> None:
    """Refuse repetitions of which none would differ from another."""
    trained = "linear" in protocols or more.sweep or more.finetune is not None or more.linear_crop is not None
    if more.draws > 1 and not repeats.drawn and not trained and more.low_shot is None:
        same = "every draw has the same images" if is_share(more.labels) else "nothing is drawn"
        raise UserError(
            f"--draws {more.draws} would give one number {more.draws} times: {same} and nothing is trained; draw "
            "labelled images with a smaller --labels SHARE or --low-shot, or measure a probe or fine-tuning"
        )


def name_and_fingerprint(data: Data) -> tuple[str, str]:
    """What a row says of its images."""
    parts = [source.fingerprint().encode() for source in (data.train, data.test) if source is not None]
    return short_name(data.spec) if data.spec else data.train.name, digest(parts)


def labelled(loaded: Loaded, opened: Data) -> tuple[Split, bool]:
    """The labelled split, and whether the checkpoint's online classifier speaks of its classes."""
    split = labelled_split(opened, opened.train.fingerprint() == loaded.content["data"])
    if split is None and labelled_part(opened.train) is not None:
        raise UserError(
            f"{opened.train.name} has labels and no test images, and {NOT_DIVISIBLE}; give more images per class, or a "
            "test split (docs/data.md)"
        )
    if split is None:
        raise UserError(
            f"{opened.train.name} has no labels, and these protocols need them: name labelled images with --data "
            "LABELLED, a folder with one sub-folder per class or an .npz with train_labels; in Python give images with "
            "labels as a pair, or a Dataset that has them as `targets` or `labels`"
        )
    if split.train.channels != len(loaded.run.policy.mean):
        raise ConfigError(
            f"the images have {split.train.channels} channel(s), the network was trained on "
            f"{len(loaded.run.policy.mean)}"
        )
    same = loaded.content["state"]["online"] is not None and loaded.content["classes"] == list(split.train.classes)
    return split, same
