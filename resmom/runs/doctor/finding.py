"""What a probe has to say."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

State = Literal["ok", "note", "problem"]
"""ok; worth knowing, with something that would be better; or something that keeps runs from working as they should."""


@dataclass(frozen=True)
class Finding:
    """One sentence about one thing, and what to do about it; nothing is to be done where it is ok."""

    about: str
    state: State
    words: str
    remedy: str = ""

    def __post_init__(self) -> None:
        if (self.state == "ok") != (self.remedy == ""):
            raise ValueError(f"'{self.about}' is {self.state}: a note or a problem has a remedy, and nothing else has")


@dataclass(frozen=True)
class Answer:
    """The findings of a probe, and the facts they rest on as plain values."""

    findings: tuple[Finding, ...]
    facts: dict[str, Any]


def answer(facts: Any, findings: Iterable[Finding]) -> Answer:
    """The answer of a probe whose facts are a dataclass."""
    return Answer(tuple(findings), asdict(facts))


def sentence(words: str) -> str:
    """With one full stop, whatever others have put at the end of their message."""
    return words.rstrip(". ") + "."
