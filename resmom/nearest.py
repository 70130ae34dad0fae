"""Which name or option somebody may have meant. No torch."""

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType

WORDS = {
    "a": "backbone",
    "accelerator": "device",
    "accum-iter": "train.micro-batch",
    "accumulate-grad-batches": "train.micro-batch",
    "arch": "backbone",
    "architecture": "backbone",
    "b": "train.batch",
    "base-lr": "optim.lr",
    "batch-size": "train.batch",
    "batch-size-per-gpu": "train.batch",
    "blr": "optim.lr",
    "bs": "train.batch",
    "checkpoint": "init",
    "clip-grad": "train.clip",
    "crop-size": "image-size",
    "data-dir": "data",
    "data-path": "data",
    "dataset": "data",
    "drop-path": "backbone.drop-path",
    "ema-decay": "ema.momentum",
    "ema.decay": "ema.momentum",
    "ema.tau": "ema.momentum",
    "encoder": "backbone",
    "format": "to",
    "freeze-last-layer": "method.frozen-epochs",
    "gpu": "device",
    "gpus": "device",
    "grad-accum": "train.micro-batch",
    "gradient-clip-val": "train.clip",
    "img-size": "image-size",
    "input-size": "image-size",
    "j": "workers",
    "lambda": "residual.weight",
    "learning-rate": "optim.lr",
    "log-every": "log.line-steps",
    "lr": "optim.lr",
    "max-epochs": "train.epochs",
    "max-steps": "train.steps",
    "method.tau": "method.temperature",
    "moco-dim": "method.out",
    "moco-k": "method.queue",
    "moco-m": "ema.momentum",
    "moco-t": "method.temperature",
    "model": "backbone",
    "momentum-teacher": "ema.momentum",
    "num-workers": "workers",
    "o": "out",
    "out-dim": "method.out",
    "output-dir": "out",
    "patch-size": "backbone.patch",
    "pretrained": "init",
    "print-freq": "log.line-steps",
    "proj-dim": "method.out",
    "queue-size": "method.queue",
    "residual": "residual.weight",
    "save-dir": "out",
    "save-every": "log.save-epochs",
    "save-freq": "log.save-epochs",
    "student-temp": "method.student-temperature",
    "teacher-momentum": "ema.momentum",
    "teacher-temp": "method.teacher-temperature",
    "train-dir": "data",
    "update-freq": "train.micro-batch",
    "warmup": "train.warmup-epochs",
    "warmup-teacher-temp": "method.warmup-temperature",
    "wd": "optim.weight-decay",
    "weight-decay": "optim.weight-decay",
    "weights": "init",
}
"""What other tools call some of our options, and what they call the last part of a dotted one."""

MOST = 3
"""Names that are suggested at once."""


def nearest(option: str, known: Iterable[str], others: Mapping[str, str] = MappingProxyType({})) -> str:
    """The options most like one that does not exist, as the end of a sentence; nothing where none is like it.

    Options are dotted names. What another tool calls so goes first, then those whose last part is the same, so that
    `epochs` finds `train.epochs` and not `log.keep-epochs`, then those of the same part that are like it, then any.
    `others` exist elsewhere alone, each with the words that say where.
    """
    given, known = _plain(option), list(known)
    if (where := next((where for name, where in others.items() if _plain(name) == given), "")) != "":
        return f" here; it belongs to {where}"
    beginning = [name for name in known if _plain(name).startswith(f"{given}.")]
    if beginning and given not in WORDS:
        more = " and others" if len(beginning) > MOST else ""
        return f"; settings that begin so are {', '.join(beginning[:MOST])}{more}"
    for near in _ways(given):
        here, there = ([name for name in names if near(_plain(name))] for names in (known, others))
        if here:
            return _asked(sorted(here, key=lambda name: -_likeness(given, name))[:MOST])
        if there:
            one = max(there, key=lambda name: _likeness(given, name))
            return f"; {one} belongs to {others[one]}"
    return ""


def _ways(given: str) -> Iterator[Callable[[str], bool]]:
    """In which ways a known name may be the one that is meant, the surest first."""
    part, end = _split(given)
    meant = WORDS.get(given, "")
    yield lambda name: name == meant
    yield lambda name: _split(name)[1] in (end, f"{end}s")
    # As `linear.batch`, where there is no `train.batch`.
    yield lambda name: meant != "" and _split(name)[1] == _split(meant)[1]
    yield lambda name: _split(name)[0] == part and (_abbreviates(end, _split(name)[1]) or _like(end, name, 0.75))
    yield lambda name: name == WORDS.get(end)
    yield lambda name: _like(end, name, 0.8)
    yield lambda name: difflib.SequenceMatcher(None, given, name).ratio() >= 0.8
    yield lambda name: _like(end, name, 0.7)


def _plain(name: str) -> str:
    return name.lstrip("-").replace("_", "-")


def _split(name: str) -> tuple[str, str]:
    part, _, end = name.rpartition(".")
    return part, end


def _like(end: str, name: str, least: float) -> bool:
    return difflib.SequenceMatcher(None, end, _split(name)[1]).ratio() >= least


def _abbreviates(one: str, other: str) -> bool:
    """Whether one of two names is the beginning of the other, or of a word in it."""
    short, long = sorted((one, other), key=len)
    return len(short) >= 3 and f"-{short}" in f"-{long}"


def _likeness(given: str, name: str) -> float:
    """Of the last parts, by which the names at hand were found; of equals the first stays the first."""
    return difflib.SequenceMatcher(None, _split(given)[1], _split(_plain(name))[1]).ratio()


def similar(name: str, known: Iterable[str], most: int, cutoff: float = 0.6) -> str:
    """At most so many names that are like one that does not exist, as the end of a sentence; `cutoff` as in difflib."""
    return _asked(difflib.get_close_matches(name, list(known), n=most, cutoff=cutoff))


def _asked(near: Sequence[str]) -> str:
    return f"; did you mean {' or '.join(near)}?" if near else ""
