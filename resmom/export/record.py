"""What a run's own records say, as the plain values that the model card is made of."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from resmom.data.open import short_name
from resmom.diagnose.noise import Both, images_of
from resmom.diagnose.rules import findings, too_short
from resmom.export.card import GapNumbers, Rows
from resmom.export.choice import Evidence
from resmom.methodnames import METHOD_NAMES
from resmom.nets.norms import Normed
from resmom.types import GAP_SITES

Line = Mapping[str, Any]


def settings(
    run: Line,
    teacher: bool = True,
    own: Mapping[str, str] | None = None,
    resampled: str = "",
    where: Normed | None = None,
) -> Rows:
    """The settings that matter, from a run's configuration as plain values.

    `own` names the parts that were given from Python, which the configuration says nothing of; `resampled` says what
    became of the positions in the file that the run started from, where they were of another grid; `where` the teacher
    has BatchNorm: None, not known.
    """
    given = {part: f"{name}, given from Python" for part, name in (own or {}).items()}
    train, residual, optim, policy = run["train"], run["residual"], run["optim"], run["policy"]
    unit = "steps" if train["steps"] else "epochs"
    length, warmup = _many(train[unit], unit), _many(train[f"warmup_{unit}"], unit)
    term = (
        f"weight {residual['weight']:g} ({residual['schedule']}), {residual['distance']} at site {residual['site']}, "
        f"{residual['pairing']} view" + ("" if residual["pairs"] == "all" else f", {residual['pairs']} pairs only")
    )
    return [
        ("recipe", run["recipe"]),
        ("method", given.get("method") or _fields(run["method"])),
        ("residual momentum", term if residual["weight"] else "off"),
        ("backbone", given.get("backbone") or _fields(run["backbone"])),
        ("started from", _start(run["init"], resampled)),
        ("length, batch", f"{length}, {train['batch']} images a step"),
        ("optimiser", f"{_fields(optim)}; the rate is per 256 images; warm-up {warmup}, then {_decline(train)}"),
        ("teacher", _teacher(run["ema"], where) if teacher else "none"),
        *_views(policy),
        *_growth(train),
        ("precision, seed", f"{train['precision']}, {train['seed']}"),
    ]


def _start(file: str, resampled: str) -> str:
    return "; ".join(filter(None, [PurePath(file).name, resampled])) if file else "random weights"


def _views(policy: Line) -> Rows:
    """A row for each run of equal views: what may happen to them, in the order in which it does."""
    rows, first = [], 1
    for words, group in itertools.groupby(map(_view, policy["views"])):
        last = first + len(list(group)) - 1
        joint = "and" if last == first + 1 else "to"
        rows.append((f"view {first}" if first == last else f"views {first} {joint} {last}", words))
        first = last + 1
    return rows


def _growth(train: Line) -> Rows:
    """How the views grow. Runs of earlier versions have no such setting."""
    if not train.get("sizes"):
        return []
    shares = ", ".join(f"{share:.3g}" for share in train["sizes"])
    return [("sides of the views", f"{shares} of these pixels, each for an equal part of the steps")]


def _view(view: Line) -> str:
    """A view in words: steps of no effect are left out."""
    low, high = view["scale"]
    parts = [f"{view['size']} pixels ({view['interpolation']}) of a crop of {low:g} to {high:g} of the area"]
    if view["flip"]:
        parts.append(f"flipped {_often(view['flip'])}")
    parts += _orientation(view)
    shifts = [f"{name} {view[name]:g}" for name in ("brightness", "contrast", "saturation", "hue") if view[name]]
    if view["jitter"] and shifts:
        parts.append(f"jitter of {', '.join(shifts)} {_often(view['jitter'])}")
    if view["grey"]:
        parts.append(f"grey {_often(view['grey'])}")
    if view["blur"]:
        low, high = view["sigma"]
        parts.append(f"blurred by {low:g} to {high:.3g} pixels {_often(view['blur'])}")
    if view["solarise"]:
        parts.append(f"solarised {_often(view['solarise'])}")
    return "; ".join(parts)


def _orientation(view: Line) -> list[str]:
    """Vertical flips and turns in words. Views of runs of earlier versions have none."""
    parts = []
    if view.get("flip_vertical"):
        parts.append(f"flipped top to bottom {_often(view['flip_vertical'])}")
    if view.get("quarter_turns"):
        parts.append(f"turned by a multiple of 90 degrees {_often(view['quarter_turns'])}")
    if view.get("rotation"):
        parts.append(f"rotated by up to {view['rotation']:g} degrees")
    return parts


def _often(probability: float) -> str:
    return "always" if probability == 1 else f"in {probability:.0%}"


def _many(value: float, unit: str) -> str:
    """12,000 steps; 1 epoch"""
    return f"{value:{',' if isinstance(value, int) else 'g'}} {unit.removesuffix('s') if value == 1 else unit}"


def _decline(train: Line) -> str:
    """How the rate falls. Runs of earlier versions have no drops."""
    if not train.get("drops"):
        return f"half a cosine to {train['final_lr']:g}"
    shares = " and ".join(f"{share:.4g}" for share in train["drops"])
    return f"times {train['drop_factor']:g} from {shares} of the run on"


def _teacher(ema: Line, where: Normed | None) -> str:
    way = f"to {ema['final']:g} ({ema['schedule']})" if ema["schedule"] != "constant" else "throughout"
    averaged = "backbone and projector" if ema["part"] == "all" else "projector only, the backbone is the student's"
    return f"momentum {ema['momentum']:g} {way}; averaged: {averaged}{_statistics(ema, where)}"


def _statistics(ema: Line, where: Normed | None) -> str:
    """What becomes of the teacher's BatchNorm; nothing where it has none."""
    if where is not None and not where.anywhere:
        return ""
    whose = "" if where is None or where.backbone else ", which its projector alone has"
    return f"; batch statistics: {ema['batch_norm']}{whose}"


def _fields(part: Line) -> str:
    values = ", ".join(f"{name} {_plain(value)}" for name, value in part.items() if name != "kind")
    kind = METHOD_NAMES.get(part["kind"], str(part["kind"]))
    return f"{kind} ({values})" if values else kind


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return "-".join(map(_plain, value)) if isinstance(value, list | tuple) else str(value)


def data(written: Line, per_epoch: int | None, batch: int) -> Rows:
    """The images, from run.json. A path is cut to its last part: a card may be published, a home folder need not be."""
    name = short_name(str(written["data"]))
    if "images" in written:
        number = f"{written['images']:,}"
    else:
        number = "not recorded" if per_epoch is None else f"at least {per_epoch * batch:,}"
    rows = [("data", name), ("images", number)]
    return [*rows, ("splits", str(written["origin"]))] if "origin" in written else rows


def machine(starts: Sequence[Line], lines: Sequence[Line]) -> Rows:
    """Machine, versions and time, from environment.jsonl and the training lines."""
    if not starts:
        return [("records", "none")]
    last = starts[-1]
    device = (
        ", ".join(last["gpu"])
        if last["gpu"]
        else f"{last['cpu']}, {_many(last['cores'], 'cores')}, {_many(last['threads'], 'threads')}"
    )
    versions = ", ".join(f"{name} {number}" for name, number in last["packages"].items())
    rows = [
        ("started", ", ".join(str(start["time"]) for start in starts)),
        ("processor", device if last["world"] == 1 else f"{device}; {last['world']} processes"),
        ("resmom", f"{last['resmom']}, commit {last['commit'] or 'not known'}"),
        ("versions", f"Python {last['python']}, {versions}"),
    ]
    seconds = trained_seconds(lines)
    return rows if seconds is None else [*rows, ("time in the training loop", _hours(seconds))]


def trained_seconds(lines: Sequence[Line], clock: str = "elapsed_seconds") -> float | None:
    """Seconds by a clock at the last of these lines, as of `Trained`; None if no line has them."""
    trained = Trained(clock)
    known = [trained.at(line) for line in lines if clock in line]
    return known[-1] if known else None


class Trained:
    """Seconds by a clock up to a line, over all starts of the process, each of which counts from 0."""

    def __init__(self, clock: str = "elapsed_seconds") -> None:
        self._clock, self._before, self._now = clock, 0.0, 0.0

    def at(self, line: Line) -> float:
        """Ask for every line, in the order of the file. A line without the clock has the time of the one before it."""
        now = line.get(self._clock)
        if now is not None:
            if now < self._now:
                self._before += self._now
            self._now = now
        return self._before + self._now


def _hours(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


def newest(lines: Sequence[Line], kind: str) -> Line:
    """The last line of a kind; an empty one if there is none."""
    return next((line for line in reversed(lines) if line["kind"] == kind), {})


def when(lines: Sequence[Line]) -> str:
    """The steps of the newest measurements, in words."""
    steps = {kind: newest(lines, kind).get("step") for kind in ("knn", "online", "health")}
    return ", ".join(f"{kind} at step {step}" for kind, step in steps.items() if step is not None)


def gaps(health: Line) -> list[GapNumbers]:
    """The gaps of a health line, at each site that it has."""
    found = []
    for site in GAP_SITES:
        intra, inter, chance = (health.get(f"gap/{site}/{kind}") for kind in ("intra", "inter", "chance"))
        if intra is not None and chance is not None:
            found.append(GapNumbers(site, float(intra), None if inter is None else float(inter), float(chance)))
    return found


def evidence(lines: Sequence[Line], steps: int, step: int, where: Normed | None = None) -> Evidence:
    """What speaks for or against the networks at `step` of `steps` planned ones, by the lines up to there: the newest
    kNN and health after training began, and what the rules find. `where` the network has BatchNorm: None, not known."""
    trained = [line for line in lines if line["step"] > 0]
    start = {line["kind"]: line for line in lines if line["kind"] in ("knn", "health") and line["step"] == 0}
    knn, health = newest(trained, "knn"), newest(trained, "health")
    return Evidence(
        knn=_both(knn, ""),
        queries=images_of(str(knn.get("protocol", ""))),
        retrieval=_both(health, "/retrieval"),
        views=health.get("images"),
        rankme=_both(health, "/rankme"),
        start_share=health.get("start_share"),
        knn_before=start.get("knn", {}).get("student"),
        retrieval_before=start.get("health", {}).get("student/retrieval"),
        findings=findings(lines, steps),
        short=too_short(step, None if where is None else where.backbone),
    )


def _both(line: Line, end: str) -> Both | None:
    names = (f"student{end}", f"teacher{end}")
    return (float(line[names[0]]), float(line[names[1]])) if all(name in line for name in names) else None
