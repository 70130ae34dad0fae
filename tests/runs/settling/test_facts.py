"""What the derived settings are told of images and machine: sizes, pixels against NumPy, colour, memory."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from resmom.data.open import open_data
from resmom.data.source import ArraySource, Data
from resmom.nets.backbones import ResNet
from resmom.runs.settling.facts import SAMPLE, emulates_bf16, fast_bf16, free_memory, gather

CPU = torch.device("cpu")
Pixels = NDArray[np.uint8]


def noise(n: int, *shape: int, seed: int = 0) -> list[Pixels]:
    """n images H x W x C whose channels differ in mean and deviation."""
    random = np.random.default_rng(seed)
    low = np.array([0, 60, 120][: shape[-1]])
    return [(low + random.integers(0, 100, size=shape)).astype(np.uint8) for _ in range(n)]


def in_memory(images: Sequence[Pixels]) -> Data:
    return Data(ArraySource("made", torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()), None, "made")


def in_files(folder: Path, images: Sequence[Pixels]) -> Data:
    folder.mkdir()
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{number:04d}.png")
    return open_data(folder)


def expected(images: Sequence[Pixels]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and deviation per channel in [0, 1], every image counting alike, whatever its size."""
    first = np.mean([(image / 255.0).mean(axis=(0, 1)) for image in images], axis=0)
    second = np.mean([((image / 255.0) ** 2).mean(axis=(0, 1)) for image in images], axis=0)
    return first, np.sqrt(second - first**2)


def test_images_in_memory_against_numpy() -> None:
    images = noise(70, 20, 18, 3)
    found = gather(in_memory(images), CPU)
    pixels = np.stack(images) / 255.0
    assert found.mean == pytest.approx(pixels.mean(axis=(0, 1, 2)), abs=1e-4)
    assert found.std == pytest.approx(pixels.std(axis=(0, 1, 2)), abs=1e-4)
    assert (found.images, found.side, found.grey, found.gpu) == (70, 18, False, False)
    assert (found.init, found.backbone) == ("", None)


@pytest.mark.parametrize("held", [True, False])
def test_files_of_several_sizes(tmp_path: Path, held: bool) -> None:
    """Held in RAM or decoded each time: the median of the shorter sides, and images that count alike."""
    shapes = [(40, 24), (24, 60), (30, 30), (90, 90), (17, 200)]
    images = [noise(1, *shape, 3, seed=number)[0] for number, shape in enumerate(shapes)]
    images[3] = (images[3] // 4).astype(np.uint8)  # the largest is darkest: were pixels to count alike, it would show
    data = in_files(tmp_path / "images", images)
    if not held:
        data = open_data(tmp_path / "images", ram_limit=0)
    found = gather(data, CPU)
    assert (found.images, found.side) == (5, 24)  # of 17, 24, 24, 30, 90
    mean, std = expected(images)
    assert found.mean == pytest.approx(mean, abs=1e-4) and found.std == pytest.approx(std, abs=1e-4)
    together = np.concatenate([image.reshape(-1, 3) for image in images]) / 255.0
    assert abs(found.mean[0] - together.mean(axis=0)[0]) > 0.01


def test_grey_images_of_one_channel() -> None:
    images = noise(20, 16, 16, 1)
    found = gather(in_memory(images), CPU)
    assert found.grey and len(found.mean) == len(found.std) == 1
    assert found.mean == pytest.approx(expected(images)[0], abs=1e-4)


def test_grey_images_as_rgb_until_one_has_colour(tmp_path: Path) -> None:
    images = [np.repeat(image, 3, axis=2) for image in noise(20, 16, 16, 1)]
    assert gather(in_memory(images), CPU).grey
    found = gather(in_files(tmp_path / "scans", [image[..., 0] for image in images]), CPU)  # PNGs of mode L
    assert found.grey and found.mean == pytest.approx(expected(images)[0], abs=1e-4)
    images[13][5, 7, 1] ^= 8  # one pixel of one image
    assert not gather(in_memory(images), CPU).grey


def test_uniform_images_have_a_deviation_that_can_be_divided_by() -> None:
    found = gather(in_memory([np.full((16, 16, 3), 100, dtype=np.uint8)] * 4), CPU)
    assert found.mean == pytest.approx([100 / 255] * 3, abs=1e-4) and found.std == (0.002, 0.002, 0.002)


def test_of_many_images_a_sample_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sample is drawn from all of them, the same one each time."""
    images = noise(SAMPLE + 200, 8, 8, 3)
    images[300:] = [image // 2 for image in images[300:]]
    seen: list[int] = []
    read = ArraySource.read

    def watched(self: ArraySource, index: NDArray[np.int64]) -> torch.Tensor | list[torch.Tensor]:
        seen.extend(index.tolist())
        return read(self, index)

    monkeypatch.setattr(ArraySource, "read", watched)
    data = in_memory(images)
    found = gather(data, CPU)
    assert len(seen) == len(set(seen)) == SAMPLE and max(seen) >= 300 > min(seen)
    assert found.images == SAMPLE + 200  # those there are, not those looked at
    assert found.mean == pytest.approx(expected([images[at] for at in seen])[0], abs=1e-4)
    assert gather(data, CPU) == found


def test_what_was_asked_for_is_handed_on() -> None:
    found = gather(in_memory(noise(4, 16, 16, 3)), torch.device("meta"), "weights.pt", ResNet(34))
    assert (found.init, found.backbone) == ("weights.pt", ResNet(34))
    assert found.gpu and not found.fast_bf16  # a device that is not a CPU, and that nothing is known of


class TestMachine:
    """The system's own words, made up."""

    @pytest.mark.parametrize(
        ("words", "fast"),
        [
            ("flags\t\t: fpu sse avx512f avx512_bf16 avx512vl", True),
            ("flags\t\t: fpu amx_tile amx_bf16", True),
            ("Features\t: fp asimd bf16 i8mm", True),
            ("flags\t\t: fpu sse avx2 avx512f", False),
        ],
    )
    def test_bf16_of_a_cpu(self, monkeypatch: pytest.MonkeyPatch, words: str, fast: bool) -> None:
        monkeypatch.setattr(Path, "exists", lambda path: True)
        monkeypatch.setattr(Path, "read_text", lambda path: f"processor : 0\n{words}\n")
        assert fast_bf16(CPU) is fast and emulates_bf16(CPU) is not fast
        assert not emulates_bf16(torch.device("meta"))

    def test_bf16_where_the_system_says_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Path, "exists", lambda path: False)
        assert not fast_bf16(CPU) and not emulates_bf16(CPU)  # nothing is known, and nobody is warned

    @pytest.mark.parametrize(("capability", "fast"), [((7, 5), False), ((8, 0), True), ((9, 0), True)])
    def test_bf16_of_a_gpu(self, monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], fast: bool) -> None:
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
        assert fast_bf16(torch.device("cuda")) is fast

    def test_free_memory_of_a_gpu(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (3 << 30, 16 << 30))
        assert free_memory(torch.device("cuda")) == 3 << 30
