"""What a task with labels must say of itself, for a backbone to be fine-tuned for it and measured."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar, runtime_checkable

import torch
from torch import nn
from torch.optim import Optimizer

from resmom.called import called, setting
from resmom.config import ConfigError
from resmom.nets.backbones import Backbone


@runtime_checkable
class Pace(Protocol):
    """What the settings of every task have."""

    @property
    def steps(self) -> int: ...
    @property
    def batch(self) -> int: ...
    @property
    def clip(self) -> float: ...
    @property
    def seed(self) -> int: ...
    @property
    def line_steps(self) -> int: ...
    @property
    def measure_steps(self) -> int: ...
    @property
    def save_steps(self) -> int: ...


def require_seed(seed: int) -> None:
    """Raise ConfigError for a seed that the draws of a training cannot count with."""
    if not 0 <= seed < 2**32:
        raise ConfigError(f"{called('seed')} must be in [0, 2^32); got {seed}")


@runtime_checkable
class Pictured(Protocol):
    """One image of these."""

    @property
    def path(self) -> Path: ...
    @property
    def size(self) -> tuple[int, int]: ...


@runtime_checkable
class Labelled(Protocol):
    """Images with boxes or with masks."""

    @property
    def name(self) -> str: ...
    @property
    def classes(self) -> tuple[str, ...]: ...
    @property
    def images(self) -> Sequence[Pictured]: ...
    def fingerprint(self) -> str: ...


D = TypeVar("D", bound=Labelled)


@runtime_checkable
class Batches(Protocol):
    """The training images, in an order and with changes that depend on (seed, epoch, image) alone."""

    def __len__(self) -> int: ...
    @property
    def per_epoch(self) -> int: ...
    def batch(self, step: int) -> Any: ...


class Task(ABC, Generic[D]):
    """What is made of a backbone, how it is trained and measured; `train` and `test` are its images."""

    kind: ClassVar[str]
    """Of the lines that measurements leave in metrics.jsonl."""

    def __init__(self, train: D, test: D | None) -> None:
        self.train, self.test = train, test

    @property
    @abstractmethod
    def pace(self) -> Pace: ...

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """The settings as plain values for JSON."""

    @abstractmethod
    def build(self, backbone: Backbone, mean: tuple[float, ...], std: tuple[float, ...]) -> nn.Module:
        """The network around a copy of `backbone`, its new layers drawn from torch's generator; else ValueError."""

    @abstractmethod
    def optimizer(self, model: nn.Module) -> Optimizer: ...

    @abstractmethod
    def samples(self) -> Batches:
        """Raises DataError where the images do not fill a batch."""

    @abstractmethod
    def require_sizes(self) -> None:
        """Raise DataError unless the images that are learned from have, by their headers, the size of their labels."""

    @abstractmethod
    def set_rate(self, model: nn.Module, optimizer: Optimizer, step: int) -> float:
        """Give every group its learning rate of this step; the one to note."""

    @abstractmethod
    def prepare(self, model: nn.Module, device: torch.device, step: int) -> None:
        """What must be known before this step, a function of data and weights: it is done again by a restart."""

    @abstractmethod
    def settle(self, model: nn.Module, device: torch.device, workers: int) -> str:
        """Estimate on the training images what a measurement needs, between steps; the words for it, "" for nothing.

        It is a function of data, settings and weights, changes no weight, and leaves torch's generators as they were.
        """

    @abstractmethod
    def losses(
        self, model: nn.Module, batch: Any, device: torch.device, step: int
    ) -> Iterator[dict[str, torch.Tensor]]:
        """The named losses of a batch, or of its parts one by one, whose sums they are: a part's graph can then be gone
        before that of the next is made. They leave torch's generators as they were.
        """

    def remedy(self, rate: float) -> str:
        """What to change where the loss does not stay finite at the learning rate `rate`, by the options there are."""
        lower = f"lower {called('lr')} (now {rate:g})"
        return f"{lower}, lengthen the warm-up where there is one, or set {setting('clip', 10)}"

    @abstractmethod
    def scores(self, model: nn.Module, data: D, device: torch.device) -> dict[str, Any]:
        """The measurement as plain values. Raises ValueError for outputs that are not finite."""

    @abstractmethod
    def words(self, scores: dict[str, Any]) -> str:
        """A measurement in a line."""

    @abstractmethod
    def protocol(self, model: nn.Module) -> str:
        """How a number came about, in one line."""
