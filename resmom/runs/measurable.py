"""What a measurement asks of the networks that it is made of: those of a run (`Loaded`), or weights alone (`Bare`)."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from resmom.data.source import Source
from resmom.evaluate.settings import Knn
from resmom.views.policy import Policy
from resmom.which import Which


@runtime_checkable
class Measurable(Protocol):
    """Networks, what they are shown, and where what is found of them is kept."""

    @property
    def what(self) -> str:
        """In a few words."""

    @property
    def device(self) -> torch.device: ...

    @property
    def policy(self) -> Policy:
        """How clean images are seen: side of the first view, mean and deviation."""

    @property
    def trained(self) -> Policy:
        """The views of pretraining, by whose first one a classifier's crops and flips are made."""

    @property
    def crop_words(self) -> str:
        """These crops and flips in words."""

    @property
    def size_words(self) -> str:
        """What a protocol says of the side of the images; empty where it is that of a run's views."""

    @property
    def neighbours(self) -> Knn: ...

    @property
    def half(self) -> bool:
        """Whether classifiers are trained with the network under bfloat16."""

    @property
    def step(self) -> int | None:
        """Of the run; None where there is none."""

    @property
    def about(self) -> Mapping[str, Any]:
        """What a row says besides of the networks, as plain values for JSON."""

    @property
    def trained_on(self) -> str:
        """The fingerprint of the images of pretraining, empty where that is not known."""

    @property
    def online(self) -> Mapping[str, Tensor] | None:
        """The weights of the classifier that was trained beside the student, if there is one."""

    @property
    def classes(self) -> Sequence[str]:
        """That this classifier names."""

    @property
    def evaluations(self) -> Path | None:
        """The file that rows are added to, if there is one."""

    @property
    def probes(self) -> Path | None:
        """The folder of the layers that `--linear-crop` trains, if there is one."""

    def each(self, which: Which) -> Sequence[tuple[str, nn.Module]]:
        """The networks asked for (view -> Encoding, with a `backbone`), by name."""

    def untrained(self) -> tuple[str, nn.Module] | None:
        """The network as no training, or that of others, has left it, with the name of its row; None if not at hand."""

    def clean(self, source: Source) -> Iterator[Tensor]:
        """The images of a source as they are measured: N x C x S x S, some at a time, on the device."""
