"""What a run tells the person who started it: one live line on a terminal, plain lines elsewhere, or nothing."""

import math
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

PLAIN_SECONDS = 20.0
"""Least time between two plain lines."""


class Progress:
    """Shows epoch, step, images per second, loss with its chance level, gap, and the time left."""

    def __init__(
        self,
        steps: int,
        per_epoch: int,
        batch: int,
        start: int = 0,
        quiet: bool = False,
        parts: Sequence[tuple[int, float]] = (),
    ) -> None:
        """`parts`: the steps at which parts of the run end, and what a step of each costs beside the others."""
        self._parts = list(parts) or [(steps, 1.0)]
        self._paces: dict[float, tuple[float, int]] = {}  # seconds and steps by cost, as they were measured
        self._seen = (start, 0.0)
        self._steps, self._per_epoch, self._batch, self._first = steps, per_epoch, batch, start
        self._quiet = quiet
        self._console = Console(file=sys.stderr, highlight=False)
        self._live: Live | None = None
        self._began = time.monotonic()
        self._told = -math.inf  # the first line comes with the first numbers
        self._away = 0.0
        self._processor, self._processor_away = time.process_time(), 0.0
        self._values: dict[str, float] = {}
        self._of = start  # the step that they are of

    @classmethod
    def silent(cls) -> "Progress":
        """One that says nothing."""
        return cls(0, 1, 1, quiet=True)

    def __enter__(self) -> "Progress":
        if not self._quiet and self._console.is_terminal:
            self._live = Live(console=self._console, refresh_per_second=4, transient=True)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def say(self, text: str) -> None:
        """A line that stays."""
        if not self._quiet:
            self._console.print(text, soft_wrap=True, markup=False)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Time that is not training (measuring, saving) and does not count as such."""
        left, processor = time.monotonic(), time.process_time()
        try:
            yield
        finally:
            self._away += time.monotonic() - left
            self._processor_away += time.process_time() - processor

    def elapsed(self) -> float:
        """Seconds of training since this process began the loop."""
        return time.monotonic() - self._began - self._away

    def processor(self) -> float:
        """The processor's seconds of it, all threads together: what it took, whatever else the machine did."""
        return time.process_time() - self._processor - self._processor_away

    def speed(self, step: int) -> float:
        """Images per second of training since this process began the loop."""
        return (step - self._first) * self._batch / max(self.elapsed(), 1e-9)

    def update(self, step: int, values: Mapping[str, float]) -> None:
        """`step` steps are done; `values` are the newest numbers of a metrics line (may be empty)."""
        if self._quiet:
            return
        self._pace(step)
        if values:
            self._values, self._of = dict(values), step
        if self._live is not None:
            self._live.update(self._row(step))
        elif self._values and ((now := time.monotonic()) - self._told >= PLAIN_SECONDS or step == self._steps):
            self._told = now
            self._console.print(self._words(step), soft_wrap=True, markup=False)

    def _words(self, step: int) -> str:
        whole = _epochs(self._steps / self._per_epoch)
        parts = [f"epoch {step / self._per_epoch:.1f}/{whole}", f"step {step}/{self._steps}"]
        speed = self.speed(step)
        parts.append(f"{speed:.0f} images/s")
        if "loss" in self._values:
            parts.append(f"loss {self._values['loss']:z.3f}" + self._shares())
        for site in ("p", "z"):
            if f"gap/{site}/intra" in self._values:
                parts.append(f"gap/{site} {self._values[f'gap/{site}/intra']:z.4f}")  # z: no minus before a zero
                break
        if self._values and self._of != step:  # those of every step would have the host wait for a GPU
            parts.append(f"(as of step {self._of})")
        if speed > 0 and step > self._first + 1:  # the first step of a process takes longer than the others
            parts.append(f"{_duration(self._left(step))} left")
        return "  ".join(parts)

    def _pace(self, step: int) -> None:
        """Count the time since the last call for the part that `step` lies in."""
        cost = next((cost for end, cost in self._parts if step <= end), self._parts[-1][1])
        before, elapsed = self._seen
        seconds, steps = self._paces.get(cost, (0.0, 0))
        self._paces[cost] = seconds + self.elapsed() - elapsed, steps + step - before
        self._seen = step, self.elapsed()

    def _left(self, step: int) -> float:
        """Seconds that the rest takes: at the pace measured, or, where a part is still to come, at that by its cost."""
        known = {cost: seconds / steps for cost, (seconds, steps) in self._paces.items() if steps}
        newest = next(reversed(known))
        left, start = 0.0, 0
        for end, cost in self._parts:
            pace = known.get(cost, known[newest] * cost / newest)
            left += pace * max(0, end - max(start, step))
            start = end
        return left

    def _shares(self) -> str:
        """What the loss is made of, in the names of metrics.jsonl; the method's own only where it is not the whole."""
        names = ("method", "chance", "residual") if "loss/residual" in self._values else ("chance",)
        known = [name for name in names if f"loss/{name}" in self._values]
        shares = ", ".join(
            f"{name} {self._values[f'loss/{name}']:z.{4 if name == 'residual' else 3}f}" for name in known
        )
        return f" ({shares})" if shares else ""

    def _row(self, step: int) -> Table:
        row = Table.grid(padding=(0, 1))
        row.add_row(ProgressBar(total=self._steps, completed=step, width=24), Text(self._words(step)))
        return row


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _epochs(epochs: float) -> str:
    """A whole number, or one decimal."""
    return f"{epochs:.1f}".removesuffix(".0")
