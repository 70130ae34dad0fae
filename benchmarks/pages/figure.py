"""Figures: every run of each arm as a dot; courses over training as lines. SVG as text, which a test can compare."""

import math
from collections.abc import Mapping, Sequence
from html import escape

STYLE = """
text{font:13px system-ui,sans-serif;fill:#222}.faint{fill:#666}.rule{stroke:#ddd}
.run{fill:#2f6db3;fill-opacity:.65}.mean{stroke:#b3402f;stroke-width:3}.floor{stroke:#666;stroke-dasharray:4 4}
@media(prefers-color-scheme:dark){text{fill:#ddd}.faint{fill:#999}.rule{stroke:#444}.floor{stroke:#999}.run{fill:#7db2ee}.mean{stroke:#f0907f}}
"""
LINES = """
text{font:13px system-ui,sans-serif;fill:#222}.faint{fill:#666}.rule{stroke:#ddd}polyline{fill:none}
.one{stroke-width:1;stroke-opacity:.35}.mean{stroke-width:2.5}
.c0{stroke:#2f6db3}.c1{stroke:#b3402f}.c2{stroke:#2e8b57}.c3{stroke:#8a5fbf}
.t0{fill:#2f6db3}.t1{fill:#b3402f}.t2{fill:#2e8b57}.t3{fill:#8a5fbf}
@media(prefers-color-scheme:dark){text{fill:#ddd}.faint{fill:#999}.rule{stroke:#444}
.c0{stroke:#7db2ee}.c1{stroke:#f0907f}.c2{stroke:#7fd1a3}.c3{stroke:#c3a5ee}
.t0{fill:#7db2ee}.t1{fill:#f0907f}.t2{fill:#7fd1a3}.t3{fill:#c3a5ee}}
"""
COLOURS = 4
LEFT, RIGHT, ROW, TOP = 230, 30, 30, 56
WIDTH = 720
PLOT = (60, 44, 480, 300)
"""Left, top, right and bottom of the area of the courses; the names stand right of it."""

Course = Sequence[tuple[float, float]]
"""Points (epoch, value) of one run."""


def dots(title: str, unit: str, arms: Mapping[str, Sequence[float]], marks: Mapping[str, float] | None = None) -> str:
    """A row per arm; `arms` maps what it is called to its runs' values, `marks` what is drawn across all rows.

    Raises ValueError without any value.
    """
    values = [value for runs in arms.values() for value in runs]
    if not values:
        raise ValueError("a figure needs at least one value")
    marks = marks or {}
    values += marks.values()
    step = _step(max(values) - min(values))
    low, high = math.floor(min(values) / step) * step, math.ceil(max(values) / step) * step
    high += step if high == low else 0
    height = TOP + ROW * len(arms) + 40

    def x(value: float) -> str:
        return f"{LEFT + (value - low) / (high - low) * (WIDTH - LEFT - RIGHT):.1f}"

    words = "; ".join(f"{name}: {math.fsum(runs) / len(runs):.2f} (n = {len(runs)})" for name, runs in arms.items())
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        f"<title>{escape(title)}</title><desc>{escape(words)}</desc><style>{STYLE}</style>",
        f'<text x="10" y="22" font-weight="600">{escape(title)}</text>',
    ]
    bottom = TOP + ROW * len(arms)
    for number in range(round((high - low) / step) + 1):
        mark = low + number * step
        parts.append(f'<line class="rule" x1="{x(mark)}" x2="{x(mark)}" y1="{TOP}" y2="{bottom}"/>')
        parts.append(f'<text class="faint" x="{x(mark)}" y="{bottom + 18}" text-anchor="middle">{mark:g}</text>')
    parts.append(f'<text class="faint" x="10" y="{bottom + 18}">{escape(unit)}</text>')
    for name, value in marks.items():
        parts.append(f'<line class="floor" x1="{x(value)}" x2="{x(value)}" y1="{TOP - 6}" y2="{bottom}"/>')
        parts.append(f'<text class="faint" x="{x(value)}" y="{TOP - 10}" text-anchor="middle">{escape(name)}</text>')
    for row, (name, runs) in enumerate(arms.items()):
        y = TOP + ROW * row + ROW // 2
        parts.append(f'<text x="10" y="{y + 4}">{escape(name)}</text>')
        parts += [f'<circle class="run" cx="{x(value)}" cy="{y}" r="5"/>' for value in runs]
        mean = x(math.fsum(runs) / len(runs))
        parts.append(f'<line class="mean" x1="{mean}" x2="{mean}" y1="{y - 10}" y2="{y + 10}"/>')
    return "\n".join([*parts, "</svg>", ""])


def courses(title: str, unit: str, arms: Mapping[str, Sequence[Course]]) -> str:
    """Values above 0 over epochs, the values on a logarithmic scale: a faint line per run, a strong one per arm's mean.

    The runs of an arm must have the same epochs. Raises ValueError for no arm, more than four, a value that is not
    above 0, or epochs that differ.
    """
    if not 0 < len(arms) <= COLOURS:
        raise ValueError(f"between one arm and {COLOURS} can be told apart, not {len(arms)}")
    points = [point for runs in arms.values() for run in runs for point in run]
    if not points or min(value for _, value in points) <= 0:
        raise ValueError("a logarithmic scale needs values above 0")
    means = {name: _mean(runs) for name, runs in arms.items()}
    left, top, right, bottom = PLOT
    low = math.floor(math.log10(min(value for _, value in points)) * 2) / 2
    high = math.ceil(math.log10(max(value for _, value in points)) * 2) / 2
    high += 0.5 if high == low else 0
    last = max(epoch for epoch, _ in points)

    def x(epoch: float) -> float:
        return left + epoch / last * (right - left)

    def y(value: float) -> float:
        return bottom - (math.log10(value) - low) / (high - low) * (bottom - top)

    def line(run: Course, kind: str) -> str:
        return f'<polyline class="{kind}" points="{" ".join(f"{x(e):.1f},{y(v):.1f}" for e, v in run)}"/>'

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} 350" role="img">',
        f"<title>{escape(title)}</title>",
        f"<desc>{escape('; '.join(f'{name}: {run[-1][1]:.3g} at the end' for name, run in means.items()))}</desc>",
        f'<style>{LINES}</style><text x="10" y="22" font-weight="600">{escape(title)}</text>',
    ]
    marks = [m for p in range(-6, 3) for m in (10.0**p, 3 * 10.0**p) if low <= math.log10(m) + 1e-9 <= high + 1e-6]
    for mark in marks:
        parts.append(f'<line class="rule" x1="{left}" x2="{right}" y1="{y(mark):.1f}" y2="{y(mark):.1f}"/>')
        parts.append(f'<text class="faint" x="{left - 6}" y="{y(mark) + 4:.1f}" text-anchor="end">{mark:g}</text>')
    step = _step(last)
    for number in range(math.floor(last / step + 1e-9) + 1):
        mark = number * step
        parts.append(f'<text class="faint" x="{x(mark):.1f}" y="{bottom + 18}" text-anchor="middle">{mark:g}</text>')
    parts.append(f'<text class="faint" x="{left}" y="{bottom + 38}">{escape(unit)}</text>')
    for number, runs in enumerate(arms.values()):
        parts += [line(run, f"one c{number}") for run in runs]
    # Names stand at the ends of their lines, moved apart where lines end close to each other.
    free: float = top
    for number, (name, run) in sorted(enumerate(means.items()), key=lambda item: -item[1][1][-1][1]):
        parts.append(line(run, f"mean c{number}"))
        free = max(free, y(run[-1][1]) + 4)
        parts.append(f'<text class="t{number}" x="{right + 8}" y="{free:.1f}">{escape(name)}</text>')
        free += 17
    return "\n".join([*parts, "</svg>", ""])


def _mean(runs: Sequence[Course]) -> Course:
    """The mean at each epoch, of the logarithms, as the scale has it."""
    if len({tuple(epoch for epoch, _ in run) for run in runs}) != 1:
        raise ValueError("the runs of an arm must have the same epochs, and there must be one at least")
    columns = list(zip(*runs, strict=True))
    return [(c[0][0], math.exp(math.fsum(math.log(value) for _, value in c) / len(c))) for c in columns]


def _step(width: float) -> float:
    """Between four and ten marks at round numbers."""
    if width <= 0:
        return 1.0
    power: float = 10 ** math.floor(math.log10(width / 4))
    return next(power * factor for factor in (5, 2, 1) if width / (power * factor) >= 4)
