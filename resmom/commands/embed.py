"""resmom embed RUN --data DATA --out FILE.npz, resmom embed --init FILE --data DATA --out FILE.npz"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from resmom.commands import Flat, parse, print_json, set_threads
from resmom.errors import UserError
from resmom.runs.alone.instead import Instead, require_alone, require_one
from resmom.which import H, Site, Which

if TYPE_CHECKING:
    from resmom.runs.exporting.embed import Embedded

ABOUT = "Images to vectors: what a run's student and teacher say of every image, as arrays in one .npz file."


@dataclass(frozen=True)
class Arguments:
    out: Path
    """The file to write: new, ending in .npz."""
    run: tyro.conf.Positional[Path | None] = None
    """A run folder, or one checkpoint of it."""
    weights: Flat[Instead] = field(default_factory=Instead)
    data: str | None = None
    """Images: a folder, an .npz file or a name; the run's own data by default."""
    network: Which = "both"
    site: Site = "h"
    """h, the representation, is what other tools want; z the projection, p the student's prediction, logits the
    similarities to the prototypes of DINO, iBOT and DINOv2."""
    layer: str = H
    """In place of h the features of another layer and pooling, by the names that `resmom evaluate --sweep` prints, as
    in 'stage3, mean'; chosen: of the network, the checkpoint and the layer that `resmom evaluate RUN --all` chose."""
    image_size: int | None = None
    """Side of the images in pixels, by default that of the views; larger ones may tell convolutional networks more."""
    device: str = "auto"
    threads: int = 0
    """CPU threads; 0 is torch's choice."""
    json: bool = False
    """Print what was written as JSON."""


def main(arguments: list[str]) -> int:
    """Write the file, and say what is in it."""
    a = parse(Arguments, arguments, "resmom embed", ABOUT)
    require_one(a.run, a.weights)
    from resmom.runs.exporting.embed import embed

    set_threads(a.threads)
    if a.run is not None:
        found = embed(a.run, a.out, a.data, a.network, a.site, a.device, image_size=a.image_size, layer=a.layer)
    else:
        found = _alone(a)
    if a.json:
        print_json({"path": str(found.path), "arrays": found.shapes, "protocol": found.protocol})
        return 0
    width = max(map(len, found.shapes))
    print(f"{found.path}: {found.protocol}")
    for name, shape in found.shapes.items():
        if shape and shape != (0,):  # the protocol stands above, and images may have no classes
            print(f"  {name:<{width}}  {' x '.join(map(str, shape))}")
    if found.unreadable:
        print(f"{found.unreadable} images could not be read and are left out")
    return 0


def _alone(a: Arguments) -> "Embedded":
    """Of weights without a run."""
    from resmom.runs.alone.bare import asked_for
    from resmom.runs.exporting.embed import embed_alone, require_fresh

    require_alone(a.network)
    if a.site != "h":
        raise UserError(f"--site {a.site} is of a RUN; of weights by themselves there is h alone, and --layer")
    if a.data is None:
        raise UserError("--data is missing: the images to embed (a RUN knows its own)")
    require_fresh(a.out)
    return embed_alone(asked_for(a.weights, a.image_size, a.device), a.out, a.data, a.layer)
