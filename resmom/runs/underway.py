"""What is being done while somebody waits for a run to begin: a live line on a terminal, plain lines elsewhere."""

import sys
import time
from threading import Event, Thread
from types import TracebackType
from typing import final

from rich.console import Console
from rich.live import Live
from rich.text import Text

PLAIN_SECONDS = 10.0
"""Seconds between two plain lines. What is done sooner has none."""


@final
class Underway:
    """Inside its block, on standard error, what `now` said last and since when. A thread of its own tells it, since
    what takes long is a single call."""

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet
        self._console = Console(file=sys.stderr, highlight=False)
        self._live: Live | None = None
        self._doing = ("", 0.0)  # what, and since when: set at once, read by the thread
        self._ended = Event()
        self._thread: Thread | None = None

    def __enter__(self) -> "Underway":
        if self._quiet:
            return self
        if self._console.is_terminal:
            self._live = Live(console=self._console, get_renderable=self._row, refresh_per_second=4, transient=True)
            self._live.start()
        else:
            self._thread = Thread(target=self._tell, name="underway", daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        if self._live is not None:
            self._doing = ("", 0.0)
            self._live.stop()

    def now(self, words: str) -> None:
        """What begins now, as the subject of a line."""
        self._doing = (words, time.monotonic())

    def say(self, words: str) -> None:
        """A line that stays."""
        if not self._quiet:
            self._console.print(words, soft_wrap=True, markup=False)

    @property
    def words(self) -> str:
        """What is being done, and for how long if it is a second or more; empty where nobody has said."""
        words, since = self._doing
        seconds = time.monotonic() - since
        return f"{words}, {seconds:.0f} s so far" if words and seconds >= 1 else words

    def _row(self) -> Text:
        return Text(self.words)

    def _tell(self) -> None:
        while not self._ended.wait(PLAIN_SECONDS):
            if words := self.words:
                self.say(words)
