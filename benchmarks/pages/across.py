"""Arms that two result files have: on another machine, or with other settings beside."""

from collections.abc import Sequence
from itertools import product
from pathlib import Path

from benchmarks.pages.tables import Names, interval, lines_of
from resmom.diagnose.paired import paired, spread
from resmom.runs.comparisons.arms import comparison
from resmom.runs.comparisons.columns import told, verdict


def twice(docs: Path, file: str, again: str, arm: str, kinds: Sequence[tuple[str, str]]) -> str:
    """Runs of an arm that the file `again` has too, made elsewhere: each measure there and here, a row per seed."""
    first = {line["seed"]: line["measures"] for line in lines_of(docs, file, [arm])}
    rows = [
        f"| {line['seed']} | "
        + " | ".join(f"{first[line['seed']][kind]:.2f}, {line['measures'][kind]:.2f}" for kind, _ in kinds)
        + " |"
        for line in lines_of(docs, again, [arm])
    ]
    head = f"| seed | {' | '.join(title for _, title in kinds)} |\n|---|{'---|' * len(kinds)}\n"
    return head + "\n".join(rows)


def beside(docs: Path, file: str, other: str, names: Names, kinds: Sequence[tuple[str, str]]) -> str:
    """A row for each arm and measure: in the file, in the `other` one, whose runs differ otherwise, and the first
    against the second by seed. Then as much of the last arm's lead over the first."""
    rows = []
    for (arm, called), (kind, title) in product(names.items(), kinds):
        there, here = (lines_of(docs, each, [arm]) for each in (other, file))
        seeds = {line["seed"] for line in here}
        lines = [{**line, "arm": "there"} for line in there if line["seed"] in seeds]
        first, second = comparison(lines + [{**line, "arm": "here", "place": 1} for line in here]).arms
        values = told(second.measures.get(kind)), told(first.measures.get(kind))
        rows.append(f"| {called}, {title} | {values[0]} | {values[1]} | {verdict(second, kind, 2)} |")
    for kind, title in kinds:
        own, others = (_lead_by_seed(docs, each, names, kind) for each in (file, other))
        others = {seed: lead for seed, lead in others.items() if seed in own}
        means = [told(spread(list(leads.values()))) for leads in (own, others)]
        rows.append(f"| its lead, {title} | {means[0]} | {means[1]} | {interval(paired(own, others))} |")
    return "| | here | there, same seeds | difference |\n|---|---|---|---|\n" + "\n".join(rows)


def _lead_by_seed(docs: Path, file: str, names: Names, kind: str) -> dict[int, float]:
    """A measure of the last arm minus that of the first, by seed."""
    first, *_, last = names
    found = {arm: {line["seed"]: line["measures"][kind] for line in lines_of(docs, file, [arm])} for arm in names}
    return {seed: value - found[first][seed] for seed, value in found[last].items() if seed in found[first]}
