"""Images to vectors: what a run's networks say of every image, as arrays in one file."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from resmom.build import Own
from resmom.config import ConfigError
from resmom.data.source import Data, Source, Subset, decoded
from resmom.errors import RunDirError, UserError
from resmom.evaluate.features import features
from resmom.ondisk import replacing, require_writable
from resmom.runs.loaded import Loaded, load_run
from resmom.runs.sized import with_image_size
from resmom.types import Site
from resmom.which import Which


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
) -> Embedded:
    """Write what the networks of `path` (a run folder or checkpoint) say of clean images to the new file `out`, .npz.

    The images have `image_size` pixels a side, by default those of the run's views.

    Its arrays, for every split S (train, test) of the data: `S_student` and `S_teacher`, N x D float32, a row per image
    in the order of the source; `S_names`, the images' paths below their folder, where they have any; `S_labels`, -1
    for none, where there are labels; and `classes`, `protocol`. Images that cannot be read have no row. All rows are
    in RAM until they are written.

    Raises RunDirError if `out` exists or is no .npz, UserError for a site or a network that the run does not have
    and for a size that its network does not take, ConfigError for images of other channels, what opening the run and
    the data raise, and OSError, before anything is measured, where `out` cannot be written.
    """
    if out.suffix != ".npz":
        raise RunDirError(f"{out} must end in .npz, the form it is written in")
    if out.exists():
        raise RunDirError(f"{out} is there already; give another --out, or take it away")
    loaded = with_image_size(load_run(path, device, own), image_size)
    opened = loaded.opened(data)
    networks = loaded.networks(network)
    if site == "p" and list(networks) != ["student"]:
        raise UserError("only the student has a predictor: give --network student with --site p, or --site z or h")
    splits = {"train": opened.train} | ({} if opened.test is None else {"test": opened.test})
    out.parent.mkdir(parents=True, exist_ok=True)
    require_writable(out)
    arrays: dict[str, NDArray[Any]] = {}
    for split, source in splits.items():
        if source.channels != len(loaded.run.policy.mean):
            raise ConfigError(
                f"the images have {source.channels} channel(s), the network was trained on "
                f"{len(loaded.run.policy.mean)}; convert them"
            )
        for name, net in networks.items():
            arrays[f"{split}_{name}"] = _vectors(net, source, loaded, site)
        arrays |= _described(split, source)
        arrays |= _without_stand_ins(arrays, split, source)
    side = loaded.policy.views[0].size
    protocol = f"embed-v1 ({site}, eval mode, float32, clean images at {side} pixels, step {loaded.step})"
    arrays |= {"classes": np.array(list(opened.train.classes), dtype=str), "protocol": np.array(protocol)}
    with replacing(out) as file:
        np.savez(file, allow_pickle=False, **arrays)
    shapes = {name: array.shape for name, array in arrays.items()}
    return Embedded(out, shapes, protocol, _unreadable(list(splits.values())))


def _unreadable(sources: Sequence[Source]) -> int:
    """Files that could not be read. Parts of one whole, as @held-out makes them, tell all of the whole's."""
    wholes = {source.whole if isinstance(source, Subset) else source for source in sources}
    return sum(len(whole.unreadable) for whole in wholes)


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


def _vectors(network: nn.Module, source: Source, loaded: Loaded, site: Site) -> NDArray[np.float32]:
    return features(network, loaded.clean(source), site).numpy()
