"""Which network of a run to keep: student or teacher, of which checkpoint, which layer and pooling. By evidence."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from resmom.diagnose.noise import noise, noise_words
from resmom.export.choice import Preference
from resmom.jsonfiles import read_object
from resmom.which import Network

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
class LeftOut:
    """What was no candidate, and why: some of a network, or all of it without `features`."""

    network: Network
    step: int
    features: str = ""
    why: str = "features that are not finite"

    @property
    def words(self) -> str:
        return f"the {self.network} of step {self.step}" + (f", features '{self.features}'" if self.features else "")


@dataclass(frozen=True)
class Picked:
    """The entry to keep, and why. `decided`: whether its network is preferred, being better than all that the other one
    has by more than noise; of one network alone, whether the entry is clearly better than its last `h`."""

    entry: Entry
    decided: bool
    why: str


@dataclass(frozen=True)
class Measured:
    """A network of a checkpoint: its candidate with the default features, and its best."""

    default: Entry
    best: Entry


def best_of(entries: Sequence[Entry]) -> Entry:
    """The best linear probe; of equals that with the lower cross-entropy, then with the better kNN, then the first."""
    return max(entries, key=lambda e: (e.linear, -e.loss, e.knn))


def by_network(entries: Sequence[Entry]) -> list[Measured]:
    """The candidates in short, one line for each network of each checkpoint, in the order of `entries`."""
    own: dict[tuple[Network, int], list[Entry]] = {}
    for entry in entries:
        own.setdefault((entry.network, entry.step), []).append(entry)
    return [Measured(next(e for e in group if e.features == DEFAULT), best_of(group)) for group in own.values()]


def pick(entries: Sequence[Entry], held: int) -> Picked:
    """The best linear probe, if it beats the default by more than noise on `held` images; else the default.

    The default is `h` of the last step, the student's where there is one. Equals as in `best_of`. Raises ValueError for
    no entries.
    """
    if not entries:
        raise ValueError("there is nothing to choose from; measure at least one network of one checkpoint")
    last = max(entry.step for entry in entries)
    usual = [e for e in entries if e.step == last and e.features == DEFAULT]
    default = min(usual, key=lambda e: e.network != "student")
    best = best_of(entries)
    told = f"a linear probe reached {best.linear:.2f} % on {held} held-out training images"
    if best is default:
        why = f"{told[0].upper()}{told[1:]}, the best of {len(entries)} candidates."
        return _weighed(Picked(best, False, why), entries, held, (best,))
    points = noise((best.linear, default.linear), held)
    margin = best.linear - default.linear
    beside = f"{told}, the best of {len(entries)} candidates, beside {default.linear:.2f} % of {default.words}"
    compared = f"{margin:.2f} points are {'within' if margin <= points else 'more than'} {noise_words(points, held)}"
    if margin <= points:
        same = "No difference that these images can tell, so the last network is kept."
        why = f"With {best.words}, {beside}: {compared}. {same}"
        return _weighed(Picked(default, False, why), entries, held, (best, default))
    why = f"{beside[0].upper()}{beside[1:]}: {compared}."
    return _weighed(Picked(best, True, why), entries, held, (best, default))


def _weighed(picked: Picked, entries: Sequence[Entry], held: int, told: Sequence[Entry]) -> Picked:
    """With whether the entry beats the best of the other network, where that was measured, and the words for it.

    `told` are the entries that the reason speaks of already.
    """
    others = [e for e in entries if e.network != picked.entry.network]
    if not others:
        return picked
    other = best_of(others)
    points = noise((picked.entry.linear, other.linear), held)
    margin = picked.entry.linear - other.linear
    decided = margin > points
    if other in told:
        return replace(picked, decided=decided)
    size = f"{abs(margin):.2f} points are {'more than' if decided else 'within'} {noise_words(points, held)}"
    return replace(
        picked,
        decided=decided,
        why=f"{picked.why} Beside {other.linear:.2f} %, the best of the {other.network}: {size}.",
    )


def content(
    picked: Picked,
    entries: Sequence[Entry],
    held: int,
    test: Mapping[str, Any],
    environment: Mapping[str, Any],
    refused: str = "",
    short: str = "",
    left_out: Sequence[LeftOut] = (),
) -> dict[str, Any]:
    """What choice.json says; `refused`, `short` and `left_out` as in `sentence`."""
    entry = picked.entry
    return {
        "format": FORMAT,
        "network": entry.network,
        "step": entry.step,
        "features": entry.features,
        "decided": picked.decided,
        "sentence": sentence(picked, float(test["top1"]), str(test["data"]), refused, short, left_out),
        "test": dict(test),
        "held_out": held,
        "last_step": max([e.step for e in entries] + [e.step for e in left_out]),
        "candidates": [asdict(e) for e in entries],
        "left_out": [asdict(e) for e in left_out],
        "environment": dict(environment),
    }


def sentence(
    picked: Picked, test: float, data: str, refused: str = "", short: str = "", left_out: Sequence[LeftOut] = ()
) -> str:
    """The advice, its evidence, and what the chosen one alone reached on the test images of `data`.

    `refused` says why the network picked should not be used at all, if it should not; `short` that its run was too
    short to tell. What was `left_out` is named.
    """
    entry = picked.entry
    start = f"Keep none of them. {refused} The best is {entry.words}" if refused else f"Keep {entry.words}"
    told = f"{start}. {picked.why} On the test images of {data}, which had no part in this: {test:.2f} %."
    return " ".join(filter(None, (told, short, *_without(left_out))))


def _without(left_out: Sequence[LeftOut]) -> list[str]:
    """A sentence for each reason why something is no candidate, with all that it is the reason for."""
    reasons = dict.fromkeys(each.why for each in left_out)
    named = {why: "; ".join(each.words for each in left_out if each.why == why) for why in reasons}
    return [f"Left out, for {why}: {words}." for why, words in named.items()]


def read_choice(path: Path) -> dict[str, Any] | None:
    """What choice.json says; None where there is none, or one of another format."""
    choice = read_object(path) if path.exists() else {}
    return choice if choice.get("format") == FORMAT else None


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
