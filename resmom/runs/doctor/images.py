"""The images of a run: do they open, can a few be read, are there enough?"""

import time
from collections.abc import Iterator
from dataclasses import dataclass

from resmom.runs.doctor.finding import Answer, Finding, answer, sentence

SAMPLE = 16
"""Images that are read."""
DAMAGED = 0.1
"""Share of unreadable images from which something must be wrong with the folder or the disk."""


@dataclass(frozen=True)
class Images:
    """What `--data` stands for. `refused` says why it cannot be opened."""

    spec: str
    refused: str = ""
    absent: bool = False
    """A public data set by name that is not, or not whole, on the disk."""
    images: int = 0
    classes: int = 0
    side: int = 0
    """Median of the shorter sides, in pixels."""
    unopened: int = 0
    """Files that were left out when all headers were read."""
    read: int = 0
    undecoded: int = 0
    """Of those read, the ones that could not be decoded."""
    first: str = ""
    """The first file of either kind, with the reason."""
    seconds: float = 0.0
    passed_over: str = ""
    """Pictures that lie there and are not used, in words."""


def images(spec: str) -> Answer:
    """The probe of `--data`. Nothing is downloaded."""
    import numpy as np

    from resmom.data.errors import DataError
    from resmom.data.named import AbsentError
    from resmom.data.open import open_data
    from resmom.runs.clean import thinned

    try:
        data = open_data(spec, ram_limit=0, download=False)
        source = data.train
        unopened = len(source.unreadable)
        sample = thinned(source, SAMPLE)
        began = time.perf_counter()
        for at in range(len(sample)):
            sample.read(np.array([at]))
        seconds = time.perf_counter() - began
    except AbsentError:
        found = Images(spec, absent=True)
    except DataError as error:
        found = Images(spec, refused=str(error))
    else:
        broken = source.unreadable
        first = f"{broken[0][0]!a}: {broken[0][1]}" if broken else ""
        side = int(np.median(source.sizes.min(axis=1)))
        read = unopened, len(sample), len(broken) - unopened, first, seconds, data.passed_over
        found = Images(spec, "", False, len(source), len(source.classes), side, *read)
    return answer(found, judge_images(found))


def judge_images(found: Images) -> Iterator[Finding]:
    from resmom.recipes.automatic import LEAST_IMAGES, LEAST_SIDE

    about = "data"
    if found.refused:
        closer = f"put that right, or look closer: resmom data check {found.spec}"
        yield Finding(about, "problem", sentence(found.refused), closer)
        return
    if found.absent:
        words = f"{found.spec} is not whole on this disk; the first run that names it downloads it."
        yield Finding(about, "note", words, "have network access then, or bring the files (docs/data.md)")
        return
    if found.passed_over:
        yield Finding(about, "note", f"not all pictures in {found.spec} are used.", f"passed over: {found.passed_over}")
    labels = f"of {found.classes} classes" if found.classes else "without labels"
    words = f"{found.images} images {labels}, shorter sides of {found.side} pixels in the middle"
    if found.images < LEAST_IMAGES or found.side < LEAST_SIDE:
        yield Finding(
            about,
            "problem",
            f"{words}: a run needs at least {LEAST_IMAGES}, half of them with sides of {LEAST_SIDE} or more.",
            "add images, or larger ones",
        )
    if found.unopened or found.undecoded:
        parts = [f"{found.unopened} more cannot be opened"] * bool(found.unopened)
        parts += [f"of {found.read} that were read {found.undecoded} cannot be decoded"] * bool(found.undecoded)
        many = found.unopened > DAMAGED * found.images or found.undecoded > DAMAGED * found.read
        yield Finding(
            about,
            "problem" if many else "note",
            f"{words}; {', '.join(parts)}, such as {found.first}.",
            f"resmom data check {found.spec} reads all and lists what is damaged; a run leaves such files out",
        )
    elif found.images >= LEAST_IMAGES and found.side >= LEAST_SIDE:
        yield Finding(about, "ok", f"{words}; {found.read} of them were read in {found.seconds:.2f} s.")
