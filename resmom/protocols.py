"""What a line about how something was measured says of all networks alike, and what it says of one of them."""

import re
from typing import NamedTuple

EDGE = "at the edge of the grid"
"""Said where the best setting is the last one that was tried."""
BEYOND = "after better ones that diverged on all images"
"""Said where the best setting on held-out images could not be trained on all of them."""

_LAYER = re.compile(r"^(sweep-v1 \()([^;]*); (chosen among)")
_FEW = re.compile(r"^low-shot-v1 (\d+) per class, (logistic regression|kNN)")
_RATE = re.compile(rf"(lr [^ ]+ and wd [^ ]+) (chosen on \d+ held-out training images)( {EDGE})?( {BEYOND})?")


class Fields(NamedTuple):
    """What a protocol is by name, for who filters results: `probe`, its first word; of few labels also `shots`, images
    per class, and `learner`."""

    probe: str
    shots: int | None = None
    learner: str | None = None


def fields(protocol: str) -> Fields:
    """What a protocol says of itself."""
    few = _FEW.match(protocol)
    return Fields(protocol.split(maxsplit=1)[0].rstrip(":,;"), *((int(few[1]), few[2]) if few else ()))


def shared_protocol(protocol: str) -> str:
    """A protocol without what it chose by itself for one network, rate or layer: that belongs to the result."""
    return _RATE.sub(r"\2", _LAYER.sub(r"\1\3", protocol))


def chosen(protocol: str) -> str:
    """What a protocol chose by itself for one network, in words; empty where it chooses nothing."""
    layer, rate = _LAYER.search(protocol), _RATE.search(protocol)
    found = [layer[2]] if layer is not None else []
    if rate is not None:
        found += [rate[1] + "".join(f",{part}" for part in rate.groups()[2:] if part)]
    return "; ".join(found)
