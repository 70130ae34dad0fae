"""Images as they are measured: decoded by several threads, and the same as one by one."""

import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import resmom.runs.clean as cleaning
from resmom.data.open import open_data
from resmom.data.source import ArraySource, Data, Images, Index, Source
from resmom.data.split import held_out
from resmom.runs.clean import clean_batches, labelled_split
from resmom.views.apply import plain
from resmom.views.policy import Policy, View

CPU = torch.device("cpu")
POLICY = Policy((View(size=24),), (0.5,) * 3, (0.25,) * 3)


@pytest.fixture
def photos(tmp_path: Path) -> Source:
    rng = np.random.default_rng(0)
    for number in range(21):
        pixels = rng.integers(0, 256, (30 + number, 50 - number, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number:02d}.png")
    return open_data(str(tmp_path), ram_limit=0).train


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize(("chunk", "part"), [(8, 3), (8, 32), (100, 4), (1, 1)])
def test_batches_are_those_of_the_images_by_themselves(
    photos: Source, workers: int, chunk: int, part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cleaning, "workers_here", lambda: workers)
    monkeypatch.setattr(cleaning, "_PART", part)
    batches = list(clean_batches(photos, POLICY, CPU, chunk))
    assert [len(batch) for batch in batches] == [min(chunk, 21 - at) for at in range(0, 21, chunk)]
    assert all(batch.is_contiguous(memory_format=torch.channels_last) for batch in batches)
    alone = [plain(photos.read(np.array([at])), 24, POLICY.mean, POLICY.std) for at in range(21)]
    assert torch.equal(torch.cat(batches), torch.cat(alone))


class Meeting(Source):
    """Photos that can be read by two at once alone: who reads waits for another."""

    def __init__(self, inner: Source) -> None:
        self._inner, self.name, self.labels, self.classes = inner, inner.name, None, ()
        self.sizes, self.channels = inner.sizes, inner.channels
        self._two = threading.Barrier(2, timeout=60)

    def __len__(self) -> int:
        return len(self._inner)

    def read(self, index: Index) -> Images:
        self._two.wait()
        return self._inner.read(index)

    @property
    def unreadable(self) -> list[tuple[str, str]]:
        return []

    def fingerprint(self) -> str:
        return "meeting"


def test_several_threads_decode_at_once(photos: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cleaning, "workers_here", lambda: 2)
    monkeypatch.setattr(cleaning, "_PART", 2)
    twenty = Meeting(photos.subset(np.arange(20)))
    assert sum(len(batch) for batch in clean_batches(twenty, POLICY, CPU, 8)) == 20


def test_images_held_as_one_tensor_are_read_at_once_and_here(monkeypatch: pytest.MonkeyPatch) -> None:
    held = ArraySource("held", torch.randint(0, 256, (40, 3, 24, 24), dtype=torch.uint8))
    reads: list[tuple[int, str]] = []

    def read(index: Index) -> Images:
        reads.append((len(index), threading.current_thread().name))
        return ArraySource.read(held, index)

    monkeypatch.setattr(held, "read", read)
    assert [len(batch) for batch in clean_batches(held, POLICY, CPU, 36)] == [36, 4]
    assert reads == [(36, threading.current_thread().name), (4, threading.current_thread().name)]
    assert held.stacked and held.subset(np.arange(3)).stacked


def test_of_files_those_of_one_size_held_in_memory_are_one_tensor(photos: Source, tmp_path: Path) -> None:
    assert not photos.stacked and not open_data(str(tmp_path)).train.stacked
    equal = tmp_path / "equal"
    equal.mkdir()
    for number in range(2):
        Image.new("RGB", (30, 20)).save(equal / f"{number}.png")
    assert open_data(str(equal)).train.stacked and not open_data(str(equal), ram_limit=0).train.stacked


def test_an_end_before_the_last_batch_leaves_no_thread(photos: Source) -> None:
    batches = clean_batches(photos, POLICY, CPU, 2)
    next(batches)
    batches.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("prefetch")]


def test_images_held_out_of_others_than_the_runs_are_not_said_to_be_unseen() -> None:
    labels = np.repeat([0, 1], 20)
    held = held_out(Data(ArraySource("a", torch.zeros(40, 3, 8, 8, dtype=torch.uint8), labels), None, "own"), 0.25)
    own, other = labelled_split(held), labelled_split(held, trained_on=False)
    assert own is not None and own.origin == "0.25 of the training images held out, which pretraining did not see"
    assert other is not None and other.origin == "0.25 of the training images held out"
