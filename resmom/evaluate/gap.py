"""The gap in evaluation mode. It is another quantity than the gap of training, which sees batch statistics."""

from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from resmom.diagnose.gap import Gap, GapSums, gap_sums
from resmom.evaluate.features import frozen
from resmom.nets.layers import reading
from resmom.types import Encoding
from resmom.which import Site


@dataclass(frozen=True)
class NetworkGap:
    """The gap at each site, h, z and, where the student predicts, p; and at each layer of the backbone, by depth.

    Of a method that learns places also `dense/h` and `dense/z`, place by place.
    """

    sites: dict[str, Gap]
    layers: dict[str, Gap]


def network_gap(
    student: nn.Module,
    teacher: nn.Module,
    batches: Iterable[Sequence[Float[Tensor, "n c _ _"]]],
    layers: bool = False,
) -> NetworkGap:
    """The gap between two networks (view -> Encoding, with a `backbone`) over all batches, each a view per entry.

    Both are set to evaluation mode meanwhile; running statistics are used and not changed. Of every batch only sums are
    kept, so the number of images costs no memory. Raises UserError for fewer than two images.
    """
    sites: dict[str, GapSums] = {}
    by_layer: dict[str, GapSums] = {}
    with frozen(student), frozen(teacher):
        for views in batches:
            said, inside = _encode(student, views, layers)
            taught, target = _encode(teacher, views, layers)
            for name, found in (site_sums(said, taught) | place_sums(said, taught)).items():
                sites[name] = sites[name].plus(found) if name in sites else found
            for name in inside[0]:
                found = gap_sums([rows[name] for rows in inside], [rows[name] for rows in target])
                by_layer[name] = by_layer[name].plus(found) if name in by_layer else found
    return NetworkGap(
        {site: sums.gap() for site, sums in sites.items()}, {name: sums.gap() for name, sums in by_layer.items()}
    )


def site_sums(student: Sequence[Encoding], teacher: Sequence[Encoding], places: int = 1) -> dict[str, GapSums]:
    """What some images add to the gap at every site; an encoding of them per view (at p the teacher is read at z).

    With `places` an image has that many rows in each, one after the other.
    """
    sums = {}
    for site in student[0].sites:
        partner: Site = "z" if site == "p" else site
        sums[str(site)] = gap_sums([e.at(site) for e in student], [e.at(partner) for e in teacher], places)
    return sums


def place_sums(student: Sequence[Encoding], teacher: Sequence[Encoding]) -> dict[str, GapSums]:
    """The same place by place, as `dense/SITE`, of encodings that have places; nothing of others."""
    ours, theirs = ([e.places for e in said if e.places is not None] for said in (student, teacher))
    dense = site_sums(ours, theirs, student[0].per_image) if ours else {}
    return {f"dense/{site}": sums for site, sums in dense.items()}


def _encode(
    network: nn.Module, views: Sequence[Tensor], layers: bool
) -> tuple[list[Encoding], list[dict[str, Tensor]]]:
    """What a network says of each view, and what its layers do, if asked for."""
    backbone: nn.Module = network.backbone  # type: ignore[assignment]
    encodings, inside = [], []
    with reading(backbone) if layers else nullcontext(dict[str, Tensor]()) as read:
        for view in views:
            encodings.append(network(view))
            inside.append(dict(read))
    return encodings, inside
