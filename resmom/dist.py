"""The process group, or its absence: the only module that talks to torch.distributed."""

import os
import warnings
from datetime import timedelta
from functools import cache
from typing import Any, TypeVar

import torch
import torch.distributed as distributed
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from resmom import torchrun

T = TypeVar("T")

TIMEOUT = timedelta(hours=12)
"""So long a process waits for the others. Torch's own ten minutes with NCCL, or thirty with gloo, are less than the
first one may measure alone on many images. That a process died is noticed by torchrun, which ends the others."""


def active() -> bool:
    """Whether this process is one of a group."""
    return distributed.is_available() and distributed.is_initialized()


def rank() -> int:
    """This process's number in its group, 0 without one."""
    return distributed.get_rank() if active() else 0


def world() -> int:
    """The number of processes, 1 without a group."""
    return distributed.get_world_size() if active() else 1


def announced() -> int:
    """The number of processes that torchrun announces in the environment, whether or not the group is joined yet."""
    return torchrun.processes() if torchrun.told() else world()


def start(device: str = "auto") -> torch.device:
    """Join the group that torchrun announces in the environment, if any; return the device of this process.

    `device`: as it was asked for. On the CPU the group speaks by gloo, even beside a GPU: NCCL takes no tensors there.
    """
    cuda = torch.cuda.is_available() and device.partition(":")[0] != "cpu"
    if torchrun.told() and not active():
        distributed.init_process_group("nccl" if cuda else "gloo", timeout=TIMEOUT)
    if not cuda:
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


def stop() -> None:
    """Leave the group, if there is one."""
    _hosts.cache_clear()
    if active():
        distributed.destroy_process_group()


def gather(rows: Float[Tensor, "n ..."]) -> Float[Tensor, "m ..."]:
    """The rows of all ranks, in the order of the ranks, without gradient. All ranks must bring the same number."""
    rows = rows.detach()
    if not active():
        return rows
    parts = [torch.empty_like(rows) for _ in range(world())]
    distributed.all_gather(parts, rows.contiguous())
    return torch.cat(parts)


def from_first(tensor: Tensor) -> Tensor:
    """The tensor of rank 0, on every rank."""
    if active():
        distributed.broadcast(tensor, src=0)
    return tensor


def gather_with_gradient(rows: Float[Tensor, "n d"]) -> Float[Tensor, "m d"]:
    """As `gather`, but the gradient of what every rank makes of the rows comes back to the rank they are from.

    The loss of the group is the mean over ranks: that is what data-parallel averaging makes of these gradients.
    """
    if not active():
        return rows
    gathered: Tensor = _Gather.apply(rows)
    return gathered


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        ctx.n = len(rows)
        return gather(rows)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        whole = summed(gradient.contiguous())
        return whole[rank() * ctx.n : (rank() + 1) * ctx.n]


def everywhere(flag: Tensor) -> Tensor:
    """Whether a boolean tensor is true on every rank."""
    if not active():
        return flag
    return _reduced(flag.to(torch.float32), distributed.ReduceOp.MIN) > 0.5


def anywhere(flag: bool) -> bool:
    """Whether a flag of the host is true on any rank. No GPU is asked, nor waited for: it may be after every step."""
    if not active():
        return flag
    count = torch.tensor(float(flag))
    distributed.all_reduce(count, op=distributed.ReduceOp.MAX, group=_hosts())
    return bool(count > 0.5)


@cache
def _hosts() -> "distributed.ProcessGroup | None":
    """The same processes as a group that takes tensors of the CPU, made when it is first asked for; None: their own."""
    if distributed.get_backend() != "nccl":
        return None
    group = distributed.new_group(backend="gloo", timeout=TIMEOUT)
    assert isinstance(group, distributed.ProcessGroup)  # every process is in it
    return group


def least(number: int) -> int:
    """The smallest of the ranks' numbers, on every rank."""
    return min(gathered(number))


def gathered(thing: T) -> list[T]:
    """What every rank has, in the order of the ranks, on each of them. It is pickled on the way, as by `agreed`."""
    if not active():
        return [thing]
    things = [thing] * world()
    distributed.all_gather_object(things, thing)
    return things


def agreed(thing: T) -> T:
    """What the first rank has, on every rank: where each would measure, or look at, a machine of its own.

    It is pickled on the way, from one process of this group to the others. Who comes early waits.
    """
    if not active():
        return thing
    told = [thing]
    distributed.broadcast_object_list(told, src=0)
    return told[0]


def wait() -> None:
    """Wait until every rank is here, with what it read or wrote before."""
    gathered(None)


def average(tensors: list[Tensor]) -> None:
    """Replace each tensor by its mean over the ranks."""
    if active():
        for tensor in tensors:
            distributed.all_reduce(tensor)
            tensor /= world()


def summed(tensor: Tensor) -> Tensor:
    """The sum of a tensor over the ranks, on each of them, without gradient."""
    return _reduced(tensor, distributed.ReduceOp.SUM)


def largest(tensor: Tensor) -> Tensor:
    """The elementwise maximum of a tensor over the ranks, on each of them, without gradient."""
    return _reduced(tensor, distributed.ReduceOp.MAX)


def _reduced(tensor: Tensor, how: distributed.ReduceOp.RedOpType) -> Tensor:
    if not active():
        return tensor
    whole = tensor.detach().clone()
    distributed.all_reduce(whole, op=how)
    return whole


def averaged(numbers: dict[str, Tensor]) -> dict[str, float]:
    """Numbers on the device as plain ones, each the mean over the ranks, which all have the same: read at once."""
    row = torch.stack([number.float() for number in numbers.values()])
    average([row])
    return dict(zip(numbers, row.tolist(), strict=True))


def as_first(module: nn.Module) -> None:
    """Put the first rank's weights and buffers into a module of every rank: a module of the user's own, made in each,
    may have been drawn with another seed there."""
    if active():
        with torch.no_grad():
            for tensor in (*module.parameters(), *module.buffers()):
                tensor.copy_(from_first(tensor.detach().contiguous()))


def data_parallel(student: nn.Module) -> nn.Module:
    """The student wrapped so that its gradients are averaged over ranks; itself without a group.

    Buffers are not broadcast: every rank keeps its own batch statistics unless the network has SyncBatchNorm.
    """
    if not active():
        return student
    on_gpu = next(student.parameters()).device.type == "cuda"
    ids = [torch.cuda.current_device()] if on_gpu else None
    with warnings.catch_warnings():  # its successor is not there in older versions of torch
        warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated", FutureWarning)
        return DistributedDataParallel(student, device_ids=ids, broadcast_buffers=False)
