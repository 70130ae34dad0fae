"""What a call of `resmom evaluate`, or of its like in Python, asks for; what it would not look at is refused.

No torch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Literal

from resmom.called import called, either, setting
from resmom.errors import UserError
from resmom.evaluate.settings import Finetune, Linear, LinearCrop, LowShot, OtherKnn
from resmom.nearest import similar

Protocol = Literal["knn", "linear", "online"]
PROTOCOLS: tuple[Protocol, ...] = ("knn", "linear", "online")
ALONE: tuple[Protocol, ...] = ("knn", "linear")
"""The plain protocols that need no run: an online classifier was trained beside none."""


OTHERS = ("finetune", "linear_crop", "low_shot", "sweep")
"""What is measured beside the protocols, each by a setting of its own."""


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

    @property
    def measures(self) -> bool:
        """Whether anything is measured beside the plain protocols."""
        return self.low_shot is not None or self.linear_crop is not None or self.finetune is not None or self.sweep


@dataclass(frozen=True)
class Asked:
    """All that one call measures."""

    protocols: tuple[Protocol, ...]
    linear: Linear
    baselines: bool
    more: More


def asked(
    protocols: Protocol | Sequence[Protocol] | None = None,
    *,
    usual: tuple[Protocol, ...] = PROTOCOLS,
    baselines: bool = False,
    knn: OtherKnn | None = None,
    linear: Linear | None = None,
    linear_crop: bool | LinearCrop = False,
    low_shot: int | Sequence[int] | None = None,
    finetune: bool | Finetune = False,
    sweep: bool = False,
    labels: str | float | Path = "",
    seed: int = 0,
    draws: int | None = None,
    image_size: int | None = None,
    save_classifier: Path | None = None,
) -> Asked:
    """What is asked for, settled. `protocols` None: the `usual` ones, or none where another kind of measurement is
    asked for, and kNN beside the baselines, which are measured by it.

    Raises UserError for protocols that there are not, and for an option that nothing of this would look at.
    """
    others = low_shot is not None or bool(linear_crop) or bool(finetune) or sweep
    if protocols is None:
        chosen: tuple[Protocol, ...] = usual if not others else ("knn",) if baselines else ()
    else:
        chosen = _known(protocols, usual)
        if not chosen and not others:
            raise UserError(f"{called('protocols')} needs at least one of {', '.join(usual)}, or leave it out for all")
    knn, linear, labels = knn or OtherKnn(), linear or Linear(), str(labels)
    shots = None if low_shot is None else _shots(low_shot, draws, seed)
    refuse_unused(
        {
            "seed": seed == 0 or is_share(labels) or shots is not None,
            "baselines": not baselines or "knn" in chosen,
            changed("knn", knn): knn == OtherKnn() or "knn" in chosen or shots is not None,
            changed("linear", linear): linear == Linear() or sweep or "linear" in chosen,
        }
    )
    more = More(
        shots,
        LinearCrop() if linear_crop is True else linear_crop or None,
        Finetune() if finetune is True else finetune or None,
        sweep,
        labels,
        seed,
        1 if draws is None else draws,
        knn,
        image_size,
        save_classifier,
    )
    return Asked(chosen, linear, baselines, more)


def changed(part: str, given: OtherKnn | Linear | LinearCrop | Finetune) -> str:
    """The field of the first setting of a part that is not its default; the part's own where all are."""
    return next((f"{part}.{f.name}" for f in fields(given) if getattr(given, f.name) != f.default), part)


def refuse_unused(used: Mapping[str, bool]) -> None:
    """Raise UserError for the first field that is not `used` by anything of what was asked for."""
    for name, there in used.items():
        if not there:
            needs = _needed(name.partition(".")[0])
            raise UserError(f"{called(name)} has no effect on what this call measures; it goes with {needs}")


def _needed(part: str) -> str:
    """What a setting goes with."""
    match part:
        case "seed":
            share = either("--labels SHARE", "a share as labels")
            drawn = f"{called('low_shot')} or {share}, whose images it draws"
            return f"{drawn} (trainings have {called('linear.seed')} and so on)"
        case "baselines":
            return f"{setting('protocols', 'knn')}, by which the baselines are measured"
        case "knn":
            all_ = either("--all", "keep")
            return f"{setting('protocols', 'knn')} or {called('low_shot')} ({all_} compares by the run's own)"
        case "linear":
            return f"{setting('protocols', 'linear')}, {called('sweep')} or {either('--all', 'keep')}"
        case _:
            return called(part)


def _known(protocols: str | Sequence[str], usual: tuple[Protocol, ...]) -> tuple[Protocol, ...]:
    """The protocols, each once. Raises UserError for none, and for others than there are."""
    named = dict.fromkeys([protocols] if isinstance(protocols, str) else protocols)
    if unknown := [name for name in named if name not in PROTOCOLS]:
        other = unknown[0].replace("-", "_")
        hint = f"; {called(other)} measures that" if other in OTHERS else similar(other, usual, 1)
        raise UserError(f"there is no protocol {unknown[0]!r}; protocols are {', '.join(usual)}{hint}")
    if unfit := [name for name in named if name not in usual]:
        raise UserError(f"{unfit[0]} is a protocol of runs alone; weights without a run have {' and '.join(usual)}")
    return tuple(name for name in PROTOCOLS if name in named)


def _shots(asked: int | Sequence[int], draws: int | None, seed: int) -> LowShot:
    shots = (asked,) if isinstance(asked, int) else tuple(asked)
    try:
        return LowShot(shots, LowShot.draws if draws is None else draws, seed)
    except ValueError as error:
        raise UserError(str(error)) from error


def is_share(labels: str) -> bool:
    """Whether `labels` asks for images that are drawn, and not for those of a list, nor for all ("")."""
    try:
        float(labels)
    except ValueError:
        return False
    return True


def check(more: More) -> None:
    """Refuse what would be measured otherwise than asked for."""
    if more.draws < 1:
        raise UserError(f"{called('draws')} must be 1 or more; got {more.draws}")
    if more.low_shot is not None and is_share(more.labels):
        share = either("--labels SHARE", "labels, where they are a share,")
        raise UserError(f"{called('low_shot')} and {share} both draw images; ask for them in two calls")
    if more.image_size is not None and (more.linear_crop is not None or more.finetune is not None):
        raise UserError(
            f"{called('linear_crop')} and {called('finetune')} train on random crops at the side of the run's views, "
            f"and are tested there: leave {called('image_size')} out, or ask for what takes it (kNN, "
            f"{setting('protocols', 'linear')}, {called('sweep')} …) in another call"
        )
