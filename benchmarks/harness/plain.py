"""The loop that is measured beside ours: MoCo-v3 as one writes it first."""

from copy import deepcopy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resmom.runs.training.job import Job
from resmom.train.plan import Precision
from resmom.types import Batch


class PlainLoop:
    """MoCo-v3 as one writes it first, with the job's own networks copied, in their usual memory order."""

    def __init__(self, job: Job, precision: Precision) -> None:
        teacher = job.state.method.teacher
        assert teacher is not None
        self.student: nn.Module = deepcopy(job.state.method.student).to(memory_format=torch.contiguous_format)
        self.teacher: nn.Module = deepcopy(teacher).to(memory_format=torch.contiguous_format)
        self.optimizer = torch.optim.SGD(self.student.parameters(), lr=0.01, momentum=0.9)
        self.half, self.device, self.temperature = precision == "bf16", job.device, 0.2

    def _loss(self, q: Tensor, k: Tensor) -> Tensor:
        logits = F.normalize(q.float(), dim=1) @ F.normalize(k.float(), dim=1).T / self.temperature
        return F.cross_entropy(logits, torch.arange(len(q), device=q.device)) * 2 * self.temperature

    def step(self, batch: Batch) -> float:
        x1, x2 = (view.contiguous() for view in batch.views)
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.half):
            q1, q2 = self.student(x1).p, self.student(x2).p
            with torch.no_grad():
                k1, k2 = self.teacher(x1).z, self.teacher(x2).z
        loss = self._loss(q1, k2) + self._loss(q2, k1)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        named = dict(self.student.named_parameters())
        with torch.no_grad():
            for name, p in self.teacher.named_parameters():
                p.mul_(0.99).add_(named[name], alpha=0.01)
        return loss.item()
