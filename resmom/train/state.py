"""What a run is made of between two steps, and what a restart carries."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from resmom.clock import Clock
from resmom.method import Method
from resmom.train.optim import load_optimizer
from resmom.transfer import sent
from resmom.which import Network


@dataclass
class State:
    """Everything that changes during training. `step` counts the batches seen, `skipped` those that did not count.

    On a GPU the newest skips are counted there first, lest the host wait in every step: see `count_skip`.
    """

    method: Method
    optimizer: Optimizer
    scaler: torch.amp.GradScaler | None = None
    online: nn.Module | None = None
    online_optimizer: Optimizer | None = None
    step: int = 0
    skipped: int = 0
    in_a_row: int = 0
    """Skipped steps since the last one that counted."""
    unread: Tensor | None = None
    """On the device: skipped steps since the last reading, and how many of them in a row up to now."""
    clock: Clock = field(default_factory=Clock)
    """Where the time goes; no part of what a restart carries."""


def count_skip(state: State, counts: Tensor) -> None:
    """Note whether the step counted, a boolean tensor, without asking its device."""
    unread = state.unread
    if unread is None:
        unread = sent(torch.tensor([0, state.in_a_row]), counts.device)
    bad = (~counts).long()
    state.unread = torch.stack([unread[0] + bad, (unread[1] + 1) * bad])


def read_skips(state: State) -> None:
    """Bring `skipped` and `in_a_row` up to date; waits for the device."""
    if state.unread is not None:
        new, state.in_a_row = (int(value) for value in state.unread.tolist())
        state.skipped += new
        state.unread = None


def student_of(method: Method) -> nn.Module:
    """The student itself, out of its data-parallel wrapper."""
    student = method.student
    return student.module if isinstance(student, DistributedDataParallel) else student


def networks_of(method: Method) -> dict[Network, nn.Module]:
    """The networks there are by their names: the student, and the teacher if the method has one."""
    if method.teacher is None:
        return {"student": student_of(method)}
    return {"student": student_of(method), "teacher": method.teacher}


def memory_of(method: Method) -> dict[str, Tensor]:
    """The method's own buffers (queues, centres), which belong to neither network."""
    return {name: buffer for name, buffer in method.named_buffers() if not name.startswith(("student.", "teacher."))}


def state_dict(state: State) -> dict[str, Any]:
    """The state as nested dictionaries of tensors and plain values.

    There is no random state in it: order, views and every draw inside a network are functions of (seed, step).
    """
    read_skips(state)
    return {
        "step": state.step,
        "skipped": state.skipped,
        "in_a_row": state.in_a_row,
        "student": student_of(state.method).state_dict(),
        "teacher": None if state.method.teacher is None else state.method.teacher.state_dict(),
        "memory": memory_of(state.method),
        "optimizer": state.optimizer.state_dict(),
        "scaler": None if state.scaler is None else state.scaler.state_dict(),
        "online": None if state.online is None else state.online.state_dict(),
        "online_optimizer": None if state.online_optimizer is None else state.online_optimizer.state_dict(),
    }


def set_aside(method: Method) -> dict[str, Tensor]:
    """Copies of the weights of both networks and of all that the method remembers.

    On the CPU: a batch that was fitted to the device's memory leaves no room for a second method beside a step.
    """
    kept = method.state_dict() | memory_of(method)
    return {name: value.detach().to("cpu", copy=True) for name, value in kept.items()}


@contextmanager
def restored(method: Method, meanwhile: Mapping[str, Tensor] | None = None) -> Iterator[None]:
    """While it is open the weights and the memory may be others, at first `meanwhile`, as `set_aside` gave them; then
    all is as it was, bit for bit.

    No copy of the networks is measured instead: a module of the user's own that has run may be none that can be copied.
    """
    now = set_aside(method)
    try:
        if meanwhile is not None:
            _put(method, meanwhile)
        yield
    finally:
        _put(method, now)


@torch.no_grad()
def _put(method: Method, kept: Mapping[str, Tensor]) -> None:
    saved, memory = method.state_dict().keys(), memory_of(method)
    beside = memory.keys() - saved  # buffers that no state dict has; a checkpoint has them
    method.load_state_dict({name: value for name, value in kept.items() if name not in beside})
    for name in beside:
        memory[name].copy_(kept[name])


def load_network(network: nn.Module, saved: Mapping[str, Any], name: str) -> None:
    """Put saved weights into a network. Raises ValueError with the first tensor in which the two differ."""
    own = network.state_dict()
    for tensor in {**saved, **own}:
        if tensor not in saved:
            raise ValueError(f"the {name} saved there has no {tensor}, this one has")
        if tensor not in own:
            raise ValueError(f"the {name} saved there has {tensor}, this one has not")
        there, here = (getattr(part[tensor], "shape", ()) for part in (saved, own))
        if there != here:
            raise ValueError(f"{tensor} of the {name} is {tuple(there)} there, {tuple(here)} in this one")
    network.load_state_dict(saved, strict=True)


@torch.no_grad()
def load_state(state: State, saved: dict[str, Any]) -> None:
    """Put a saved state into a freshly built one. Raises RuntimeError or ValueError where the two do not match."""
    load_network(student_of(state.method), saved["student"], "student")
    memory = memory_of(state.method)
    if memory.keys() != saved["memory"].keys():
        raise ValueError(f"the checkpoint's memory has {sorted(saved['memory'])}, this method needs {sorted(memory)}")
    for name, buffer in memory.items():
        buffer.copy_(saved["memory"][name])
    load_optimizer(state.optimizer, saved["optimizer"])
    for part, name in (
        (state.method.teacher, "teacher"),
        (state.scaler, "scaler"),
        (state.online, "online"),
        (state.online_optimizer, "online_optimizer"),
    ):
        if (part is None) != (saved[name] is None):
            raise ValueError(f"'{name}' is in only one of the checkpoint and this run")
        if isinstance(part, nn.Module):
            load_network(part, saved[name], name)
        elif isinstance(part, Optimizer):
            load_optimizer(part, saved[name])
        elif part is not None:
            part.load_state_dict(saved[name])
    state.step, state.skipped = saved["step"], saved["skipped"]
    state.in_a_row = saved.get("in_a_row", 0)  # older checkpoints have none
