"""How fast photos become what a network is measured on: compiled, and decoded by several threads.

    OMP_WAIT_POLICY=PASSIVE python -m benchmarks.evaluation PHOTOS [--photos 256] [--large 16] [--rounds N]
        [--threads N] [--out FILE]

Photos as they are, spread over the folder, and large ones: photos side by side, as many as fill 4032 x 3024 pixels, as
JPEGs of quality 90. They become clean images of 224 pixels (`read`) and then features of a ResNet-18 in float32
(`features`), in three ways in turn: resized by torch's operations, by the compiled pass (both decoded by the thread
that computes), and by that in --threads others. Ratios are of speeds, in seconds of the clock of the same round; torch
computes with as many threads in all.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import nn

from benchmarks.ended import ended
from benchmarks.formats import large_image, photos_of, words
from resmom.data.open import open_data
from resmom.data.source import Source
from resmom.evaluate.features import features
from resmom.jsonfiles import write_json
from resmom.nets.backbones import ResNet, build_backbone
from resmom.nets.encoder import Encoder
from resmom.runs import clean
from resmom.runs.environment import environment, shareable
from resmom.views import fused
from resmom.views.policy import Policy, View

POLICY = Policy((View(size=224),), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
ROUNDS, WARM = 8, 1


WAYS = ("torch", "compiled", "threads")
"""Torch's operations, the compiled pass, and that in several threads."""


@contextmanager
def made_by(way: str, threads: int) -> Iterator[None]:
    """Clean images are made in one of the `WAYS`."""
    compiled = fused.available() and way != "torch"
    with (
        patch.object(clean, "workers_here", lambda: threads if way == "threads" else 0),
        patch.object(fused, "available", lambda: compiled),
    ):
        yield


def read(source: Source) -> int:
    """All images, made and dropped."""
    return sum(len(batch) for batch in clean.clean_batches(source, POLICY, torch.device("cpu")))


def measure(source: Source, network: nn.Module, threads: int, rounds: int) -> dict[str, Any]:
    """Seconds of every round for all images, by what was made of them and in which way."""
    made: dict[str, Callable[[], object]] = {
        "read": lambda: read(source),
        "features": lambda: features(network, clean.clean_batches(source, POLICY, torch.device("cpu"))),
    }
    seconds: dict[str, dict[str, list[float]]] = {what: {way: [] for way in WAYS} for what in made}
    for number in range(WARM + rounds):
        for what, make in made.items():
            for way in WAYS:
                with made_by(way, threads):
                    began = time.perf_counter()
                    make()
                    if number >= WARM:
                        seconds[what][way].append(time.perf_counter() - began)
    sizes = source.sizes.prod(axis=1) / 1e6
    return {"images": len(source), "megapixels": float(np.median(sizes)), "seconds": seconds}


def ratios(seconds: dict[str, list[float]], way: str, base: str = "torch") -> list[float]:
    """The speed of one way over that of another, in every round."""
    return [slow / fast for slow, fast in zip(seconds[base], seconds[way], strict=True)]


def table(found: dict[str, Any]) -> str:
    """Lines of Markdown: a row for each kind of photo and what is made of them."""
    rows = [
        "| photos | megapixels, median | what | compiled / torch | threads / compiled | threads / torch |",
        "|---|---|---|---|---|---|",
    ]
    for own in found.values():
        for what, seconds in own["seconds"].items():
            pairs = (("compiled", "torch"), ("threads", "compiled"), ("threads", "torch"))
            told = " | ".join(words(ratios(seconds, way, base)) for way, base in pairs)
            rows.append(f"| {own['images']} | {own['megapixels']:.2g} | {what} | {told} |")
    return "\n".join(rows)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="JPEGs, at any depth")
    parser.add_argument("--photos", type=int, default=256)
    parser.add_argument("--large", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--threads", type=int, default=0, help="default: as many as torch computes with")
    parser.add_argument("--out", type=Path, help="a JSON file for all seconds, the machine and the command")
    options = parser.parse_args(arguments)
    threads = options.threads or torch.get_num_threads()
    chosen = photos_of(options.folder, options.photos)
    network = Encoder(build_backbone(ResNet(18)), nn.Identity()).to(memory_format=torch.channels_last).eval()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        groups = {"small": Path(folder, "small"), "large": Path(folder, "large")}
        for place in groups.values():
            place.mkdir()
        for number, file in enumerate(chosen):
            (groups["small"] / f"{number:04d}.jpg").symlink_to(file.resolve())
        for number in range(options.large):
            large_image(chosen, 7 * number).save(groups["large"] / f"{number:04d}.jpg", quality=90)
        for name, place in groups.items():
            if any(place.iterdir()):
                source = open_data(str(place), ram_limit=0).train
                found[name] = measure(source, network, threads, options.rounds)
    print(table(found))
    if options.out is not None:
        about = {"what": "photos to what a network is measured on", "threads": threads}
        write_json(options.out, {**about, **found, "environment": shareable(environment())})
    return 0


if __name__ == "__main__":
    ended("evaluation", main)
