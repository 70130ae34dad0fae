"""Which curves are shown, and each as plain values that the page's script draws."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from resmom.diagnose.labelfree import GAP, MEASURES
from resmom.report.contents import Line, RunRecord
from resmom.report.curves import DENSE, Series, extremes, series, smoothed, thinned
from resmom.report.numbers import percent, plain, small

Stroke = Literal["solid", "dash", "dot"]


@dataclass(frozen=True)
class Curve:
    """What is drawn of every run in a chart: a value of the lines of a kind, with a name and a stroke of its own."""

    kind: str
    key: str
    words: str
    stroke: Stroke = "solid"


@dataclass(frozen=True)
class Chart:
    """A chart: what it shows, how to read it, and its curves. `logarithmic` where a range is wide enough to need it."""

    title: str
    note: str
    curves: tuple[Curve, ...]
    logarithmic: bool = False
    digits: Callable[[float | None], str] = plain
    from_zero: bool = False


@dataclass(frozen=True)
class Section:
    """Charts that belong together, under a heading."""

    title: str
    charts: tuple[Chart, ...]
    note: str = ""
    """How to read them all."""


@dataclass(frozen=True)
class Drawn:
    """A chart that has points. `traces` are plain values for the script; `words` tells its ends to who cannot see it;
    `note` is the chart's, with what was left out."""

    chart: Chart
    number: int
    traces: Sequence[dict[str, Any]]
    note: str
    words: str
    logarithmic: bool
    over: str = "epochs"


SITES = (
    ("h", "representation"),
    ("z", "projection"),
    ("p", "prediction; the teacher is read at z"),
    ("logits", "similarities to the prototypes"),
    ("dense/h", "representation, place by place"),
    ("dense/z", "dense projection, place by place"),
)


def _networks(kind: str, end: str = "") -> tuple[Curve, ...]:
    return (Curve(kind, f"student{end}", "student"), Curve(kind, f"teacher{end}", "teacher", "dash"))


def _gaps(kind: str) -> tuple[Chart, ...]:
    return tuple(
        Chart(
            f"Gap at {site}",
            f"1 − cos between student and teacher, {words}.",
            (
                Curve(kind, f"gap/{site}/intra", "same view"),
                Curve(kind, f"gap/{site}/inter", "other view", "dash"),
                Curve(kind, f"gap/{site}/chance", "other image", "dot"),
            ),
            from_zero=True,
        )
        for site, words in SITES
    )


def _sentence(meaning: str) -> str:
    return meaning[0].upper() + meaning[1:]


SECTIONS = (
    Section(
        "What the networks know",
        (
            Chart("kNN", "Top-1 on clean images, %.", _networks("knn"), digits=percent),
            Chart("Online classifier", "Top-1 of the linear layer trained beside the student, %.",
                  (Curve("online", "student", "student"),), digits=percent),
            *(Chart(m.name[0].upper() + m.name[1:], _sentence(m.meaning), _networks("health", f"/{m.key}"),
                    digits=percent if "%" in m.name else plain) for m in MEASURES),
        ),
    ),
    Section(
        "Loss",
        (
            Chart("Loss of the method", "What the method itself minimises. Dotted: a network that knows nothing.",
                  (Curve("train", "loss/method", "loss"), Curve("train", "loss/chance", "chance", "dot"))),
            Chart("Residual term", "Before its weight.", (Curve("train", "loss/residual", "residual term"),)),
        ),
    ),
    Section("The gap while training", _gaps("train"), f"The gap is {GAP}"),
    Section("The gap in evaluation mode", _gaps("health"), f"The gap is {GAP}"),
    Section(
        "The course of training",
        (
            Chart("Gradient norm", "Before clipping.", (Curve("train", "grad_norm", "gradient norm"),), True),
            Chart("Learning rate", "After scaling by the batch.", (Curve("train", "lr", "learning rate"),)),
            Chart("Momentum of the teacher", "1 leaves it where it is.", (Curve("train", "momentum", "momentum"),)),
            Chart("Images per second", "Since the start of the process.",
                  (Curve("train", "images_per_second", "images/s"),)),
        ),
    ),
)  # fmt: skip


def drawn(runs: Sequence[RunRecord]) -> list[tuple[Section, list[Drawn]]]:
    """All charts that have two points or more in some run, by section; sections without one are left out."""
    found = []
    number = 0
    for section in SECTIONS:
        own = []
        for chart in section.charts:
            made = draw(chart, [Source(n, run.name, run.lines) for n, run in enumerate(runs)], number)
            if made is not None:
                own.append(made)
                number += 1
        if own:
            found.append((section, own))
    return found


@dataclass(frozen=True)
class Source:
    """Whose lines are drawn: its number among the page's colours, its name, and a stroke that is its own in any curve.

    `over` is what its lines' `epoch` counts.
    """

    index: int
    name: str
    lines: Sequence[Line]
    stroke: Stroke | None = None
    over: str = "epochs"


def draw(chart: Chart, sources: Sequence[Source], number: int) -> Drawn | None:
    """A chart of those sources that have two points or more; None if no source has."""
    traces, words, broken, values = [], [], 0, []
    for source in sources:
        for curve in chart.curves:
            whole = series(source.lines, curve.kind, curve.key)
            if len(whole) - whole.broken < 2:
                broken += whole.broken
                continue
            broken += whole.broken
            finite = [value for value in whole.values if math.isfinite(value)]
            values += finite
            words.append(
                f"{source.name}, {curve.words}: from {chart.digits(finite[0])} to {chart.digits(finite[-1])}, "
                f"{source.over} {plain(whole.epochs[0])} to {plain(whole.epochs[-1])}"
            )
            traces += _traces(source, curve, whole)
    if not traces:
        return None
    note = chart.note
    if broken:
        note += f" Left out: {small(broken, 'value')} that {'was' if broken == 1 else 'were'} not finite."
    low, high = min(values), max(values)
    return Drawn(
        chart,
        number,
        traces,
        note,
        f"{chart.title}. {'; '.join(words)}.",
        chart.logarithmic and low > 0 and high > 20 * low,
        sources[0].over,
    )


def _traces(source: Source, curve: Curve, whole: Series) -> list[dict[str, Any]]:
    """The line, and faint behind it what was measured where the line is smoothed."""
    stroke = source.stroke or curve.stroke
    about = {"run": source.index, "name": f"{source.name} · {curve.words}", "stroke": stroke}
    flat = len(set(whole.values)) == 1
    if curve.kind != "train" or len(whole) < DENSE or flat or curve.key in ("lr", "momentum"):
        shown = whole.picked([0, len(whole) - 1]) if flat and curve.stroke == "dot" else thinned(whole)
        return [{**about, "faint": False, "marked": len(shown) <= 12 and not flat, **_points(shown)}]
    behind = [{**about, "faint": True, "marked": False, **_points(extremes(whole))}] if stroke == "solid" else []
    return [*behind, {**about, "faint": False, "marked": False, **_points(thinned(smoothed(whole)))}]


def _points(shown: Series) -> dict[str, Any]:
    """Rounded to what an eye or a hover can tell; None is a hole."""
    return {
        "x": [_rounded(epoch) for epoch in shown.epochs],
        "y": [_rounded(value) for value in shown.values],
        "step": list(shown.steps),
    }


def _rounded(value: float) -> float | None:
    return float(f"{value:.5g}") if math.isfinite(value) else None
