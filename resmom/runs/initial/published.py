"""Published weights by their names in timm, `timm:NAME`: downloaded once, kept as a file that says what it holds."""

import functools
from pathlib import Path
from typing import Any

from resmom.called import called, either
from resmom.config import ConfigError, backbone_to_json
from resmom.downloads import download_folder
from resmom.export.weights import About, exported, packed
from resmom.nets.backbones import BackboneConfig, ResNet, Timm, build_backbone, cut_of, no_timm_model
from resmom.norun import PUBLISHED
from resmom.ondisk import write_whole
from resmom.recipes.facts import Seen
from resmom.runs.initial import hub

USUAL = 224
"""Side at which networks are seen that were published for larger images, and take these too: their cost grows with the
square of the side."""
_RESNETS = {"resnet18": ResNet(18), "resnet34": ResNet(34), "resnet50": ResNet(50)}
"""Which have one architecture in timm and torchvision, with the same names of their tensors."""


def weights_folder() -> Path:
    """Where published weights are kept: the folder that RESMOM_WEIGHTS names, else ~/.cache/resmom/weights."""
    return download_folder("RESMOM_WEIGHTS", "weights")


def weights_file(init: str | Path, field: str = "init") -> Path:
    """The file of weights that `init` means: a path is its own; those of `timm:NAME` are downloaded if need be.

    NAME is an architecture of timm's, with or without the tag of its weights: `resnet50`, `resnet50.a1_in1k`. Raises
    ConfigError, which begins with the `field` that named them, for a name without published weights, and where they
    are neither kept nor can be had.
    """
    if not str(init).startswith(PUBLISHED):
        return Path(init)
    try:
        return _kept(str(init).removeprefix(PUBLISHED))
    except ConfigError as error:
        raise ConfigError(f"{called(field)}: {error}") from error


def _kept(name: str) -> Path:
    """The file of published weights, downloaded if need be."""
    found = _published(name)
    name = f"{found.architecture}.{found.tag}" if found.tag else found.architecture
    path = weights_folder() / f"timm-{name}.safetensors"
    if not path.exists():
        content = _content(name, found)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content)
    return path


def seen_as(found: Any, side: int) -> Seen:
    """How images are shown to a network at that side, by a configuration of timm's."""
    return Seen(
        tuple(found.mean), tuple(found.std), side, "bicubic" if found.interpolation == "bicubic" else "bilinear"
    )


def placed(init: str) -> str:
    """Weights as a run's configuration names them, for whoever resumes it in another folder: a file by its whole path,
    published ones by their name; empty where none are named."""
    return init if not init or init.startswith(PUBLISHED) else str(Path(init).resolve())


@functools.cache  # asked for several times of one call, and timm's list is long
def _published(name: str) -> Any:
    """What timm says of published weights. Raises ConfigError where it has none of that name."""
    import timm

    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        known = {full.partition(".")[0] for full in timm.list_pretrained()}
        raise ConfigError(no_timm_model(architecture, sorted(known), "timm.list_pretrained"))
    tags = [full.partition(".")[2] for full in timm.list_pretrained(f"{architecture}.*")]
    if not tags or (tag and tag not in tags):
        what = f"of {architecture} with the tag '{tag}'; there are {', '.join(tags)}" if tags else f"of {architecture}"
        raise ConfigError(f"timm has no published weights {what}")
    return timm.get_pretrained_cfg(f"{architecture}.{tag}" if tag else architecture)


def _content(name: str, found: Any) -> bytes:
    """The file of some published weights, which this downloads."""
    import timm

    unreachable = hub.no_answer() if found.hf_hub_id else ""
    try:
        with hub.asked(online=not unreachable):
            model = timm.create_model(name, pretrained=True, num_classes=0)
    except Exception as error:  # whatever the hub's client raises, which changes with its version
        reason = unreachable or str(error).strip().split("\n")[0]
        raise ConfigError(
            f"the weights of {PUBLISHED}{name} are neither in {weights_folder()} nor could they be downloaded "
            f"({reason}). Where there is a network, "
            + either(
                f"`resmom export --init {PUBLISHED}{name} --out FOLDER`",
                f"resmom.weights('{PUBLISHED}{name}').export(FOLDER)",
            )
            + " makes "
            "FOLDER/backbone-init.safetensors, to be given here by its path; or copy that machine's folder of weights"
        ) from error
    native = int(found.input_size[-1])
    config: BackboneConfig = _RESNETS.get(found.architecture) or Timm(found.architecture)
    backbone = build_backbone(config)
    try:
        backbone.body.load_state_dict(model.state_dict(), strict=True)
    except RuntimeError as error:  # timm makes some of its models otherwise for these weights alone
        raise ConfigError(
            f"the weights of {PUBLISHED}{name} are not those of timm's plain {found.architecture}, which is the "
            "backbone that can be had by this name; take others of timm's, or a module of your own in Python"
        ) from error
    takes_any = not found.fixed_input_size or (isinstance(config, Timm) and cut_of(config) is not None)
    side = min(native, USUAL) if takes_any else native
    licence = f"licence {found.license}" if found.license else "no licence stated"
    source = f"{name} as timm publishes it ({licence}; made for images of {native} pixels)"
    seen = seen_as(found, side)
    assert seen.resize is not None  # of timm's it is known
    about = About("init", backbone_to_json(config), None, seen.mean, seen.std, seen.side, seen.resize, source)
    state = {f"backbone.{key}": value for key, value in backbone.state_dict().items()}
    return packed(exported(state, config), about.metadata())
