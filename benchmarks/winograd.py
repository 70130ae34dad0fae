"""Would fewer multiplications make the step faster on a CPU? Winograd's algorithm beside oneDNN's convolutions.

    python -m benchmarks.winograd [--batch 128] [--precision bf16] [--threads N] [--out FILE]

F(2 x 2, 3 x 3) of Lavin and Gray ("Fast Algorithms for Convolutional Neural Networks", CVPR 2016, section 4.1): an
output tile of 2 x 2 pixels takes 16 multiplications instead of 36. It is done by torch's operations, forward, on the
3 x 3 convolutions of a ResNet-18 with the CIFAR stem. Prints, against torch's own convolution, the speed of the whole,
and of its matrix products alone, which no way of doing the rest can exceed; minimum, median and maximum over
interleaved rounds. And the mean absolute error of both against float64, in units of the output's mean magnitude.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.ended import ended
from resmom.jsonfiles import write_json
from resmom.runs.environment import environment, shareable

WARM, ROUNDS = 2, 12
STAGES = ((64, 32), (128, 16), (256, 8), (512, 4))
"""Channels and sides of the four stages' maps."""
DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}
OUTPUT, TILE = 2, 4
KERNEL = torch.tensor([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
"""G of the paper's equation 8, the change of base of a filter."""


def filters(weight: Tensor) -> Tensor:
    """16 x I x O: each filter of O x I x 3 x 3 in the other base."""
    own = KERNEL.to(weight.device, torch.promote_types(weight.dtype, torch.float32))
    moved = torch.einsum("ai,nkij,bj->abkn", own, weight.to(own.dtype), own)
    return moved.reshape(TILE * TILE, weight.shape[1], weight.shape[0]).to(weight.dtype)


def tiles(images: Tensor) -> Tensor:
    """16 x tiles x C: every 4 x 4 tile of N x C x S x S (S even, padded by 1), half overlapping, in the other base."""
    padded = functional.pad(images, (1, 1, 1, 1)).permute(0, 2, 3, 1)
    cut = padded.unfold(1, TILE, OUTPUT).unfold(2, TILE, OUTPUT).permute(4, 5, 0, 1, 2, 3)
    return torch.stack([torch.stack(_tile(row)) for row in _tile(cut)]).reshape(TILE * TILE, -1, images.shape[1])


def _tile(d: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Along the first axis, the transpose of the paper's B."""
    return d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]


def _out(m: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    """Along the first axis, the transpose of the paper's A."""
    return m[0] + m[1] + m[2], m[1] - m[2] - m[3]


def convolved(images: Tensor, moved: Tensor) -> Tensor:
    """The 3 x 3 convolution, stride 1, padding 1, of N x C x S x S with `filters`: N x O x S x S, channels last."""
    count, side = len(images), images.shape[2]
    products = torch.bmm(tiles(images), moved)
    products = products.reshape(TILE, TILE, count, side // OUTPUT, side // OUTPUT, -1)
    found = torch.stack([torch.stack(_out(row.unbind())) for row in _out(products)])
    whole = found.permute(2, 3, 0, 4, 1, 5).reshape(count, side, side, -1)
    return whole.permute(0, 3, 1, 2)


def measure(batch: int, channels: int, side: int, dtype: torch.dtype, rounds: int) -> dict[str, Any]:
    """Processor seconds of each way in every round, and errors, of one stage."""
    torch.manual_seed(0)
    images = torch.randn(batch, channels, side, side).to(dtype).contiguous(memory_format=torch.channels_last)
    weight = torch.randn(channels, channels, 3, 3).div(3 * channels**0.5)
    weight = weight.to(dtype).contiguous(memory_format=torch.channels_last)
    moved, cut = filters(weight), tiles(images)
    ways: dict[str, Callable[[], Tensor]] = {
        "convolution": lambda: functional.conv2d(images, weight, padding=1),
        "Winograd": lambda: convolved(images, moved),
        "its products alone": lambda: torch.bmm(cut, moved),
    }
    true = functional.conv2d(images.double(), weight.double(), padding=1)
    errors = {
        name: float((ways[name]().double() - true).abs().mean() / true.abs().mean())
        for name in ("convolution", "Winograd")
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(WARM + rounds):
        for name, way in ways.items():
            began = time.process_time()
            way()
            if number >= WARM:
                seconds[name].append(time.process_time() - began)
    return {"channels": channels, "side": side, "seconds": seconds, "errors": errors}


def ratios(stage: dict[str, Any], name: str) -> list[float]:
    """The speed of a way against torch's convolution, in every round."""
    own = stage["seconds"]
    return [base / other for base, other in zip(own["convolution"], own[name], strict=True)]


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--precision", choices=list(DTYPES), default="bf16")
    parser.add_argument("--threads", type=int, default=0, help="0 leaves torch's choice")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--out", type=Path, help="a JSON file for all seconds, the machine and the command")
    options = parser.parse_args(words)
    if options.threads:
        torch.set_num_threads(options.threads)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, batch {options.batch}, {options.precision}")
    print(f"{'speed against the convolution':<40}{'min':>7}{'median':>8}{'max':>7}{'error':>10}{'its own':>10}")
    found = []
    with torch.no_grad():
        for channels, side in STAGES:
            stage = measure(options.batch, channels, side, DTYPES[options.precision], options.rounds)
            found.append(stage)
            for name in ("Winograd", "its products alone"):
                own = ratios(stage, name)
                line = f"{f'{channels} channels, {side} x {side}: {name}':<40}"
                line += f"{min(own):>7.2f}{statistics.median(own):>8.2f}{max(own):>7.2f}"
                if name in stage["errors"]:
                    line += f"{stage['errors']['convolution']:>10.1e}{stage['errors'][name]:>10.1e}"
                print(line)
    if options.out is not None:
        settings = {"batch": options.batch, "precision": options.precision}
        content = {"what": "Winograd's algorithm", "settings": settings, "stages": found}
        write_json(options.out, {**content, "environment": shareable(environment())})
    return 0


if __name__ == "__main__":
    ended("winograd", main)
