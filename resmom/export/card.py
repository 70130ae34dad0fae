"""The model card: what a pair of exported files is, in Markdown. A pure function of plain values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

from resmom.diagnose.labelfree import GAP, meanings
from resmom.export.choice import Preference, advice
from resmom.export.keep import HEAD
from resmom.export.use import File, use
from resmom.protocols import chosen, shared_protocol
from resmom.views.policy import Interpolation
from resmom.which import Network

Rows = Sequence[tuple[str, str]]
"""Names and values, in the order of the page."""


@dataclass(frozen=True)
class Number:
    """One quantity at the start, where it was measured, and at the newest measurement, with its protocol."""

    quantity: str
    before: float | None
    student: float | None
    teacher: float | None
    protocol: str


@dataclass(frozen=True)
class GapNumbers:
    """Mean 1 - cos at a site: same view, other view (None place by place), different images."""

    site: str
    intra: float
    inter: float | None
    chance: float


@dataclass(frozen=True)
class Card:
    """All that the card says.

    `steps`: planned, None if not known. `measured`: at which steps. `evaluations`: network, images, top-1 with its
    spread, protocol. `unjudged`: what the rules could not look for. `teacher`: whether the run has one, exported or
    not. `width`: of h, as Python.
    """

    title: str
    made: str
    step: int
    steps: int | None
    data: Rows
    settings: Rows
    machine: Rows
    numbers: Sequence[Number]
    measured: str
    gaps: Sequence[GapNumbers]
    gap_protocol: str
    evaluations: Sequence[tuple[str, str, str, str]]
    findings: Sequence[str]
    unjudged: Sequence[str]
    teacher: bool
    preference: Preference
    mean: tuple[float, ...]
    std: tuple[float, ...]
    side: int
    resize: Interpolation
    width: str
    files: Mapping[Network, File]
    images: int | None = None
    """How many the label-free measures were taken on."""
    earlier: bool = False
    """Whether later weights exist, over which these were chosen."""
    candidates: Sequence[tuple[str, ...]] = ()
    """What the advice was chosen among, as `keep.rows` has it."""


def model_card(card: Card) -> str:
    """The whole page."""
    files = {str(network): file for network, file in card.files.items()}
    parts = [
        f"# {card.title}",
        f"{card.made} {_progress(card)}",
        *_which(card),
        *use(files, card.mean, card.std, card.side, card.resize, card.width),
        "## Data",
        _table(("", ""), card.data),
        "## How it was trained",
        _table(("setting", "value"), card.settings),
        *_measured(card),
        *_gaps(card),
        "## Findings",
        _findings(card),
        "## Machine, time, versions",
        _table(("", ""), card.machine),
        *_limits(),
    ]
    return "\n\n".join(parts) + "\n"


def _progress(card: Card) -> str:
    if card.earlier:
        return f"These are its weights after {card.step} steps, chosen over those of other steps: see below."
    if card.steps is None:
        return f"These are its weights after {card.step} steps."
    if card.step < card.steps:
        return f"These are its weights after {card.step} of {card.steps} planned steps: **the run was not finished**."
    return f"These are its weights after all {card.step} steps."


def _which(card: Card) -> list[str]:
    headline, why = advice(card.preference, card.files, card.teacher)
    told = " ".join(part for part in (f"**{headline}**" if headline else "", why) if part)
    if not card.teacher:
        parts = ["## One network", "This method has no teacher: there is the student's backbone only.", told]
    else:
        parts = ["## Which of the two networks" if len(card.files) > 1 else "## Which network this is", told]
    if not card.candidates:
        return [part for part in parts if part]
    told = (
        "`h` is what the files below give; other features are outputs of the named layer, pooled as said, which "
        "`resmom embed RUN --layer NAME` writes."
    )
    return [*parts, f"{told} All {len(card.candidates)} candidates stand under *What was measured*."]


def _findings(card: Card) -> str:
    found = [f"- {finding}" for finding in card.findings]
    if not found and not card.unjudged:
        return "None of the rules found anything wrong (collapse, a loss at chance, a frozen teacher, divergence)."
    return "\n".join([*found, *(f"- **not judged**: {sentence}" for sentence in card.unjudged)])


def _measured(card: Card) -> list[str]:
    parts = ["## What was measured"]
    if not card.numbers and not card.evaluations:
        return [*parts, "Nothing."]
    if card.numbers:
        both = card.teacher
        head = ("quantity", "at the start", "student", "teacher", "protocol")
        rows = [
            (n.quantity, _number(n.before), _number(n.student), _number(n.teacher), n.protocol) for n in card.numbers
        ]
        start = " At the start both networks are equal." if both else ""
        parts += [
            f"During training, the newest measurement up to this step ({card.measured}).{start}",
            _table(head, rows) if both else _table(_but_teacher(head), [_but_teacher(row) for row in rows]),
        ]
        meaning = meanings(card.images)
        told = [f"- {n.quantity}: {meaning[n.quantity]}" for n in card.numbers if n.quantity in meaning]
        parts += ["\n".join(told)] if told else []
    if card.evaluations:
        parts += ["By `resmom evaluate`, of this checkpoint, top-1 in %:", *_evaluated(card)]
    if card.candidates:
        parts += ["Which network to keep was chosen among, on held-out training images:"]
        parts += [_table(HEAD, card.candidates)]
    return parts


def _evaluated(card: Card) -> list[str]:
    """A row for every protocol on the same images, with what it chose for a network beside that network's score."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    for name, data, top1, how in card.evaluations:
        own = chosen(how)
        scores = found.setdefault((data or "not recorded", shared_protocol(how)), {})
        scores[name] = f"{top1} ({own})" if own else top1
    others = list(dict.fromkeys(name for scores in found.values() for name in scores if name not in get_args(Network)))
    networks = [name for name in get_args(Network) if any(name in scores for scores in found.values())]
    rows = [
        (data, *(scores.get(name, "-") for name in networks), how)
        for (data, how), scores in found.items()
        if scores.keys() & set(networks)
    ]
    more = [
        (name, data, scores[name], how) for name in others for (data, how), scores in found.items() if name in scores
    ]
    tables = [_table(("images", *networks, "protocol"), rows)] if rows else []
    return tables + ([_table(("for comparison", "images", "top-1 (%)", "protocol"), more)] if more else [])


def _but_teacher(row: Sequence[str]) -> Sequence[str]:
    return (*row[:3], *row[4:])


def _gaps(card: Card) -> list[str]:
    if not card.gaps:
        return []
    rows = [
        (g.site, *("-" if value is None else f"{value:.4f}" for value in (g.intra, g.inter, g.chance)))
        for g in card.gaps
    ]
    return [
        "## The gap between student and teacher",
        f"Gap: {GAP} Means for the same view (intra), the other view of the image (inter) and different images "
        f"(chance); {card.gap_protocol}.",
        _table(("site", "intra", "inter", "chance"), rows),
    ]


def _limits() -> list[str]:
    return [
        "## Licence and limitations",
        "No licence comes with these weights by itself: what may be done with them depends on the terms of the images "
        "they were trained on, and of the weights the run started from, if any. The encoder was trained without labels "
        "and is no classifier. It knows images like those above; test it on your own before you rely on it, on groups "
        "of them too, since it can have learnt whatever is common in its data. One run, one seed: differences between "
        "numbers here and those of another run may be chance.",
    ]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
