"""Copies of modules, of those too that keep what they computed."""

import copy
from collections.abc import Iterator
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

AnyModule = TypeVar("AnyModule", bound=nn.Module)


def copied(module: AnyModule) -> AnyModule:
    """A deep copy. What the module computed and keeps (an attention map, the weight of torch's old weight_norm) is in
    it without the graph, with which torch copies no tensor.

    Raises ValueError for a module that holds what Python cannot copy, or a part that is TorchScript or has no weights
    yet.
    """
    for name, part in module.named_modules():
        if isinstance(part, torch.jit.ScriptModule):
            # A deep copy of one has weights that are no leaves: no optimiser takes them, and they cannot be frozen.
            where = f"{type(module).__name__}, in its part {name}," if name else type(module).__name__
            raise ValueError(
                f"{where} is TorchScript, whose copies hold no weights that can be trained; give the module as it was "
                "before torch.jit.script or torch.jit.trace"
            )
        if any(map(is_lazy, (*part.parameters(recurse=False), *part.buffers(recurse=False)))):
            where = f"its part {name}, {type(part).__name__}," if name else "it"
            raise ValueError(
                f"{type(module).__name__} cannot be copied: {where} gets its weights with the first views, and has "
                "none yet; call the module once on views, as in module(torch.zeros(2, 3, 64, 64)), and give it then"
            )
    kept = (tensor for part in module.modules() for tensor in _tensors(vars(part)))
    computed: dict[int, object] = {id(tensor): tensor.detach().clone() for tensor in kept if not tensor.is_leaf}
    try:
        return copy.deepcopy(module, computed)
    except (RuntimeError, TypeError, copy.Error) as error:
        raise ValueError(
            f"{type(module).__name__} cannot be copied: {error}; what it holds beside its weights must be what "
            "copy.deepcopy takes, so keep anything else (locks, generators, open files) outside of it"
        ) from error


def _tensors(kept: object) -> Iterator[Tensor]:
    """The tensors among attributes, those in lists, tuples and dictionaries too."""
    if isinstance(kept, Tensor):
        yield kept
    elif isinstance(kept, dict):
        yield from _tensors(tuple(kept.values()))
    elif isinstance(kept, list | tuple):
        for part in kept:
            yield from _tensors(part)
