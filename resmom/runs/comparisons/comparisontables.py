"""The tables of a comparison for a paper: in Markdown, in LaTeX, and all numbers as CSV."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Literal

from resmom.diagnose.paired import Paired
from resmom.runs.comparisons.comparison import (
    Arm,
    Comparison,
    Table,
    about,
    around,
    around_of,
    diverged_words,
    mean_of,
    tables_of,
    told,
    verdict,
)

Format = Literal["text", "markdown", "latex", "csv"]
Names = Mapping[str, str]
"""Arms by name, with what they are called in a table; an arm that is not there is called by its name."""
OWN_NAMES: Names = MappingProxyType({})
COLUMNS = (
    *("measure", "protocol", "arm", "n", "mean", "sd"),
    *("against", "pairs", "difference", "difference_sd", "low", "high", "confidence", "resolved", "remark"),
)
"""Of the CSV: a line for each measure of each arm."""


def written(found: Comparison, how: Format) -> str:
    """A comparison in one of the forms, without a line end. In LaTeX the tables need the package booktabs."""
    if how == "text" or not found.arms:
        return str(found)
    if how == "csv":
        return _csv(found)
    tables = (_latex(found, table) if how == "latex" else _markdown(found, table) for table in tables_of(found))
    remarks = [about(found).replace("\n", " "), *_unsound(found)]
    if how == "latex":
        return "\n\n".join(["\n".join(f"% {remark}" for remark in remarks), *tables])
    return "\n\n".join([*tables, *remarks])


def markdown_rows(
    arms: Sequence[Arm], name: str, title: str, digits: int, names: Names = OWN_NAMES, against: str = ""
) -> str:
    """A Markdown table of one measure: mean ± sd of each arm, its difference from the first one, or from its own as
    `against` says in words, and the verdict. Of a gap also what it is read beside."""
    first = against or names.get(arms[0].name, arms[0].name)
    rows = [
        (
            *(names.get(arm.name, arm.name), str(_n(arm, name)), *around(arm, name, digits, "–")),
            *(told(arm.measures.get(name), digits), verdict(arm, name, digits)),
        )
        for arm in arms
    ]
    head = (title, "n", *around_of(name), mean_of(name), f"against {first}, same seeds")
    return "\n".join([_markdown_row(head), "|" + "---|" * len(head), *map(_markdown_row, rows)])


def _markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _n(arm: Arm, name: str) -> int:
    value = arm.measures.get(name)
    return 0 if value is None else value.n


def _markdown(found: Comparison, table: Table) -> str:
    rows = markdown_rows(found.arms, table.name, table.title, table.digits, against=found.against)
    return f"{rows}\n\nProtocol: {table.protocol}"


def _latex(found: Comparison, table: Table) -> str:
    rows = [" & ".join(cells) + r" \\" for cells in _latex_rows(found, table)]
    columns = ("arm", "$n$", *around_of(table.name), mean_of(table.name).replace("±", r"$\pm$"))
    head = rf"{' & '.join(columns)} & against {_plain(found.against)} & resolved \\"
    return "\n".join(
        [
            f"% {table.title} ({table.protocol})",
            rf"\begin{{tabular}}{{lr{'r' * len(around_of(table.name))}lll}}",
            r"\toprule",
            head,
            r"\midrule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}",
        ]
    )


def _latex_rows(found: Comparison, table: Table) -> Iterator[tuple[str, ...]]:
    for arm in found.arms:
        value, pair = arm.measures.get(table.name), arm.against.get(table.name)
        mean = "--" if value is None else f"${told(value, table.digits)}$".replace("±", r"\pm")
        beside = around(arm, table.name, table.digits, "--")
        yield _plain(arm.name), str(_n(arm, table.name)), *beside, mean, *_latex_difference(arm, pair, table)


def _latex_difference(arm: Arm, pair: Paired | None, table: Table) -> tuple[str, str]:
    if pair is None:
        return _plain(verdict(arm, table.name, table.digits)), ""
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


def _unsound(found: Comparison) -> Iterator[str]:
    """What has to stand beside the tables."""
    if found.short:
        yield found.short
    yield from (f"{arm.name}: {diverged_words(arm)}" for arm in found.arms if arm.diverged)
    without = [arm.name for arm in found.arms if not arm.counts and not arm.diverged]
    if without:
        yield f"not shown to have learned, so that nothing is concluded from it: {', '.join(without)}"


def _csv(found: Comparison) -> str:
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
