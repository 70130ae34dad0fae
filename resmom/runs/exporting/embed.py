"""Images to vectors: what a run's networks say of every image, as arrays in one file."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from resmom.build import Own
from resmom.called import called, either, setting
from resmom.checkpoint import load_checkpoint
from resmom.config import ConfigError
from resmom.data.open import open_data
from resmom.data.source import Data, Source, decoded
from resmom.errors import UserError
from resmom.evaluate.features import features
from resmom.evaluate.layers import features_of
from resmom.export.keep import read_choice
from resmom.ondisk import replacing, require_new_file, require_writable
from resmom.rundir import find_run
from resmom.runs.alone.bare import Bare
from resmom.runs.loaded import load_run
from resmom.runs.measurable import Measurable
from resmom.runs.sized import with_image_size
from resmom.which import H, Network, Site, Which

CHOSEN = "chosen"
"""In place of a layer: what `resmom evaluate --all` chose."""


@dataclass(frozen=True)
class Embedded:
    """What was written: the file, and the shapes of its arrays by name."""

    path: Path
    shapes: dict[str, tuple[int, ...]]
    protocol: str
    unreadable: int


def embed(
    path: Path,
    out: Path,
    data: str | Data | None = None,
    network: Which = "both",
    site: Site = "h",
    device: str = "auto",
    own: Own | None = None,
    image_size: int | None = None,
    layer: str = H,
) -> Embedded:
    """Write what the networks of `path` (a run folder or checkpoint) say of clean images to the new file `out`, .npz.

    The images have `image_size` pixels a side, by default those of the run's views. `layer`: features as
    `layer_features` names them, in place of h; "chosen" stands for what `resmom evaluate --all` chose, with the network
    and the checkpoint.

    Its arrays, for every split S (train, test) of the data: `S_student` and `S_teacher`, N x D float32, a row per image
    in the order of the source; `S_names`, the images' paths below their folder, where they have any; `S_labels`, -1
    for none, where there are labels; and `classes`, `protocol`. Images that cannot be read have no row. All rows are
    in RAM until they are written.

    Raises RunDirError if `out` exists or is no .npz, UserError for a site, a layer or a network that the run does not
    have, for "chosen" where nothing was, and for a size that its network does not take, ConfigError for images of other
    channels, what opening the run and the data raise, and OSError, before anything is measured, where `out` cannot be
    written.
    """
    require_fresh(out)
    if layer != H and site != H:
        raise UserError(
            f"{called('layer')} is of the backbone, and {setting('site', site)} of what stands behind it; leave one "
            "of them out"
        )
    if layer == CHOSEN:
        path, network, layer = chosen(path, network)
    loaded = with_image_size(load_run(path, device, own), image_size)
    opened = loaded.opened(data)
    networks = loaded.each(network)
    if site == "p" and [name for name, _ in networks] != ["student"]:
        ways = either("--network student with --site p, or --site z or h", "network='student', or site 'z' or 'h'")
        raise UserError(f"only the student has a predictor: give {ways}")
    return written(loaded, networks, opened, out, site, layer)


def require_fresh(out: Path) -> None:
    """Raise RunDirError for what is no new .npz file."""
    require_new_file(out, ".npz")


def written(
    subject: Measurable,
    networks: Sequence[tuple[str, nn.Module]],
    opened: Data,
    out: Path,
    site: Site = "h",
    layer: str = H,
) -> Embedded:
    """Write what some networks say of images that are open. Raises as `embed`."""
    channels = len(subject.policy.mean)
    splits = opened.splits
    out.parent.mkdir(parents=True, exist_ok=True)
    require_writable(out)
    arrays: dict[str, NDArray[Any]] = {}
    for split, source in splits.items():
        if source.channels != channels:
            raise ConfigError(
                f"the images have {source.channels} channel(s), the network was trained on {channels}; convert them"
            )
        for name, net in networks:
            arrays[f"{split}_{name}"] = _vectors(net, source, subject, site, layer)
        arrays |= _described(split, source)
        arrays |= _without_stand_ins(arrays, split, source)
    side, what = subject.policy.views[0].size, site if layer == H else layer
    protocol = f"embed-v1 ({what}, eval mode, float32, clean images at {side} pixels, {subject.what})"
    arrays |= {"classes": np.array(list(opened.train.classes), dtype=str), "protocol": np.array(protocol)}
    with replacing(out) as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # numpy 2.0 takes allow_pickle for one of the arrays
    shapes = {name: array.shape for name, array in arrays.items()}
    return Embedded(out, shapes, protocol, _unreadable(list(splits.values())))


def chosen(path: Path, network: Which) -> tuple[Path, Network, str]:
    """The checkpoint, the network and the features that `resmom evaluate --all` chose of the run at `path`.

    Raises UserError where nothing was chosen, where the run has gone on since, and where another checkpoint or network
    was named; RunDirError for no run.
    """
    folder, given = find_run(path)
    again = either(f"`resmom evaluate {path} --all`", f"resmom.result({str(path)!r}).keep()")
    choice = read_choice(folder.choice)
    if choice is None:
        raise UserError(f"nothing was chosen in {folder.path} yet: {again} chooses network, checkpoint and layer")
    step, name, here = choice["step"], choice["network"], _step(given)
    if path.is_file() and here != step:
        raise UserError(f"of {folder.path} step {step} was chosen, and {path} is of step {here}; name the folder")
    if not path.is_file() and here != choice["last_step"]:
        raise UserError(
            f"the choice in {folder.path} was made at step {choice['last_step']}, and the run is at step {here} now; "
            f"{again} chooses anew"
        )
    if network not in ("both", name):
        raise UserError(f"the {name} of step {step} was chosen, not the {network}; leave {called('network')} out")
    taken = given if here == step else folder.kept(step)
    if not taken.exists():
        raise UserError(f"{taken}, which was chosen, is gone; {again} chooses among those that are there")
    return taken, name, choice["features"]


def _step(checkpoint: Path) -> int:
    return int(load_checkpoint(checkpoint, mapped=True)["state"]["step"])


def embed_alone(weights: Bare, out: Path, data: str | Data, layer: str = H) -> Embedded:
    """The same of weights without a run: `S_init`, `S_random` or `S_given` by their name. Raises as `embed`."""
    require_fresh(out)
    if layer == CHOSEN:
        raise UserError(
            f"{setting('layer', CHOSEN)} is what "
            + either(
                "`resmom evaluate RUN --all` chose of a run; of other weights `resmom evaluate --sweep` prints the "
                "layers, and which is best",
                "keep() of a result chose of a run; of other weights evaluate(data, sweep=True) has the layers, and "
                "which is best",
            )
        )
    opened = open_data(data)
    return written(weights, weights.each("both"), opened, out, layer=layer)


def _unreadable(sources: Sequence[Source]) -> int:
    """Files that could not be read. Parts of one whole, as @held-out makes them, tell all of the whole's."""
    return sum(len(whole.unreadable) for whole in {source.root for source in sources})


def _described(split: str, source: Source) -> dict[str, NDArray[Any]]:
    names = source.names()
    found: dict[str, NDArray[Any]] = {} if names is None else {f"{split}_names": np.array(list(names))}
    return found if source.labels is None else {**found, f"{split}_labels": source.labels}


def _without_stand_ins(arrays: dict[str, NDArray[Any]], split: str, source: Source) -> dict[str, NDArray[Any]]:
    """The arrays of a split without the rows of images that could not be decoded, for which the source gave others.

    None where every image could be read: what is large is not copied.
    """
    kept = decoded(source, source.unreadable)
    if kept.all():
        return {}
    return {name: array[kept] for name, array in arrays.items() if name.startswith(f"{split}_")}


def _vectors(network: nn.Module, source: Source, subject: Measurable, site: Site, layer: str) -> NDArray[np.float32]:
    if layer != H:
        return features_of(network, subject.clean(source), layer).numpy()
    return features(network, subject.clean(source), site).numpy()
