"""Weights without a run: those of a file, random ones, or a module, as they are measured and handed on."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, cast, final

import torch
from torch import Tensor, nn

from resmom.called import called, either
from resmom.config import ConfigError, backbone_to_json
from resmom.data.source import Source
from resmom.evaluate.settings import Knn
from resmom.nets.backbones import Backbone, BackboneConfig, ResNet, SmallResNet, name_of
from resmom.nets.copies import copied
from resmom.nets.encoder import Encoder
from resmom.nets.fit import OptionNames
from resmom.nets.given import given_backbone
from resmom.recipes.side import fitted, with_image
from resmom.recipes.words import named
from resmom.rundir import RunDir
from resmom.runs.alone.instead import Instead
from resmom.runs.alone.shown import MADE, shown, usual
from resmom.runs.clean import CHUNK, clean_batches
from resmom.runs.device import default_device
from resmom.runs.initial.published import weights_file
from resmom.runs.initial.recognise import by_name, origin_words, own_word, recognise, seen, start_weights
from resmom.runs.origin import fresh_backbone
from resmom.runs.own import module_name
from resmom.runs.sized import Sized, refusal, require_side, require_taken
from resmom.views.policy import Policy
from resmom.which import Alone, Stem, Which

OPTIONS = OptionNames(stem="stem", settings=False)
"""Of the commands that take weights without a run."""


@final
@dataclass(frozen=True)
class Bare:
    """A backbone by itself. It has `h` alone: no teacher, no projector, no online classifier."""

    name: Alone
    """Of its rows and files."""
    what: str
    """The weights in a few words."""
    config: BackboneConfig | None
    """None for a module of the user's own."""
    encoder: Encoder
    """The backbone with nothing behind it: z is h."""
    policy: Policy
    """One view: the side, the normalisation and the way of resizing that the images are seen with."""
    told: tuple[str, ...]
    """All that was found or assumed, in sentences."""
    file: Path | None = None
    """Where the weights are from."""
    neighbours: Knn = field(default_factory=Knn)
    out: RunDir | None = None
    """The folder that rows and what trainings keep are written to."""
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    half: ClassVar[bool] = False
    step: ClassVar[None] = None
    trained_on: ClassVar[str] = ""
    online: ClassVar[None] = None
    classes: ClassVar[tuple[str, ...]] = ()

    @property
    def backbone(self) -> Backbone:
        return self.encoder.backbone

    @property
    def side(self) -> int:
        """Of the images, in pixels."""
        return self.policy.views[0].size

    @property
    def trained(self) -> Policy:
        return self.policy

    @property
    def crop_words(self) -> str:
        """No pretraining is known, so that the views of classifiers are the usual ones."""
        (low, high), flip = self.policy.views[0].scale, self.policy.views[0].flip
        return f"crops of {low:g} to {high:g} of the area, flip {flip:g}"

    @property
    def size_words(self) -> str:
        """There is no run that would tell it."""
        return f"images of {self.side} pixels; "

    @property
    def architecture(self) -> dict[str, Any] | str:
        """The backbone as plain values, or the name of the module that was given."""
        return module_name(self.backbone.body) if self.config is None else backbone_to_json(self.config)

    @property
    def about(self) -> Mapping[str, Any]:
        """What a row says of the weights."""
        first = self.policy.views[0]
        seen_by = {"image_size": first.size, "resize": first.interpolation}
        normal = {"mean": list(self.policy.mean), "std": list(self.policy.std)}
        made = {"what": self.what, "init": None if self.file is None else self.file.name, "backbone": self.architecture}
        return {"weights": {**made, **seen_by, **normal, "told": list(self.told)}}

    @property
    def evaluations(self) -> Path | None:
        return None if self.out is None else self.out.evaluations

    @property
    def probes(self) -> Path | None:
        return None if self.out is None else self.out.probes

    def each(self, which: Which) -> Sequence[tuple[str, nn.Module]]:
        """The one network there is."""
        return [(self.name, self.encoder)]

    def untrained(self) -> tuple[str, nn.Module] | None:
        """The same backbone with random weights; None of a module, which cannot be made anew, and of random weights."""
        if self.config is None or self.name == "random":
            return None
        return "random init", _encoder(fresh_backbone(self.config, 0), self.device)

    def clean(self, source: Source) -> Iterator[Tensor]:
        """The images of a source as they are measured, on the device; larger ones in smaller batches."""
        share = min(1.0, (224 / self.side) ** 2)
        return clean_batches(source, self.policy, self.device, max(1, int(CHUNK * share)))


def bare(
    init: str = "",
    backbone: object = None,
    *,
    stem: Stem | None = None,
    image_size: int | None = None,
    mean: Sequence[float] = (),
    std: Sequence[float] = (),
    seed: int = 0,
    device: str = "auto",
    options: OptionNames = OPTIONS,
) -> Bare:
    """The weights of the file `init` in the backbone that is named, or recognised; random ones without a file.

    `backbone`: a name, a configuration or a module, which is copied, and without a file keeps the weights it has. What
    the images are seen with is what was asked for, else what the file says of itself, else what is usual for the
    backbone; `told` says which. Raises ConfigError for what cannot be had, which names the `options`, UserError for a
    size that the network does not take.
    """
    file = weights_file(init, options.init) if init else None
    module = backbone if isinstance(backbone, nn.Module) else None
    config = _config(init, backbone, stem, options)
    said, otherwise = seen(init) if init else None, usual(config)
    native = otherwise[0].side if said is None else said.side
    if image_size is not None:
        require_side(image_size, f"the images have {native} pixels")
    policy, sentence = shown(said, otherwise, image_size, tuple(mean), tuple(std), options)
    side, channels = policy.views[0].size, len(policy.mean)
    if config is not None and not init:
        # Random weights were trained on no size; of a name alone, patches are as a run's would be.
        config, native = (fitted if isinstance(backbone, str) else with_image)(config, side), side
    body = _built(config, module, (channels, side, side), seed, options)
    what, told = _filled(body, init, config, seed, options)
    if file is not None and backbone is None and config is not None and own_word(file) is None:
        told.append(_recognised(config, options))
    name = module_name(body.body) if config is None else name_of(config)
    _require_size(Sized(body, config, name, channels, f"at {native} pixels"), side, native)
    place = default_device(device)
    kind: Alone = "init" if init else "given" if module is not None else "random"
    return Bare(kind, what, config, _encoder(body, place), policy, (*told, sentence), file, device=place)


def asked_for(weights: Instead, image_size: int | None, device: str = "auto") -> Bare:
    """The weights that options name; what was found or assumed of them is told on standard error. Raises as `bare`."""
    found = bare(
        weights.init,
        weights.backbone or None,
        stem=weights.stem,
        image_size=image_size,
        mean=weights.mean,
        std=weights.std,
        device=device,
    )
    print(*found.told, sep="\n", file=sys.stderr, flush=True)
    return found


def _config(init: str, backbone: object, stem: Stem | None, options: OptionNames) -> BackboneConfig | None:
    """The backbone that is meant; None where it is a module."""
    if not init and backbone is None:
        raise ConfigError(
            "name weights: "
            + either("--init FILE, or --backbone NAME", "init='w.pth', or backbone='resnet18'")
            + " for random ones of it, or both"
        )
    if isinstance(backbone, nn.Module):
        if stem is not None:
            raise ConfigError(f"{called('stem')} is of the backbones that have a name; a module has its own")
        return None
    if not isinstance(backbone, str | BackboneConfig | None):
        raise ConfigError(
            f"backbone is {backbone!r}; give a name such as 'resnet50', a configuration of resmom.nets.backbones, or a "
            "module, which turns N x C x S x S views into N x D"
        )
    found = by_name(backbone, init, options) if isinstance(backbone, str) else backbone or recognise(init, options)
    if stem is None:
        return found
    if not isinstance(found, ResNet):
        raise ConfigError(f"{called('stem')} goes with resnet18, -34 and -50; {named(found)} has none of these stems")
    return replace(found, stem=stem)


def _built(
    config: BackboneConfig | None,
    module: nn.Module | None,
    view: tuple[int, int, int],
    seed: int,
    options: OptionNames,
) -> Backbone:
    if config is not None:
        if isinstance(config, SmallResNet) and config.channels != view[0]:
            way = f"give {called('mean')} and {called('std')}" if options.normalisation else f"name a file of {MADE}"
            raise ConfigError(
                f"{named(config)} takes {config.channels} channel(s), mean and standard deviation are of {view[0]}: "
                f"{way} with one number per channel"
            )
        return fresh_backbone(config, seed)
    assert module is not None
    try:
        return given_backbone(copied(module).requires_grad_(True), view)  # a frozen one can be measured too
    except ValueError as error:
        raise ConfigError(f"the backbone cannot be used: {error}") from error


def _filled(
    body: Backbone, init: str, config: BackboneConfig | None, seed: int, options: OptionNames
) -> tuple[str, list[str]]:
    """Put the file's weights, if there is one, into the backbone; what they are in a few words, and in sentences."""
    kind = module_name(body.body) if config is None else named(config)
    if init:
        taken = start_weights(body, init, config, options=options)
        # Without the folder: what is printed and kept may be passed on.
        told = [replace(taken, path=Path(taken.path.name)).words]
        words = origin_words(init)
        return f"{Path(init).name}, {kind}", [*told, words] if words else told
    if config is None:
        return f"{kind}, given from Python", [f"the weights of {kind} as they were given from Python"]
    return f"random weights of {kind}", [f"random weights of {kind}, seed {seed}: nothing was learned"]


def _recognised(config: BackboneConfig, options: OptionNames) -> str:
    told = f"taken for a {named(config)}, the first of the common backbones that the tensors fit"
    if not isinstance(config, ResNet) or config.stem == "imagenet":
        return told
    told += "; small, small_pad2 and small_pool have equal shapes"
    return f"{told}, {called(options.stem)} takes another" if options.stem else told


def _require_size(sized: Sized, side: int, native: int) -> None:
    """Raise UserError for images of a side that the network does not take, or takes otherwise than it was trained."""
    if side != native:
        require_taken(sized, side)
    elif why := refusal(sized, side, fixed=False):
        raise ConfigError(f"{sized.name} does not take images of {side} pixels, {sized.channels} channels: {why}")


def _encoder(body: Backbone, device: torch.device) -> Encoder:
    """As a run's student is held, but with nothing behind the backbone."""
    made = Encoder(body, nn.Identity()).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return cast(Encoder, made).eval()
