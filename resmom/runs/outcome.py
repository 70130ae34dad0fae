"""Before against after: what a run made of the network it started from."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from resmom.diagnose.labelfree import MEASURES, Better
from resmom.diagnose.noise import images_of, noise
from resmom.report.numbers import small
from resmom.which import Network

KNN = "kNN top-1 (%)"


@dataclass(frozen=True)
class Change:
    """One quantity of one network at the start and at the newest measurement. `better` says which way is good.

    `before` is None where the run kept no measurement of its start.
    """

    quantity: str
    network: Network
    before: float | None
    after: float
    better: Better
    protocol: str


def before_after(lines: Sequence[Mapping[str, Any]]) -> list[Change]:
    """kNN where there are labels, then the label-free measures, from the lines of metrics.jsonl.

    Both networks are equal at the start. Quantities without a finite newest value are left out.
    """
    changes = []
    networks: tuple[Network, ...] = ("student", "teacher")
    knn = [line for line in lines if line["kind"] == "knn"]
    health = [line for line in lines if line["kind"] == "health"]
    for network in networks:
        changes += _change(knn, network, KNN, network, "higher")
    for measure in MEASURES:
        for network in networks:
            changes += _change(health, f"{network}/{measure.key}", measure.name, network, measure.better)
    return changes


def _change(
    lines: Sequence[Mapping[str, Any]],
    key: str,
    quantity: str,
    network: Network,
    better: Better,
) -> list[Change]:
    known = [line for line in lines if math.isfinite(line.get(key, math.nan))]
    if not known or known[-1]["step"] == 0:
        return []
    first, last = known[0], known[-1]
    before = first[key] if first["step"] == 0 else None
    return [Change(quantity, network, before, last[key], better, str(last.get("protocol", "")))]


def gain(changes: Sequence[Change]) -> str:
    """Whether kNN of the student says that it has learned, in a sentence; empty where nobody knows."""
    for change in changes:
        images = images_of(change.protocol)
        if change.quantity != KNN or change.network != "student" or change.before is None or images is None:
            continue
        points, limit = change.after - change.before, noise((change.before, change.after), images)
        of = f"the noise of {small(images, 'test image')} is {limit:.1f}"
        if abs(points) <= limit:
            return f"whether the student has learned cannot be told: its kNN changed by {points:+.1f} points, and {of}"
        if points > 0:
            return f"the student has learned: its kNN rose by {points:.1f} points, and {of}"
        return f"the student is worse than before: its kNN fell by {-points:.1f} points, and {of}"
    return ""


def table(changes: Sequence[Change]) -> str:
    """The changes as lines of text, the two networks side by side; the student alone if there is no teacher."""
    alone = bool(changes) and all(change.network == "student" for change in changes)
    networks: tuple[Network, ...] = ("student",) if alone else ("student", "teacher")
    rows: list[tuple[str, ...]] = [("", "before", *(f"{network} after" for network in networks))]
    for quantity in dict.fromkeys(change.quantity for change in changes):
        own = {change.network: change for change in changes if change.quantity == quantity}
        before = next((change.before for change in own.values() if change.before is not None), None)
        after = [own[n].after if n in own else None for n in networks]
        rows.append((quantity, *(("-" if value is None else f"{value:.4g}") for value in (before, *after))))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        f"{row[0]:<{widths[0]}}"
        + "".join(f"  {cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True))
        for row in rows
    )
