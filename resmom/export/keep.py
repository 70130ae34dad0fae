"""Which network of a run to keep: student or teacher, of which checkpoint, which layer and pooling. By evidence."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from resmom.export.choice import Preference, standard_error
from resmom.types import Network

FORMAT = 1
"""Of choice.json."""
DEFAULT = "h"
"""The features that are meant where nothing is said."""


@dataclass(frozen=True)
class Entry:
    """One candidate, with its accuracies in percent on held-out training images, and the linear probe's setting."""

    network: Network
    step: int
    features: str
    knn: float
    linear: float
    loss: float
    """Cross-entropy of the linear probe, which tells equals apart."""
    lr: float
    weight_decay: float

    @property
    def words(self) -> str:
        return f"the {self.network} of step {self.step}, features '{self.features}'"


@dataclass(frozen=True)
class Picked:
    """The entry to keep, and why; `decided` is False where nothing is clearly better than the last student's `h`."""

    entry: Entry
    decided: bool
    why: str


def pick(entries: Sequence[Entry], held: int) -> Picked:
    """The best linear probe, if it beats the default by more than a standard error on `held` images; else the default.

    The default is `h` of the last step, the student's where there is one. Equals: lower cross-entropy, then better kNN,
    then the earlier entry. Raises ValueError for no entries.
    """
    if not entries:
        raise ValueError("there is nothing to choose from; measure at least one network of one checkpoint")
    last = max(entry.step for entry in entries)
    usual = [e for e in entries if e.step == last and e.features == DEFAULT]
    default = min(usual, key=lambda e: e.network != "student")
    best = max(entries, key=lambda e: (e.linear, -e.loss, e.knn))
    told = f"a linear probe reached {best.linear:.2f} % on {held} held-out training images"
    if best is default:
        return Picked(best, True, f"{told}, the best of {len(entries)} candidates.")
    error = standard_error((best.linear, default.linear), held)
    margin = best.linear - default.linear
    beside = f"{told}, the best of {len(entries)} candidates, beside {default.linear:.2f} % of {default.words}"
    if margin <= error:
        within = f"within a standard error of the difference of at most about {error:.2f} points"
        return Picked(default, False, f"With {best.words}, {beside}: {within}. No candidate is clearly better.")
    times = f": {margin / error:.1f} times the standard error of the difference" if error else ""
    weak = " This is weak evidence for the best of many." if error and margin < 2 * error else ""
    return Picked(best, True, f"{beside[0].upper()}{beside[1:]}{times}.{weak}")


def content(
    picked: Picked, entries: Sequence[Entry], held: int, test: Mapping[str, Any], environment: Mapping[str, Any]
) -> dict[str, Any]:
    """What choice.json says."""
    entry = picked.entry
    return {
        "format": FORMAT,
        "network": entry.network,
        "step": entry.step,
        "features": entry.features,
        "decided": picked.decided,
        "sentence": sentence(picked, float(test["top1"])),
        "test": dict(test),
        "held_out": held,
        "last_step": max(e.step for e in entries),
        "candidates": [asdict(e) for e in entries],
        "environment": dict(environment),
    }


def sentence(picked: Picked, test: float) -> str:
    """The advice, its evidence, and what the chosen one alone reached on the test images."""
    return f"Keep {picked.entry.words}. {picked.why} On the test images, which had no part in this: {test:.2f} %."


def preference(choice: Mapping[str, Any]) -> Preference:
    """A choice.json as the model card's advice."""
    return Preference(choice["network"], choice["decided"], str(choice["sentence"]))


def rows(choice: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """The candidates as rows of a table: network, step, features, kNN, linear probe."""
    return [
        (e["network"], str(e["step"]), e["features"], f"{e['knn']:.2f}", f"{e['linear']:.2f}")
        for e in choice["candidates"]
    ]


HEAD = ("network", "step", "features", "kNN (%)", "linear probe (%)")
"""Of the table that `rows` fills."""
