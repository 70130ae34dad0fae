"""A run's backbone as an ONNX file: built, given a checkpoint's weights, handed to the exporter, and told of."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from resmom.build import Own
from resmom.called import setting
from resmom.checkpoint import CheckpointError
from resmom.config import ConfigError, Run
from resmom.errors import UserError
from resmom.export.onnx import OPSET, Checked, ExportError, save_onnx
from resmom.export.weights import About
from resmom.nets.backbones import Backbone, build_backbone
from resmom.nets.copies import copied
from resmom.nets.given import given_backbone
from resmom.nets.weightfile import uncompiled
from resmom.runs.own import again, part_kind, part_words, require
from resmom.train.state import load_network


def write_onnx(
    path: Path, run: Run, written: Mapping[str, Any], own: Own, state: Mapping[str, Tensor], about: About
) -> Checked:
    """Write the file of the network whose `state_dict` is given. `written`: what run.json says.

    Raises ConfigError where the run's backbone is a module of the user's own and `own` does not bring it, or where it
    cannot be built; CheckpointError for weights that do not fit; UserError for a network that ONNX cannot hold.
    """
    backbone = backbone_with(run, written, own, state, about.network)
    name = part_words(written, run, "backbone")
    try:
        return save_onnx(path, backbone, about, {"method": part_kind(written, run, "method"), "backbone": name})
    except ExportError as error:
        raise UserError(
            f"the {about.network}'s backbone, {name}, cannot be exported as ONNX: {error}. Its weights can: "
            f"{setting('to', 'safetensors')}"
        ) from error


def backbone_with(
    run: Run, written: Mapping[str, Any], own: Own, state: Mapping[str, Tensor], network: str
) -> Backbone:
    """A network's backbone on the CPU, without the rest of the method: what that was made by need not be there.

    Raises as `write_onnx` does.
    """
    names = {part: name for part, name in dict(written.get("own", {})).items() if part == "backbone"}
    require(Own(own.backbone), {**written, "own": names})
    side, channels = run.policy.views[0].size, len(run.policy.mean)
    try:
        if own.backbone is None:
            backbone = build_backbone(run.backbone)
        else:
            backbone = given_backbone(copied(own.backbone), (channels, side, side))
    except ValueError as error:
        raise ConfigError(f"the backbone cannot be built: {error}") from error
    # What torch.compile wrapped then may be given as it is now, and the reverse.
    names = {uncompiled(name): name for name in backbone.state_dict()}
    saved = {uncompiled(name.removeprefix("backbone.")): v for name, v in state.items() if name.startswith("backbone.")}
    try:
        load_network(backbone, {names.get(name, name): value for name, value in saved.items()}, network)
    except (RuntimeError, ValueError) as error:
        raise CheckpointError(f"the checkpoint does not fit its backbone: {error}{again(written)}") from error
    return backbone.cpu()


def checked_words(checked: Checked, output: str = "features") -> str:
    """A sentence on what a file takes and how near its output is to torch's."""
    sizes = "any number, height and width" if checked.any_size else "any number"
    return (
        f"ONNX opset {OPSET}, images of {sizes}. onnxruntime's {output} of {checked.images} drawn images differ from "
        f"torch's by at most {checked.difference:.1e} of the largest."
    )
