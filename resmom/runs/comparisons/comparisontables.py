"""The tables of a comparison for a paper: in Markdown, in LaTeX, and all numbers as CSV."""

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Literal, get_args

from resmom.called import called
from resmom.errors import UserError
from resmom.runs.comparisons.columns import (
    OWN_NAMES,
    Names,
    Table,
    about,
    diverged_words,
    tables_of,
    unsound,
    verdict,
)
from resmom.runs.comparisons.compared import Arm, Compared
from resmom.runs.comparisons.comparisontext import text

Format = Literal["text", "markdown", "latex", "csv"]
COLUMNS = (
    *("measure", "protocol", "arm", "n", "mean", "sd"),
    *("against", "pairs", "difference", "difference_sd", "low", "high", "confidence", "resolved", "remark"),
)
"""Of the CSV: a line for each measure of each arm."""


def written(found: Compared, how: Format) -> str:
    """A comparison in one of the forms, as `Comparison.table` has it."""
    if how not in get_args(Format):
        raise UserError(f"{called('format')} is {how!r}; it is one of {', '.join(get_args(Format))}")
    if how == "text" or not found.arms:
        return text(found)
    if how == "csv":
        return _csv(found)
    tables = (_latex(found, table) if how == "latex" else _markdown(found, table) for table in tables_of(found))
    remarks = [about(found).replace("\n", " "), *_unsound(found)]
    if how == "latex":
        return "\n\n".join(["\n".join(f"% {remark}" for remark in remarks), *tables])
    return "\n\n".join([*tables, *remarks])


def markdown_rows(arms: Sequence[Arm], table: Table, names: Names = OWN_NAMES, against: str = "") -> str:
    """A Markdown table: the numbers of each arm, and its difference from the first one, or from its own as `against`
    says in words, with the verdict."""
    first = against or names.get(arms[0].name, arms[0].name)
    heads = [table.title, *table.heads, f"{table.against(first)}, same seeds"]
    rows = [
        [names.get(arm.name, arm.name), *(number or "–" for number in table.numbers(arm)), table.verdict(arm, names)]
        for arm in arms
    ]
    head, *lines = (f"| {' | '.join(cells)} |" for cells in (heads, *rows))
    return "\n".join([head, "|---" * len(heads) + "|", *lines])


def _markdown(found: Compared, table: Table) -> str:
    return f"{markdown_rows(found.arms, table, against=found.against)}\n\nProtocol: {table.protocol}"


def _latex(found: Compared, table: Table) -> str:
    n, *heads = (head.replace("±", r"$\pm$") for head in table.heads)
    rows = [["arm", f"${n}$", *heads, _plain(table.against(found.against)), "resolved"]]
    for arm in found.arms:
        n, *numbers = (number.replace("±", r"\pm") for number in table.numbers(arm))
        rows.append(
            [_plain(arm.name), n, *(f"${each}$" if each else "--" for each in numbers), *_difference(arm, table)]
        )
    head, *lines = (" & ".join(cells) + r" \\" for cells in rows)
    return "\n".join(
        [
            f"% {table.title} ({table.protocol})",
            rf"\begin{{tabular}}{{lr{'r' * len(table.around)}lll}}",
            r"\toprule",
            head,
            r"\midrule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}",
        ]
    )


def _difference(arm: Arm, table: Table) -> tuple[str, str]:
    pair = arm.against.get(table.name)
    if pair is None:
        return _plain(table.verdict(arm)), ""
    difference = f"${pair.difference.mean:+.{table.digits}f}$"
    if pair.low is None or pair.high is None:
        return difference, "no interval"
    return (
        f"{difference} $[{pair.low:+.{table.digits}f}, {pair.high:+.{table.digits}f}]$",
        "yes" if pair.resolved else "no",
    )


def _plain(text: str) -> str:
    """Text without what LaTeX takes for a command."""
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    special |= {character: f"\\{character}" for character in "&%$#_{}"}
    return "".join(special.get(character, character) for character in text)


def _unsound(found: Compared) -> Iterator[str]:
    """What has to stand beside the tables."""
    if found.short:
        yield found.short
    yield from (sentence for _, sentence in unsound(found))
    yield from (f"{arm.name}: {diverged_words(arm)}" for arm in found.arms if arm.diverged)
    without = [arm.name for arm in found.arms if not arm.counts and not arm.diverged]
    if without:
        yield f"not shown to have learned, so that nothing is concluded from it: {', '.join(without)}"


def _csv(found: Compared) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for name in dict.fromkeys(name for arm in found.arms for name in arm.measures):
        for arm in found.arms:
            if (value := arm.measures.get(name)) is not None:
                protocol = " / ".join(arm.protocols.get(name.partition("/")[0], ()))
                head = [name, protocol, arm.name, value.n, value.mean, value.sd]
                writer.writerow([*head, *_csv_difference(arm, name)])
    for arm in found.arms:
        if not arm.measures:  # all its runs diverged
            writer.writerow(["", "", arm.name, 0, *[""] * (len(COLUMNS) - 5), verdict(arm, "", 2)])
    return file.getvalue().removesuffix("\n")


def _csv_difference(arm: Arm, name: str) -> list[object]:
    pair = arm.against.get(name)
    if pair is None:
        return ["", "", "", "", "", "", "", "", verdict(arm, name, 2)]
    own = [arm.base, pair.difference.n, pair.difference.mean, pair.difference.sd]
    if pair.low is None:
        return [*own, "", "", "", "", "no interval"]
    return [*own, pair.low, pair.high, pair.confidence, pair.resolved, ""]
