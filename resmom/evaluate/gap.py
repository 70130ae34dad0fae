"""The gap in evaluation mode. It is another quantity than the gap of training, which sees batch statistics."""

from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from resmom.diagnose.gap import Gap, GapSums, gap_sums
from resmom.evaluate.features import frozen
from resmom.nets.layers import reading
from resmom.types import Encoding, Site


@dataclass(frozen=True)
class NetworkGap:
    """The gap at each site, h, z and, where the student predicts, p; and at each layer of the backbone, by depth."""

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
    sites: dict[Site, GapSums] = {}
    by_layer: dict[str, GapSums] = {}
    with frozen(student), frozen(teacher):
        for views in batches:
            said, inside = _encode(student, views, layers)
            taught, target = _encode(teacher, views, layers)
            for site in said[0].sites:
                partner: Site = "z" if site == "p" else site
                found = gap_sums([e.at(site) for e in said], [e.at(partner) for e in taught])
                sites[site] = sites[site].plus(found) if site in sites else found
            for name in inside[0]:
                found = gap_sums([rows[name] for rows in inside], [rows[name] for rows in target])
                by_layer[name] = by_layer[name].plus(found) if name in by_layer else found
    return NetworkGap(
        {site: sums.gap() for site, sums in sites.items()}, {name: sums.gap() for name, sums in by_layer.items()}
    )


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
