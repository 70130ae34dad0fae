"""What the automatic settings need to know of the images and of the machine."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from resmom.data.source import Data, Source
from resmom.nets.backbones import BackboneConfig
from resmom.recipes.facts import Facts
from resmom.runs.clean import thinned
from resmom.runs.initial.recognise import seen
from resmom.runs.limits import free_ram

SAMPLE = 256
"""Images looked at for mean, deviation and whether there is colour."""


def gather(data: Data, device: torch.device, init: str = "", backbone: BackboneConfig | None = None) -> Facts:
    """Look at a sample of the images and at the machine.

    `init` is a file of weights to start from, or nothing; `backbone` what the user asked for, if anything.
    """
    mean, std, grey = _pixels(data.train)
    return Facts(
        images=len(data.train),
        side=int(np.median(data.train.sizes.min(axis=1))),
        mean=mean,
        std=std,
        grey=grey,
        gpu=device.type != "cpu",
        fast_bf16=fast_bf16(device),
        init=init,
        seen=seen(init) if init else None,
        backbone=backbone,
    )


def _pixels(source: Source) -> tuple[tuple[float, ...], tuple[float, ...], bool]:
    """Mean and deviation per channel in [0, 1], each image counting alike, and whether all are without colour."""
    sample = thinned(source, SAMPLE)
    first, second, grey = [], [], True
    for start in range(0, len(sample), 16):
        images = sample.read(np.arange(start, min(start + 16, len(sample))))
        for image in images:
            pixels: Tensor = image.float().flatten(1) / 255.0
            first.append(pixels.mean(1))
            second.append(pixels.square().mean(1))
            grey = grey and bool((image == image[:1]).all())
    mean = torch.stack(first).mean(0)
    # No less than half a grey level: less is rounding, and as a deviation would make it all that a network sees.
    std = (torch.stack(second).mean(0) - mean.square()).clamp_min((0.5 / 255) ** 2).sqrt()
    return _rounded(mean), _rounded(std), grey


def _rounded(values: Tensor) -> tuple[float, ...]:
    return tuple(round(value, 4) for value in values.tolist())


def fast_bf16(device: torch.device) -> bool:
    """Whether bfloat16 is computed in hardware: CUDA from Ampere on, x86 with AVX512-BF16 or AMX, Arm with BF16."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    info = Path("/proc/cpuinfo")
    if device.type != "cpu" or not info.exists():
        return False
    words = set(info.read_text().split())
    return bool(words & {"avx512_bf16", "amx_bf16", "bf16"})


def emulates_bf16(device: torch.device) -> bool:
    """Whether bfloat16 is known to be emulated here, which costs far more than it saves: False where nothing is known.

    On an x86 processor without AVX-512 a training step in bf16 took ten times as long as in fp32 (docs/log.md).
    """
    return device.type == "cpu" and Path("/proc/cpuinfo").exists() and not fast_bf16(device)


def free_memory(device: torch.device) -> int:
    """Bytes that a run may still take: of the GPU, or of RAM within the limits that the system sets this process."""
    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # torch's own, free again
        return torch.cuda.mem_get_info(device)[0] + kept
    return free_ram()
