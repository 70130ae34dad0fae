"""What a rule says of a run."""

from dataclasses import dataclass
from typing import Literal

Name = Literal["collapsed", "dimensional collapse", "stuck at chance", "teacher frozen", "diverging", "loader-bound"]

SPOILT: dict[Name, str] = {
    "collapsed": "has collapsed",
    "stuck at chance": "is stuck at chance",
    "diverging": "diverges",
}
"""What is wrong enough that no number of the run says anything good, as the verb of a sentence on the run."""


@dataclass(frozen=True)
class Finding:
    """Something wrong with a run, seen at `step`: what was measured, in words, and what to change."""

    name: Name
    step: int
    words: str
    remedy: str

    @property
    def spoils(self) -> bool:
        """Whether no network of such a run should be used; of the others' it may be, with care."""
        return self.name in SPOILT
