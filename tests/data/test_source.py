"""Arrays and subsets as sources, and what their fingerprints see."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from resmom.data.errors import DataError
from resmom.data.folder import open_folder
from resmom.data.rgb import UnreadableImage
from resmom.data.source import ArraySource, digest


def images(n: int = 20, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, (n, 3, 6, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def test_an_array_is_read_by_number() -> None:
    source = ArraySource("toy", images(), np.arange(20) % 2, ("cat", "dog"))
    assert len(source) == 20 and source.channels == 3 and source.unreadable == [] and source.classes == ("cat", "dog")
    assert source.sizes.shape == (20, 2) and source.sizes[7].tolist() == [6, 8]
    index = np.array([3, 3, 19, 0])
    assert torch.equal(source.read(index), images()[index])
    assert source.read(np.array([], dtype=np.int64)).shape == (0, 3, 6, 8)


@pytest.mark.parametrize("index", [[20], [-1], [0, 5, 99]])
def test_numbers_beyond_the_images_are_refused(index: list[int]) -> None:
    source = ArraySource("toy", images())
    for use in (source.read, source.subset):
        with pytest.raises(IndexError, match="toy has images 0 to 19"):
            use(np.array(index))
    with pytest.raises(IndexError, match="images 0 to 1"):
        source.subset(np.array([3, 4])).read(np.array([2]))


def test_a_subset_is_a_source_of_its_own() -> None:
    source = ArraySource("toy", images(), np.arange(20), tuple(str(n) for n in range(20)))
    some = source.subset(np.array([7, 2, 11]))
    assert (len(some), some.name, some.channels) == (3, "3 of toy", 3)
    assert some.labels is not None and some.labels.tolist() == [7, 2, 11] and some.sizes.shape == (3, 2)
    assert torch.equal(some.read(np.array([2, 0])), images()[[11, 7]])
    assert torch.equal(some.subset(np.array([1])).read(np.array([0])), images()[[2]])
    assert some.classes == source.classes and some.unreadable == []
    assert source.subset(np.array([], dtype=np.int64)).sizes.shape == (0, 2)


def test_one_image_and_one_name(tmp_path: Path) -> None:
    """Of an array, of files, and of parts of both; a file that cannot be decoded has nothing in its place."""
    source = ArraySource("toy", images())
    part = source.subset(np.array([7, 2, 11])).subset(np.array([2, 0]))
    assert torch.equal(source.pixels(3), images()[3]) and torch.equal(part.pixels(0), images()[11])
    assert part.root is source and part.name_of(0) is None
    noise = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    for name, shown in (("a.png", noise), ("b.jpg", noise), ("c.png", np.full_like(noise, 3))):
        Image.fromarray(shown).save(tmp_path / name)
    broken = tmp_path / "b.jpg"
    broken.write_bytes(broken.read_bytes()[:-60])
    for limit, names in ((0, ["a.png", "b.jpg", "c.png"]), (2**20, ["a.png", "c.png"])):
        files = open_folder(tmp_path, limit).train
        assert [files.name_of(at) for at in range(len(files))] == names
        last = files.subset(np.array([len(names) - 1]))
        assert last.name_of(0) == "c.png" and last.pixels(0).unique().tolist() == [3]
    files = open_folder(tmp_path, 0).train
    with pytest.raises(UnreadableImage, match="cut short"):
        files.pixels(1)
    assert files.unreadable == [] and len(files.failed) == 0


def test_later_changes_of_the_index_do_not_reach_a_subset() -> None:
    index = np.array([1, 2])
    some = ArraySource("toy", images()).subset(index)
    index[0] = 5
    assert torch.equal(some.read(np.array([0])), images()[[1]])


def test_fingerprints_follow_the_data() -> None:
    source = ArraySource("toy", images())
    changed = images()
    changed[-1, 0, 0, 0] += 1
    others = [
        ArraySource("toy", changed),
        ArraySource("toy", images(19)),
        ArraySource("toy", images().reshape(20, 3, 8, 6)),
        ArraySource("toy", images(), np.zeros(20, dtype=np.int64)),
        source.subset(np.arange(20)),
        source.subset(np.arange(20)[::-1]),
    ]
    prints = [each.fingerprint() for each in (source, *others)]
    assert len(set(prints)) == len(prints) and all(len(each) == 16 for each in prints)
    assert ArraySource("another name", images()).fingerprint() == source.fingerprint()


def test_parts_of_a_digest_do_not_run_together() -> None:
    assert digest([b"ab", b"c"]) != digest([b"a", b"bc"]) != digest([b"abc"])


def test_no_images_and_missing_labels_are_refused() -> None:
    with pytest.raises(DataError, match="toy holds no images"):
        ArraySource("toy", images(0))
    with pytest.raises(DataError, match=r"20 images but labels of shape \(19,\)"):
        ArraySource("toy", images(), np.zeros(19, dtype=np.int64))
