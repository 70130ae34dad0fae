"""A device that is not the CPU, without one: its tensors are held in RAM, and nobody may read them by accident.

`pretended:0` is a backend of torch's own kind for those written in Python. What lies on it can be used with what lies
there alone, as on a GPU, so that a tensor made in the wrong place raises; the numbers are the CPU's. Whatever brings a
number to the host raises inside `unread()`, and so does a copy to the device that is not `non_blocking`: for such a
one, that of `torch.tensor(…, device=…)` too, torch waits until the device has done all that it was asked for before.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, final

import torch
from packaging.version import Version
from torch import Tensor
from torch.utils import _pytree, backend_registration

from resmom import transfer
from tests import pretended_autocast

aten = torch.ops.aten
NAME = "pretended"
DEVICE = torch.device("cpu")
"""The device, once `start` was called."""
POSSIBLE = hasattr(backend_registration, "_DummyBackendModule") or Version(torch.__version__) >= Version("2.15")
"""Whether torch knows of backends written in Python, which older ones do not."""

_state = threading.local()
_MADE: list[Any] = []

_READING = {
    aten._local_scalar_dense.default,
    aten.equal.default,
    aten.nonzero.default,
    aten.masked_select.default,
    aten._unique2.default,
    aten.bincount.default,
    aten.repeat_interleave.Tensor,
}
"""Operations whose result, or its shape, the host must know."""

_MAKING = (
    "empty.memory_format",
    "empty_strided",
    "arange",
    "arange.start",
    "arange.start_step",
    "linspace",
    "eye",
    "eye.m",
    "randperm",
    "randperm.generator",
)
"""Operations that make tensors out of nothing; all others begin with these."""


class MixedDevices(RuntimeError):
    """Tensors of two devices met in one operation."""


class HostRead(RuntimeError):
    """The host waits for the device, mostly to read something, where nobody may."""


@final
class Held(Tensor):
    """A tensor on the pretended device; `raw` is what it holds."""

    raw: Tensor

    @staticmethod
    def __new__(cls, raw: Tensor) -> "Held":
        return Tensor._make_wrapper_subclass(  # type: ignore[attr-defined, no-any-return]
            cls, raw.shape, strides=raw.stride(), storage_offset=raw.storage_offset(), dtype=raw.dtype, device=DEVICE
        )

    def __init__(self, raw: Tensor) -> None:
        self.raw = raw

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})

    def tolist(self) -> Any:  # torch refuses it for tensors of a class of their own
        _read("tolist")
        return self.raw.tolist()

    def __reduce_ex__(self, protocol: Any) -> Any:  # a file holds it as a tensor of the CPU
        return self.raw.__reduce_ex__(protocol)

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        return f"Held({self.raw!r})"


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    tensors = [leaf for leaf in _pytree.tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    held = [one for one in tensors if isinstance(one, Held)]
    asked = None if kwargs.get("device") is None else torch.device(kwargs["device"]).type
    copies = func in (aten.copy_.default, aten._to_copy.default)
    # A lone number of the CPU may meet tensors of a GPU, as a value; not as an index.
    if not copies and any(not isinstance(one, Held) and (one.ndim or _indexes(func)) for one in tensors):
        places = [f"{tuple(one.shape)} on {one.device.type}" for one in tensors]
        raise MixedDevices(f"{func} of {', '.join(places)}")
    if asked == "cpu" or func in _READING or _masked(func, args) or _written_to_host(func, args):
        _read(str(func))
    if func is aten.copy_.default and not isinstance(args[1], Held):
        _copied(kwargs.get("non_blocking", len(args) > 2 and args[2]))
    out = func(*_pytree.tree_map(_raw, args), **{**_pytree.tree_map(_raw, kwargs), **_on_cpu(kwargs)})
    here = isinstance(args[0], Held) if func is aten.copy_.default else asked in (None, NAME)
    if not here or func is aten._local_scalar_dense.default:
        return out
    same = {id(one.raw): one for one in held}

    def placed(value: Any) -> Any:
        return same[id(value)] if id(value) in same else Held(value) if isinstance(value, Tensor) else value

    return _pytree.tree_map(placed, out)


def _read(what: str) -> None:
    if getattr(_state, "unread", False):
        raise HostRead(f"{what} waits for the device")


def _copied(non_blocking: bool) -> None:
    if not non_blocking:
        _read("a copy to the device")


def _raw(value: Any) -> Any:
    return value.raw if isinstance(value, Held) else value


def _on_cpu(kwargs: dict[str, Any]) -> dict[str, Any]:
    return {} if kwargs.get("device") is None else {"device": torch.device("cpu")}


def _indexes(func: Any) -> bool:
    return func in (aten.index.Tensor, aten.index_put_.default, aten.index_select.default, aten.gather.default)


def _masked(func: Any, args: Any) -> bool:
    """Whether rows are taken by a mask, so that the host must know how many there are."""
    return func is aten.index.Tensor and any(one is not None and one.dtype == torch.bool for one in args[1])


def _written_to_host(func: Any, args: Any) -> bool:
    return func is aten.copy_.default and not isinstance(args[0], Held)


class _Module(backend_registration._DummyBackendModule if POSSIBLE else object):  # type: ignore[misc]
    """What torch asks a backend for: which numbers autocast may take there, and random numbers, which are the CPU's."""

    def get_rng_state(self, device: Any = None) -> Tensor:
        return torch.empty(0)

    def set_rng_state(self, state: Tensor, device: Any = None) -> None:
        pass

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16, torch.float16]


def start() -> torch.device:
    """Make the device known to torch, for the rest of this process. Can be called again."""
    global DEVICE
    if not _MADE:
        backend_registration._setup_privateuseone_for_python_backend(NAME, _Module())
        DEVICE = torch.device(NAME, 0)
        library = torch.library.Library("aten", "IMPL")
        _MADE.append(library)
        for name in _MAKING:
            operation, _, overload = name.partition(".")
            library.impl(name, partial(_made, getattr(getattr(aten, operation), overload or "default")), "PrivateUse1")
        library.impl("_copy_from", _copy_from, "PrivateUse1")
        _MADE.extend(pretended_autocast.start(NAME))
        transfer.AHEAD.add(NAME)
    return DEVICE


def _made(operation: Any, *args: Any, **kwargs: Any) -> Tensor:
    """A fresh tensor on the device, made on the CPU."""
    kept = {name: value for name, value in kwargs.items() if name not in ("device", "pin_memory", "layout")}
    return Held(operation(*args, device=torch.device("cpu"), **kept))


def _copy_from(source: Tensor, target: Tensor, non_blocking: bool = False) -> Tensor:
    if isinstance(target, Held) and not isinstance(source, Held):
        _copied(non_blocking)
    _raw(target).copy_(_raw(source))
    return target


def load(read: Any, *args: Any, **kwargs: Any) -> Any:
    """torch.load, which `read` is, for `map_location` of this device."""
    place = kwargs.get("map_location")
    if place is None or torch.device(place).type != NAME:
        return read(*args, **kwargs)
    found = read(*args, **{**kwargs, "map_location": "cpu"})
    return _pytree.tree_map(lambda value: value.to(DEVICE) if isinstance(value, Tensor) else value, found)


@contextmanager
def unread() -> Iterator[None]:
    """Inside, this thread never waits for the device, nor brings anything to the host: it would raise HostRead."""
    before = getattr(_state, "unread", False)
    _state.unread = True
    try:
        yield
    finally:
        _state.unread = before
