"""The gap between a run's student and teacher, measured in evaluation mode on stated views."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor, nn

from resmom.data.open import open_data
from resmom.data.source import Source
from resmom.diagnose.gap import gaps
from resmom.errors import UserError
from resmom.evaluate.features import encodings
from resmom.runs.evaluate import Loaded, load_run
from resmom.runs.job import CHUNK, thinned
from resmom.types import Encoding, Pair, Site
from resmom.views.apply import views


@dataclass(frozen=True)
class GapRow:
    """Mean 1 - cos between student and teacher at a site: same view, other view, other image."""

    site: Site
    intra: float
    inter: float
    chance: float


@dataclass(frozen=True)
class GapResult:
    """The rows and how they were measured."""

    rows: tuple[GapRow, ...]
    protocol: str
    step: int


def gap(path: Path, data: str | None = None, images: int = 2048, device: str = "auto") -> GapResult:
    """Gaps at every site on at most `images` training images, each in two augmented views, networks in eval mode.

    Not to be compared with the gaps in metrics.jsonl, which are of training mode. Raises UserError as `evaluate` does.
    """
    if images < 2:
        raise UserError(f"--images is {images}; the chance gap compares different images, so give at least 2")
    loaded = load_run(path, device)
    source = thinned(open_data(data or loaded.data).train, images)
    student, teacher = (_encode(loaded, source, network) for network in (loaded.method.student, loaded.method.teacher))
    pairs = [Pair("global", s, t, bank=t) for s, t in zip(student, teacher, strict=True)]
    sites: list[Site] = ["h", "z"] if pairs[0].student.p is None else ["h", "z", "p"]
    rows = []
    for site in sites:
        found = gaps(pairs, site)
        inter = float("nan") if found.inter is None else found.inter.item()
        rows.append(GapRow(site, found.intra.item(), inter, found.chance.item()))
    protocol = f"gap-v1 (eval mode, two augmented views of the recipe, {len(source)} training images)"
    return GapResult(tuple(rows), protocol, loaded.step)


def _encode(loaded: Loaded, source: Source, network: nn.Module) -> list[Encoding]:
    """One encoding per view, of all images."""

    def view(number: int) -> Iterator[Tensor]:
        for start in range(0, len(source), CHUNK):
            index = np.arange(start, min(start + CHUNK, len(source)))
            made = views(source.read(index), index, loaded.run.policy, loaded.run.train.seed, epoch=0)
            yield made[number].to(loaded.device)

    return [encodings(network, view(number)) for number in range(len(loaded.run.policy.views))]
