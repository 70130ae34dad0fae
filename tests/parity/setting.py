"""The same numbers for the authors' code and for ours: inputs and weights as functions of names, on every platform."""

import zlib
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from resmom.counter import uniforms


@dataclass(frozen=True)
class Setting:
    """A small MoCo-v3 run: ResNet-18 on 32x32 images, float64, LARS, five steps."""

    steps: int = 5
    images: int = 8
    hidden: int = 32
    out: int = 16
    temperature: float = 0.2
    lr: float = 0.6
    weight_decay: float = 1e-2  # large enough to be seen in five steps
    warmup: int = 2
    epochs: int = 5
    momentum: float = 0.9


def numbers(name: str, shape: tuple[int, ...]) -> Tensor:
    """Normal numbers in float64 that depend on the name alone."""
    size = int(np.prod(shape))
    drawn = uniforms(zlib.crc32(name.encode()), 0, np.arange(-(-size // 64)), 0, 128).reshape(-1)
    first, second = np.maximum(drawn[0::2], 2.0**-40), drawn[1::2]
    normal = np.sqrt(-2 * np.log(first)) * np.cos(2 * np.pi * second)
    return torch.from_numpy(normal[:size].reshape(shape).copy())


def weight(name: str, old: Tensor) -> Tensor:
    """A start value for a parameter: of the usual size for matrices, near 1 or 0 for gains and biases."""
    drawn = numbers(name, tuple(old.shape))
    if old.ndim > 1:
        return drawn * (2.0 / old[0].numel()) ** 0.5
    return 0.1 * drawn + (1.0 if name.endswith("weight") else 0.0)


def views(step: int, setting: Setting) -> tuple[Tensor, Tensor]:
    shape = (setting.images, 3, 32, 32)
    return numbers(f"view 1 of step {step}", shape), numbers(f"view 2 of step {step}", shape)
