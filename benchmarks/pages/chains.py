"""Tables in Markdown of a chain's result file: pretraining, then detectors (benchmarks/chain)."""

import re
from collections.abc import Sequence
from pathlib import Path

from benchmarks.chain.table import Found, between, found_in, judged
from benchmarks.pages.tables import Names, lines_of
from resmom.diagnose.paired import spread
from resmom.runs.comparisons.columns import told
from resmom.runs.comparisons.results import Line

LEAST_SHOWN = 0.1
"""AP50 in %, below which a class counts as not found."""
Kinds = Sequence[tuple[str, str]]
"""Measures of the lines, each with what it is called in the table."""


def detectors(docs: Path, file: str, names: Names, kinds: Kinds) -> str:
    """A table for each measure: mean ± sd over seeds, the difference from random weights, and if the arm counts."""
    found = _found(docs, file, names)
    parts = []
    for kind, title in kinds:
        rows = []
        for place, arm in enumerate(found.against_random.arms):
            said = judged(found.standing(arm.name, kind), kind) if place else ""
            rows.append(f"| {names[arm.name]} | {len(arm.seeds)} | {told(arm.measures.get(kind))} | {said} |")
        head = f"| {title}, % | n | mean ± sd | against random weights, same seeds |\n|---|---|---|---|\n"
        parts.append(head + "\n".join(rows))
    return "\n\n".join(parts)


def pairs(docs: Path, file: str, names: Names, kinds: Kinds) -> str:
    """A row for every two arms that are to be compared, and every measure: the difference, where both count."""
    found = _found(docs, file, names)
    rows = []
    for arm, pair in found.within:
        called = f"{names[arm]} minus {names[pair.arms[0].name]}"
        rows += [f"| {called} | {title} | {_said(found, arm, kind, names)} |" for kind, title in kinds]
    return "| | measure | difference, same seeds |\n|---|---|---|\n" + "\n".join(rows)


def pretrained(docs: Path, file: str, names: Names, quantities: Names) -> str:
    """What pretraining itself could say without labels: each quantity of the students at the end."""
    lines = [line for line in lines_of(docs, file, names) if line.get("pretraining")]
    rows = []
    for arm in dict.fromkeys(line["arm"] for line in lines):
        own = [line for line in lines if line["arm"] == arm]
        rows.append(f"| {names[arm]} | " + " | ".join(told(spread(_ends(own, q)), 1) for q in quantities) + " |")
    return "| | " + " | ".join(quantities.values()) + " |\n|---|" + "---|" * len(quantities) + "\n" + "\n".join(rows)


def classes(docs: Path, file: str, names: Names, network: str) -> str:
    """AP50 (VOC 2007's, 11 points) of each class, means over seeds.

    The class that any arm finds best comes first; those that no arm finds are one row.
    """
    table: dict[str, dict[str, list[float]]] = {}
    for line in lines_of(docs, file, names):
        per_class = line["per_class"]
        own = per_class[network if network in per_class else "random"]["voc07_ap50_per_class"]
        for called, value in own.items():
            table.setdefault(called, {}).setdefault(line["arm"], []).append(value)
    arms = [arm for arm in names if any(arm in own for own in table.values())]
    means = {called: [sum(own[arm]) / len(own[arm]) for arm in arms] for called, own in table.items()}
    shown = sorted((item for item in means.items() if max(item[1]) >= LEAST_SHOWN), key=lambda item: -max(item[1]))
    rows = [f"| {called} | " + " | ".join(f"{value:.1f}" for value in own) + " |" for called, own in shown]
    if rest := len(means) - len(shown):
        rows.append(f"| each of the other {rest} |" + f" below {LEAST_SHOWN:g} |" * len(arms))
    head = f"| class | {' | '.join(names[arm] for arm in arms)} |\n|---|{'---|' * len(arms)}\n"
    return head + "\n".join(rows)


def _found(docs: Path, file: str, names: Names) -> Found:
    return found_in(lines_of(docs, file, names))


def _said(found: Found, arm: str, kind: str, names: Names) -> str:
    words = between(found, next(pair for one, pair in found.within if one == arm), kind)
    # Whole words alone, since the names of some arms begin as those of others do.
    pattern = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    return re.sub(rf"(?<![\w+-])({pattern})(?![\w+-])", lambda name: names[name[1]], words)


def _ends(lines: Sequence[Line], quantity: str) -> list[float]:
    return [
        change["after"]
        for line in lines
        for change in line["pretraining"]
        if (change["quantity"], change["network"]) == (quantity, "student")
    ]
