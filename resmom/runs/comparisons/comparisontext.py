"""The tables of a comparison as text for a terminal, with what has to be known to read them."""

from collections.abc import Iterator, Sequence

from resmom.called import either
from resmom.diagnose.rise import LEARNED
from resmom.runs.comparisons.columns import NAMES, WITHOUT_LABELS, Table, about, diverged_words, tables_of, unsound
from resmom.runs.comparisons.compared import Compared

WIDTHS = {2: 14, 4: 17}
"""Width of a column of mean ± sd, by the digits after the point: percentages have two, gaps four."""


def text(found: Compared) -> str:
    """All tables, each under its title, and what has to be said beside them."""
    return "\n".join(_words(found))


def _words(found: Compared) -> Iterator[str]:
    if not found.arms:
        yield "no cell is finished yet"
        return
    width = max(3, *(len(arm.name) for arm in found.arms))
    known = {name for arm in found.arms for name in arm.measures}
    if found.short:
        yield f"{found.short}\n"
    for first, sentence in unsound(found):
        remedy = "" if first.diverged else "; train longer, or measure on more labelled images"
        yield f"{sentence} (why stands below{remedy})\n"
    yield about(found)
    for table in tables_of(found):
        yield f"\n{table.title} ({table.protocol})"
        yield _row("arm", table.heads, table.against(found.against), table, width)
        yield from (_row(arm.name, table.numbers(arm), table.verdict(arm), table, width) for arm in found.arms)
    if found.with_term and len(found.with_term) < len(found.arms) and any(name.startswith("gap/") for name in known):
        yield (
            f"\na smaller gap is what the residual term trains for ({', '.join(found.with_term)}): there it tells that "
            "the term works, and nothing about the features"
        )
    if found.own:
        call = either(
            f"resmom compare show ... --against {found.own}", f"resmom.comparison(..., against={found.own!r})"
        )
        yield f"\n`{call}` compares each arm with the one that is the same but for that"
    yield from _notes(found, known.isdisjoint(NAMES) and not known.isdisjoint(WITHOUT_LABELS))


def _row(first: str, numbers: Sequence[str], last: str, table: Table, width: int) -> str:
    """A line of a table, its head or an arm, whose name is as wide as that."""
    *left, own = (number or "-" for number in numbers)
    widths = 2, *(7 for _ in table.around)
    cells = (f"{cell:>{wide}}" for cell, wide in zip(left, widths, strict=True))
    return "  ".join(["", f"{first:<{width}}", *cells, f"{own:<{WIDTHS[table.digits]}}", last]).rstrip()


def _notes(found: Compared, unlabelled: bool) -> Iterator[str]:
    if unlabelled:
        yield (
            "\nwithout labels nothing here says which arm is better for a task, nor whether an arm has learned: these "
            "numbers tell how an encoder treats views and images, each arm's on views of its own kind, so that arms "
            "with other views do not compare; with some labelled images (docs/data.md) kNN would"
        )
    others = {arm.base for arm in found.arms}
    alone = [arm.name for arm in found.arms if found.shared and not arm.base and arm.name not in others]
    if alone:
        yield f"\nno arm is the same with {found.shared}, so there is nothing to compare with: {', '.join(alone)}"
    for arm in found.arms:
        if arm.diverged:
            yield f"\n{arm.name} diverged: {diverged_words(arm)}; nothing is concluded from it"
        if arm.learned is False and not arm.diverged and arm.before is not None and arm.rise is not None:
            after = arm.measures["knn/student"].mean
            yield (
                f"\n{arm.name} is not shown to have learned: kNN of the student went from {arm.before.mean:.2f} to "
                f"{after:.2f} %, {arm.rise.mean:+.2f} points (n = {arm.before.n}); it would have to rise by more than "
                f"{arm.rise.least:.2f}, {LEARNED:g} standard deviations (of the rises over seeds, or of one rise on so "
                "few test images, whichever is larger); nothing is concluded from it"
            )
