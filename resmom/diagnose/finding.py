"""What a rule says of a run."""

from dataclasses import dataclass
from typing import Literal

Name = Literal["collapsed", "dimensional collapse", "stuck at chance", "teacher frozen", "diverging", "loader-bound"]


@dataclass(frozen=True)
class Finding:
    """Something wrong with a run, seen at `step`: what was measured, in words, and what to change."""

    name: Name
    step: int
    words: str
    remedy: str
