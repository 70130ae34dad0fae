"""Autocast on the pretended device, by CUDA's own lists: which operations it computes in half precision, which in full.

The lists of a CPU are others: there layer norm, for one, stays in half precision.
"""

import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree

KEY = "AutocastPrivateUse1"
HEADER = Path(torch.__file__).parent / "include" / "ATen" / "autocast_mode.h"
Kernel = Callable[..., Any]


def start(device: str) -> list[Any]:
    """Have autocast do to tensors of `device` what it does to CUDA's; what is returned must be kept."""
    rest, library = torch.library.Library("_", "IMPL"), torch.library.Library("aten", "IMPL")
    rest.fallback(torch.library.fallthrough_kernel, KEY)  # of all other operations: nothing
    for listed, cast in {
        "LOWER_PRECISION_FP": partial(_lower, device),
        "FP32": partial(_full, device),
        "FP32_SET_OPT_DTYPE": partial(_result, device),
        "PROMOTE": partial(_widest, device),
    }.items():
        for operation, overload in operations(HEADER.read_text(), listed):
            name = f"{operation}.{overload}" if overload else operation
            if torch._C._dispatch_has_kernel(f"aten::{name}"):
                kernel = getattr(getattr(torch.ops.aten, operation), overload or "default")
                library.impl(name, partial(_run, kernel, cast), KEY)
    return [rest, library]


def operations(header: str, listed: str) -> Sequence[tuple[str, str]]:
    """The operations of a list of the header, each with its overload, "" for the default one."""
    found = re.search(rf"#define AT_FORALL_{listed}\(_\)(.*?)\n\s*\n", header, re.DOTALL)
    assert found is not None
    return re.findall(r"_\((\w+)(?:,\s*(\w+))?\)", found[1])


def _run(kernel: Kernel, cast: Callable[[Any, Any], tuple[Any, Any]], *args: Any, **kwargs: Any) -> Any:
    with torch._C._ExcludeDispatchKeyGuard(torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastPrivateUse1)):
        args, kwargs = cast(args, kwargs)
        return kernel(*args, **kwargs)


def _counts(device: str, value: Any) -> bool:
    """Whether autocast looks at it: a floating number there, and not one of twice the precision."""
    there = isinstance(value, Tensor) and value.device.type == device
    return there and value.is_floating_point() and value.dtype != torch.float64


def _to(device: str, dtype: torch.dtype, args: Any, kwargs: Any) -> tuple[Any, Any]:
    def cast(value: Any) -> Any:
        return value.to(dtype) if _counts(device, value) else value

    return _pytree.tree_map(cast, args), _pytree.tree_map(cast, kwargs)


def _lower(device: str, args: Any, kwargs: Any) -> tuple[Any, Any]:
    return _to(device, torch.get_autocast_dtype(device), args, kwargs)


def _full(device: str, args: Any, kwargs: Any) -> tuple[Any, Any]:
    return _to(device, torch.float32, args, kwargs)


def _result(device: str, args: Any, kwargs: Any) -> tuple[Any, Any]:
    """Full precision of the result, unless another is asked for."""
    return args, {"dtype": torch.float32, **kwargs} if _counts(device, args[0]) else kwargs


def _widest(device: str, args: Any, kwargs: Any) -> tuple[Any, Any]:
    leaves = [leaf for leaf in _pytree.tree_leaves((args, kwargs)) if _counts(device, leaf)]
    full = any(leaf.dtype == torch.float32 for leaf in leaves)
    return _to(device, torch.float32, args, kwargs) if full else (args, kwargs)
