"""resmom embed RUN --data DATA --out FILE.npz"""

from dataclasses import dataclass
from pathlib import Path

import tyro

from resmom.commands import parse, print_json, set_process
from resmom.runs.embed import embed
from resmom.runs.machine import Machine
from resmom.types import Site
from resmom.which import Which

ABOUT = "Images to vectors: what a run's student and teacher say of every image, as arrays in one .npz file."


@dataclass(frozen=True)
class Arguments:
    run: tyro.conf.Positional[Path]
    """A run folder, or one checkpoint of it."""
    out: Path
    """The file to write: new, ending in .npz."""
    data: str | None = None
    """Images: a folder, an .npz file or a name; the run's own data by default."""
    network: Which = "both"
    site: Site = "h"
    """h, the representation, is what other tools want; z the projection, p the student's prediction, logits the
    similarities to the prototypes of DINO and iBOT."""
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
    set_process(Machine(threads=a.threads, keep_memory=False))
    found = embed(a.run, a.out, a.data, a.network, a.site, a.device, image_size=a.image_size)
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
