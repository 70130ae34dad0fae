"""A trained classifier as one safetensors file: backbone, layer, classes, and how images are prepared for it.

Tensors: `backbone.NAME`, where an export of that backbone has NAME (export/weights.py), `layer.weight`, `layer.bias`.
Metadata: that of an export, and `kind`, `classes`, `resize`, `method`, `protocol`, `top1`, `data`.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from resmom.arguments import arguments_checked
from resmom.called import called, either
from resmom.config import ConfigError, backbone_from_json
from resmom.errors import RunDirError, UserError
from resmom.evaluate.classifier import TrainedClassifier
from resmom.evaluate.score import Classified
from resmom.export.weights import About, exported, packed
from resmom.nets.backbones import BackboneConfig, SmallResNet, build_backbone
from resmom.nets.weightfile import WeightsError, metadata, read_weights, uncompiled
from resmom.ondisk import require_writable, write_whole
from resmom.runs.device import default_device
from resmom.runs.generators import generators_kept

KIND = "classifier"
SUFFIX = ".safetensors"


def is_classifier(path: Path) -> bool:
    """Whether a file says that it is one."""
    return metadata(path).get("kind") == KIND


def require_savable(path: Path) -> None:
    """Raise UserError unless a classifier can be written to the new file `path`, whose folder is then made.

    Raises OSError, which names the file, where the system refuses.
    """
    if path.suffix != SUFFIX:
        raise UserError(f"{called('save_classifier')} {path} must end in {SUFFIX}, the form it is written in")
    if path.exists():
        raise RunDirError(f"{path} is there already; give {called('save_classifier')} another name, or take it away")
    path.parent.mkdir(parents=True, exist_ok=True)
    require_writable(path)


def save_classifier(
    path: Path,
    found: Classified,
    config: BackboneConfig,
    about: About,
    classes: tuple[str, ...],
    more: Mapping[str, str],
) -> None:
    """Write the file, whole or not at all. `about`: of the backbone, whose configuration is `config`. `classes`: the
    names of the data's; those that there is no output for are left out, and those without a name are called by their
    numbers. `more`: texts for the metadata.
    """
    named = [classes[at] if at < len(classes) else str(at) for at in range(found.layer.out_features)]
    listed = json.dumps(named, ensure_ascii=False)
    said = {**about.metadata(), **more, "kind": KIND, "classes": listed, "top1": _top1(found)}
    state = {f"backbone.{name}": value for name, value in found.backbone.state_dict().items()}
    tensors = {f"backbone.{name}": value for name, value in exported(state, config).items()}
    layer = {f"layer.{name}": value.detach().cpu().contiguous() for name, value in found.layer.state_dict().items()}
    write_whole(path, packed(tensors | layer, said))


def _top1(found: Classified) -> str:
    return f"{found.score.top1:.4f}"


@arguments_checked()
@generators_kept()
def load_classifier(file: str | Path, device: str = "cpu") -> TrainedClassifier:
    """The classifier that `resmom evaluate --save-classifier` wrote: uint8 images to probabilities, evaluation mode.

    Raises WeightsError for a file that is missing, damaged or no classifier, ConfigError for a device that is not here.
    """
    path = Path(file).expanduser()
    place = default_device(device)
    if path.is_dir():
        raise WeightsError(f"{path} is a folder, and a classifier is a file, which ends in {SUFFIX}")
    weights, said = read_weights(path), metadata(path)
    if said.get("kind") != KIND:
        what = "it holds a backbone alone" if "resmom_format" in said else "it is of another program"
        raise WeightsError(
            f"{path} is no classifier: {what}, and names no classes; train one with "
            + either(
                "`resmom evaluate RUN --network student --protocols linear --save-classifier FILE`, or --finetune in "
                "place of --protocols linear",
                "evaluate('linear', network='student', save_classifier=FILE) of a result, or finetune=True in place of "
                "'linear'",
            )
        )
    try:
        config = backbone_from_json(json.loads(said["architecture"]))
        backbone = build_backbone(config)
        backbone.load_state_dict(_own_names(backbone, weights, config), strict=True)
        layer = nn.Linear(weights["layer.weight"].shape[1], weights["layer.weight"].shape[0])
        layer.load_state_dict({"weight": weights["layer.weight"], "bias": weights["layer.bias"]}, strict=True)
        resize = said["resize"]
        if resize not in ("bilinear", "bicubic"):
            raise ValueError(f"resize is '{resize}'")
        made = TrainedClassifier(
            backbone,
            layer,
            tuple(json.loads(said["classes"])),
            tuple(json.loads(said["mean"])),
            tuple(json.loads(said["std"])),
            int(said["image_size"]),
            resize,  # type: ignore[arg-type]
            said,
        )
    except (ConfigError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise WeightsError(f"{path} is damaged, or of a newer version: {error}; save the classifier again") from error
    return made.to(place)


def _own_names(backbone: nn.Module, weights: dict[str, Tensor], config: BackboneConfig) -> dict[str, Tensor]:
    """The tensors under the backbone's own names, which `exported` has shortened."""
    inner = "body.layers." if isinstance(config, SmallResNet) else "body."
    names = {f"backbone.{uncompiled(name).removeprefix(inner)}": name for name in backbone.state_dict()}
    return {names.get(name, name): value for name, value in weights.items() if not name.startswith("layer.")}
