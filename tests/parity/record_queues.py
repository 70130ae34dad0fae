"""As `record.py`, for the methods with a queue: what the authors' code says, into tests/golden/parity.json.

    python -m tests.parity.record_queues --moco PATH --sololearn PATH …

PATHs are checkouts of the repositories named in `SOURCES`. What is not given stays as it was recorded.
"""

import importlib
import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing import spawn
from torch.nn.parallel import DistributedDataParallel
from torchvision.models import resnet18

from tests.parity.record import Sources, load, record_from
from tests.parity.setting import QueueSetting, numbers, views, weight
from tests.parity.weights import fingerprints


@contextmanager
def alone() -> Iterator[None]:
    """A process group of one, and no GPU: the authors' code asks for several of both."""
    torch.Tensor.cuda = lambda self, *_, **__: self
    torch.distributed.init_process_group("gloo", init_method="tcp://127.0.0.1:29534", rank=0, world_size=1)
    try:
        yield
    finally:
        torch.distributed.destroy_process_group()


@torch.no_grad()
def fill(model: nn.Module, teacher: str, student: str) -> None:
    """All weights as functions of their names, the teacher's those of the student; the queues too."""
    for name, p in model.named_parameters():
        p.copy_(weight(name.replace(teacher, student), p))
    for name, buffer in model.named_buffers():
        if name.startswith("queue") and buffer.is_floating_point():
            buffer.copy_(nn.functional.normalize(numbers(name, tuple(buffer.shape)), dim=0))


def five_steps(
    model: nn.Module, loss_of: Callable[[Tensor, Tensor], Tensor], move: Callable[[], None], teacher: str, student: str
) -> dict[str, Any]:
    """Losses of five steps of SGD, and the weights after them; `move` is the teacher's, which these codes do inside
    forward and so still owe at the end."""
    s = QueueSetting()
    fill(model, teacher, student)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trained, s.lr, momentum=0.9, weight_decay=s.weight_decay)
    found: dict[str, Any] = {"losses": []}
    for step in range(s.steps):
        loss = loss_of(*views(step, s))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found["losses"].append(loss.item())
    move()
    found["student"] = fingerprints(model, student)
    found["teacher"] = fingerprints(model, teacher)
    return found


def moco(root: Path) -> dict[str, Any]:
    builder = load(root / "moco" / "builder.py", "moco_builder")
    s = QueueSetting()
    model = builder.MoCo(resnet18, s.out, s.queue, s.momentum, s.temperature, mlp=True).double()

    def loss(x_q: Tensor, x_k: Tensor) -> Tensor:
        return nn.functional.cross_entropy(*model(x_q, x_k))

    found = five_steps(model, loss, model._momentum_update_key_encoder, "encoder_k", "encoder_q")
    found["queue"] = model.queue.T.flatten().tolist()
    return found | {"shuffled": shuffled(root)}


def shuffled(root: Path) -> dict[str, Any]:
    """The same in two processes with half of each batch, keys shuffled between them; losses are the mean of both.

    Running statistics are left out: theirs are those of the first process.
    """
    with tempfile.TemporaryDirectory() as folder:
        spawn(shuffled_part, (str(root), folder), nprocs=2)
        parts = [json.loads(Path(folder, f"{rank}.json").read_text()) for rank in range(2)]
    losses = [sum(both) / 2 for both in zip(*(part.pop("losses") for part in parts), strict=True)]
    assert parts[0] == parts[1]  # both have the same weights
    return {"losses": losses, **parts[0]}


def shuffled_part(rank: int, root: str, folder: str) -> None:
    torch.Tensor.cuda = lambda self, *_, **__: self
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    builder, s = load(Path(root) / "moco" / "builder.py", "moco_builder"), QueueSetting()
    model = builder.MoCo(resnet18, s.out, s.queue, s.momentum, s.temperature, mlp=True).double()
    fill(model, "encoder_k", "encoder_q")
    both, half, step = DistributedDataParallel(model), s.images // 2, 0

    def loss(*whole: Tensor) -> Tensor:
        nonlocal step
        torch.manual_seed(step)  # of which the order of the keys is a function
        step += 1
        return nn.functional.cross_entropy(*both(*(view[rank * half : (rank + 1) * half] for view in whole)))

    found = five_steps(model, loss, model._momentum_update_key_encoder, "encoder_k", "encoder_q")
    for network in ("student", "teacher"):
        found[network] = {name: v for name, v in found[network].items() if "running" not in name}
    found["queue"] = model.queue.T.flatten().tolist()
    Path(folder, f"{rank}.json").write_text(json.dumps(found))
    torch.distributed.destroy_process_group()


def ressl(root: Path) -> dict[str, Any]:
    network = importlib.import_module("network.ressl")
    s = QueueSetting()
    model = network.ReSSL("resnet18", s.out, s.queue, s.momentum).double()

    def loss(x_q: Tensor, x_k: Tensor) -> Tensor:
        q, k = model(im_q=x_q, im_k=x_k)  # what follows is one line of their training script
        return -(torch.softmax(k / 0.04, dim=1) * torch.log_softmax(q / 0.1, dim=1)).sum(1).mean()

    found = five_steps(model, loss, model._momentum_update_key_encoder, "encoder_k", "encoder_q")
    found["queue"] = model.queue.T.flatten().tolist()
    return found


def msf(root: Path) -> dict[str, Any]:
    script = load(root / "train_msf.py", "train_msf")
    s = QueueSetting()
    model = script.MeanShift("resnet18", s.momentum, s.queue, s.neighbours).double()
    for encoder in (model.encoder_q, model.encoder_t):  # its mean of 7 x 7 places is that of all, of 224 pixels
        encoder.avgpool = nn.AdaptiveAvgPool2d(1)
    rows = nn.functional.normalize(numbers("queue", tuple(model.queue.shape)), dim=1)

    def loss(x_q: Tensor, x_t: Tensor) -> Tensor:
        if model.queue_ptr == 0 and model.labels[0] == -1:  # the first step; in this code a key is a row
            model.queue.copy_(rows)
        return model(im_q=x_q, im_t=x_t, labels=torch.zeros(len(x_q), dtype=torch.long))[0]

    found = five_steps(model, loss, model._momentum_update_target_encoder, "encoder_t", "encoder_q")
    found["student"] |= fingerprints(model, "predict_q")
    found["queue"] = model.queue[:, :4].flatten().tolist()
    return found


def sololearn(root: Path) -> dict[str, Any]:
    moco = load(root / "solo" / "losses" / "mocov2plus.py", "solo_mocov2plus")
    ressl = load(root / "solo" / "losses" / "ressl.py", "solo_ressl")
    q, k, queue = (nn.functional.normalize(numbers(name, (n, 10)), dim=1) for name, n in (("q", 6), ("k", 6), ("m", 9)))
    return {
        "mocov2plus": moco.mocov2plus_loss_func(q, k, queue.T, 0.2).item(),
        "ressl": ressl.ressl_loss_func(q, k, queue, 0.1, 0.04).item(),
    }


SOURCES: Sources = {
    "moco": ("facebookresearch/moco", moco),
    "ressl": ("KyleZheng1997/ReSSL", ressl),
    "msf": ("UMBCvision/MSF", msf),
    "sololearn": ("vturrisi/solo-learn", sololearn),
}


def main() -> None:
    with alone():
        record_from(SOURCES, __doc__)


if __name__ == "__main__":
    main()
