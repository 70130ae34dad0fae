"""Which name or option somebody may have meant. No torch."""

import difflib
from collections.abc import Iterable, Sequence

WORDS = {
    "accelerator": "device",
    "arch": "backbone",
    "architecture": "backbone",
    "batch-size": "train.batch",
    "bs": "train.batch",
    "checkpoint": "init",
    "crop-size": "image-size",
    "encoder": "backbone",
    "ema-decay": "ema.momentum",
    "gpu": "device",
    "gpus": "device",
    "img-size": "image-size",
    "input-size": "image-size",
    "lambda": "residual.weight",
    "learning-rate": "optim.lr",
    "max-epochs": "train.epochs",
    "max-steps": "train.steps",
    "model": "backbone",
    "moco-m": "ema.momentum",
    "moco-t": "method.temperature",
    "output-dir": "out",
    "pretrained": "init",
    "residual": "residual.weight",
    "save-dir": "out",
    "teacher-momentum": "ema.momentum",
    "wd": "optim.weight-decay",
    "weights": "init",
}
"""What other tools call some of our options."""


def nearest(option: str, known: Iterable[str]) -> str:
    """The options most like one that does not exist, as the end of a sentence; nothing where none is like it.

    Options are dotted names. What another tool calls so goes first, then those whose last part is the same, so that
    `epochs` finds `train.epochs` and not `log.keep-epochs`, then those whose last part is very like it.
    """
    whole = {name.lstrip("-"): name for name in known}
    last = {name: name.rpartition(".")[2] for name in whole}
    option = option.lstrip("-").replace("_", "-")
    end = option.rpartition(".")[2]
    ours = WORDS.get(option)
    near = [name for name in whole if name.replace("_", "-") == ours]
    near = near or [name for name in whole if last[name] == end][:3]
    near = near or [name for name in whole if difflib.get_close_matches(end, [last[name]], cutoff=0.8)][:3]
    near = near or difflib.get_close_matches(option, whole, n=3)
    near = near or [name for name in whole if difflib.get_close_matches(end, [last[name]], cutoff=0.7)][:3]
    return _asked([whole[name] for name in near])


def similar(name: str, known: Iterable[str], most: int, cutoff: float = 0.6) -> str:
    """At most so many names that are like one that does not exist, as the end of a sentence; `cutoff` as in difflib."""
    return _asked(difflib.get_close_matches(name, list(known), n=most, cutoff=cutoff))


def _asked(near: Sequence[str]) -> str:
    return f"; did you mean {' or '.join(near)}?" if near else ""
