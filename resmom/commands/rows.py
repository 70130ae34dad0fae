"""The rows of `resmom evaluate` as they are printed."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from resmom.evaluate.settings import Linear
from resmom.protocols import EDGE, chosen, shared_protocol

if TYPE_CHECKING:
    from resmom.runs.measuring.rows import Row


def table(rows: "Sequence[Row]", sized: bool) -> Iterator[str]:
    """Lines: each protocol once, and under it what was measured by it.

    `sized`: others may see images of another side than the run's views, so that among them the run's is said as well.
    """
    width = max(17, *(len(row.network) for row in rows))
    protocols_of = [shared_protocol(row.sized if sized and row.sized else row.score.protocol) for row in rows]
    for protocol in dict.fromkeys(protocols_of):
        yield protocol
        for row in (row for row, own in zip(rows, protocols_of, strict=True) if own == protocol):
            yield _line(row, width)
            for c in row.candidates:
                setting = f"lr {c.lr:g}, wd {c.weight_decay:g}" + (f"  draw {c.draw}" if len(row.draws) > 1 else "")
                yield (
                    f"    {'*' if c.chosen else ' '} {c.held_out:6.2f} on held-out training images  {setting}  "
                    f"{c.features}"
                )


def remarks(rows: "Sequence[Row]", grid: Linear) -> list[str]:
    """What the numbers above need to be read, once for all of them."""
    said = []
    if any(row.draws for row in rows):
        said.append("±: standard deviation over n repetitions")
    if any(EDGE in row.score.protocol for row in rows):
        lrs, decays = (" ".join(f"{value:g}" for value in values) for values in (grid.lrs, grid.weight_decays))
        said.append(f"{EDGE}: beyond it may lie better; it was --linear.lrs {lrs} --linear.weight-decays {decays}")
    return said


def _line(row: "Row", width: int) -> str:
    spread = "" if not row.draws else f" ± {'  -  ' if row.sd is None else f'{row.sd:5.2f}'} (n={len(row.draws)})"
    top5 = "" if row.score.top5 is None else f"  top-5 {row.score.top5:5.2f}"
    own = chosen(row.score.protocol)
    return f"  {row.network:<{width}}  top-1 {row.score.top1:5.2f}{spread}{top5}" + (f"  ({own})" if own else "")
