"""The measures that need no labels, by the names that readers meet, each with a sentence on what it says. No torch."""

from dataclasses import dataclass
from typing import Literal

Better = Literal["higher", "lower", "neither"]


@dataclass(frozen=True)
class LabelFree:
    """A measure of `health.py`: its key in the health lines, its name, which way is good, and what it says."""

    key: str
    name: str
    better: Better
    meaning: str


CHANCE = "100 / images"
"""How the chance of finding the own other view reads where the number of images is not known."""

MEASURES = (
    LabelFree(
        "retrieval",
        "own other view found (%)",
        "higher",
        "how many images have, as the nearest of all, their own other view; by chance 100 / images, so more means that "
        "the network tells the images apart whatever the augmentation does to them.",
    ),
    LabelFree(
        "rankme",
        "RankMe",
        "higher",
        "how many dimensions the representation really uses, at most its width or the number of images; a value far "
        "below the start's is dimensional collapse.",
    ),
    LabelFree(
        "feature_sd",
        "feature sd",
        "neither",
        "how far the directions of different images spread (the standard deviation over the images of each dimension "
        "of h scaled to length 1, its mean times the square root of the width): 0 is one direction for all (collapse), "
        "1 the most there can be, healthy networks have about 0.5 to 0.8.",
    ),
    LabelFree(
        "alignment",
        "alignment",
        "neither",
        "how far apart two views of one image lie on the sphere, 0 to 4: small is good only where different images are "
        "not close together too.",
    ),
    LabelFree(
        "uniformity",
        "uniformity",
        "neither",
        "how evenly different images lie on the sphere: 0 is all at one point (collapse), about -4 as even as can be.",
    ),
)


def meanings(images: int | None = None) -> dict[str, str]:
    """The sentence for each name. `images`: the number measured on, where it is known and one for all."""
    chance = f"{100 / images:.2g} (one of {images})" if images else CHANCE
    return {measure.name: measure.meaning.replace(CHANCE, chance) for measure in MEASURES}


GAP = (
    "how differently student and teacher represent the same view, as 1 - cos: 0 is not at all. A small one alone "
    "proves nothing, since collapse has it too; read it beside the other view of the image and other images."
)
"""What the gap says."""
