"""What a self-supervised method is to everybody else: who teaches, who learns, what is remembered. No behaviour."""

from abc import ABC, abstractmethod

from torch import Tensor, nn

from resmom.types import Batch, Outcome, Targets


class Method(nn.Module, ABC):
    """A student, its teacher, and one paper's loss between them; for a baseline without a teacher, that is None.

    `forward` and `teach` write nothing (batch statistics apart): the optimiser, the teacher and the memory move
    afterwards, in `train/step.py`, and only if the step counts.
    """

    student: nn.Module
    teacher: nn.Module | None
    micro_batches: bool = False
    """Of a method given from Python: whether a part of the batch can be learnt from alone, so that a batch which memory
    does not hold may be cut. Those of the package have it in their config's traits."""

    @abstractmethod
    def teach(self, batch: Batch) -> Targets:
        """What the teacher says of the whole batch, without gradient. Called once per step; nothing without one."""

    @abstractmethod
    def forward(self, batch: Batch, targets: Targets, rows: slice) -> Outcome:
        """The student on some rows of the batch: loss terms (means over those rows), pairs, and rows to remember."""

    @abstractmethod
    def remember(self, memory: tuple[Tensor, ...]) -> None:
        """Take the rows of the whole batch into the method's memory (queue, centre), after the step."""
