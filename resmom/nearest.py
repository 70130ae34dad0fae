"""Which name or option somebody may have meant. No torch."""

import difflib
from collections.abc import Iterable, Sequence


def nearest(option: str, known: Iterable[str]) -> str:
    """The options most like one that does not exist, as the end of a sentence; nothing where none is like it.

    Options are dotted names. One whose last part is the same goes before all others, so that `epochs` finds
    `train.epochs` and not `log.keep-epochs`.
    """
    whole = {name.lstrip("-"): name for name in known}
    last = {name: name.rpartition(".")[2] for name in whole}
    option = option.lstrip("-")
    end = option.rpartition(".")[2]
    near = [name for name in whole if last[name] == end][:3]
    near = near or difflib.get_close_matches(option, whole, n=3)
    near = near or [name for name in whole if difflib.get_close_matches(end, [last[name]])][:3]
    return _asked([whole[name] for name in near])


def similar(name: str, known: Iterable[str], most: int, cutoff: float = 0.6) -> str:
    """At most so many names that are like one that does not exist, as the end of a sentence; `cutoff` as in difflib."""
    return _asked(difflib.get_close_matches(name, list(known), n=most, cutoff=cutoff))


def _asked(near: Sequence[str]) -> str:
    return f"; did you mean {' or '.join(near)}?" if near else ""
