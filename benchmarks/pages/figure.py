"""One figure: every run of each arm as a dot, the means as strokes. SVG as text, so that a page can be checked."""

import math
from collections.abc import Mapping, Sequence
from html import escape

STYLE = """
text{font:13px system-ui,sans-serif;fill:#222}.faint{fill:#666}.rule{stroke:#ddd}
.run{fill:#2f6db3;fill-opacity:.65}.mean{stroke:#b3402f;stroke-width:3}
@media(prefers-color-scheme:dark){text{fill:#ddd}.faint{fill:#999}.rule{stroke:#444}.run{fill:#7db2ee}.mean{stroke:#f0907f}}
"""
LEFT, RIGHT, ROW, TOP = 230, 30, 30, 44
WIDTH = 720


def dots(title: str, unit: str, arms: Mapping[str, Sequence[float]]) -> str:
    """A row per arm; `arms` maps what it is called to its runs' values. Raises ValueError without any value."""
    values = [value for runs in arms.values() for value in runs]
    if not values:
        raise ValueError("a figure needs at least one value")
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
    for row, (name, runs) in enumerate(arms.items()):
        y = TOP + ROW * row + ROW // 2
        parts.append(f'<text x="10" y="{y + 4}">{escape(name)}</text>')
        parts += [f'<circle class="run" cx="{x(value)}" cy="{y}" r="5"/>' for value in runs]
        mean = x(math.fsum(runs) / len(runs))
        parts.append(f'<line class="mean" x1="{mean}" x2="{mean}" y1="{y - 10}" y2="{y + 10}"/>')
    return "\n".join([*parts, "</svg>", ""])


def _step(width: float) -> float:
    """Between four and ten marks at round numbers."""
    if width <= 0:
        return 1.0
    power = 10 ** math.floor(math.log10(width / 4))
    return next(power * factor for factor in (5, 2, 1) if width / (power * factor) >= 4)
