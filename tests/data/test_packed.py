"""Packs: the same images, labels and names as the folder, whole after any kill, and damage that is found."""

import json
import os
import signal
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from resmom.data import packing
from resmom.data.check import check
from resmom.data.decode import decode
from resmom.data.errors import DataError
from resmom.data.files import FileSource
from resmom.data.open import open_data
from resmom.data.packed import RECORD, open_pack
from resmom.data.packing import pack
from resmom.data.source import Source
from resmom.data.store import Names
from tests import forked
from tests.data.mortal import pack_and_die
from tests.data.test_folder import draw, every, labels

ODD = ("train/a/é\n1.png", os.fsdecode(b"train/b/\xff.png"), "train/b/ 3.jpg")
"""Names that a list with a name a line, or one in plain UTF-8, could not hold."""


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A labelled folder with a test split, 37 + 4 images of mixed sizes, of which three cannot be read."""
    root, random = tmp_path / "photos", np.random.default_rng(0)
    for number in range(34):
        suffix = ("jpg", "png", "webp")[number % 3]
        draw(root / f"train/{'ab'[number % 2]}/{number:02}.{suffix}", number, *random.integers(20, 90, 2).tolist())
    for number, name in enumerate(ODD):
        draw(root / name, 50 + number, 30, 20)
    for number in range(4):
        draw(root / f"val/{'ab'[number % 2]}/{number}.png", 90 + number, 25, 35)
    (root / "train/a/00.jpg").write_text("no image")  # fails at its header
    whole = (root / "train/b/03.jpg").read_bytes()
    (root / "train/b/03.jpg").write_bytes(whole[: len(whole) - 60])  # fails when decoded
    (root / "val/a/0.png").write_bytes(b"")
    return root


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "SHARD", 8)


def names(source: Source) -> list[str]:
    assert isinstance(source, FileSource)
    return [source.store.names[int(row)] for row in source.rows]


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.slow
@pytest.mark.usefixtures("small_shards")
@pytest.mark.parametrize("ram_limit", [0, 2**30])
def test_a_pack_of_the_files_as_they_are_is_the_folder(photos: Path, tmp_path: Path, ram_limit: int) -> None:
    made = pack(photos, tmp_path / "pack", workers=2)
    assert made.images == {"train": 35, "test": 3}
    assert {name for name, _ in made.unreadable} == {"a/00.jpg", "b/03.jpg", "a/0.png"}
    assert all(reason for _, reason in made.unreadable)
    folder, packed = open_data(photos, 2**30), open_data(tmp_path / "pack", ram_limit)
    assert packed.test is not None and folder.test is not None
    for one, other in ((folder.train, packed.train), (folder.test, packed.test)):
        assert names(one) == names(other) and labels(one) == labels(other) and one.classes == other.classes
        assert (one.sizes == other.sizes).all()
        for a, b in zip(every(one), every(other), strict=True):
            assert torch.equal(a, b)
    assert {name.removeprefix("train/") for name in ODD} <= set(names(packed.train))
    assert sorted(path.suffix for path in (tmp_path / "pack").iterdir()).count(".bin") == 6  # 36 and 3 in eights


@pytest.mark.usefixtures("small_shards")
def test_a_shorter_side_is_that_of_pillow(photos: Path, tmp_path: Path) -> None:
    pack(photos, tmp_path / "pack", side=24, quality=90)
    folder, packed = open_data(photos).train, open_data(tmp_path / "pack", 0).train
    reduced = 0
    for a, b in zip(every(folder), every(packed), strict=True):
        height, width = a.shape[1:]
        if min(height, width) <= 24:
            assert torch.equal(a, b)
            continue
        reduced += 1
        share = 24 / min(height, width)
        size = (max(24, round(width * share)), max(24, round(height * share)))
        file = BytesIO()
        Image.fromarray(a.permute(1, 2, 0).contiguous().numpy()).resize(size, Image.Resampling.BICUBIC).save(
            file, "JPEG", quality=90
        )
        assert torch.equal(b, decode(file)) and min(b.shape[1:]) == 24
    assert reduced > 20


@pytest.mark.usefixtures("small_shards")
def test_again_says_the_same_and_makes_nothing(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = pack(photos, tmp_path / "pack")
    before = content(tmp_path / "pack")
    monkeypatch.setattr(packing, "_shard", None)
    assert pack(photos, tmp_path / "pack") == first and content(tmp_path / "pack") == before


@pytest.mark.slow
@pytest.mark.usefixtures("small_shards")
@pytest.mark.parametrize("moment", [1, 2, 3, 40, 45, 60, 80, 90, 96, 100, 104, 106])
def test_killed_and_finished_it_is_the_same_pack(photos: Path, tmp_path: Path, moment: int) -> None:
    pack(photos, tmp_path / "whole")
    process = forked.start(pack_and_die, photos, tmp_path / "pack", moment)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    pack(photos, tmp_path / "pack")
    assert content(tmp_path / "pack") == content(tmp_path / "whole")


@pytest.mark.usefixtures("small_shards")
def test_finished_shards_are_not_made_again(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, seen = packing.encoded, []

    def failing(*arguments: Any) -> Any:
        seen.append(arguments[1])
        if len(seen) == 20:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(packing, "_require_disk", lambda *_: None)
    monkeypatch.setattr(packing, "encoded", failing)
    with pytest.raises(KeyboardInterrupt):
        pack(photos, tmp_path / "pack", workers=0)
    pack(photos, tmp_path / "pack", workers=0)
    assert len(seen) == 20 + 39 - 2 * 8  # 36 and 3 images have a header; two shards of 8 were finished


@pytest.mark.usefixtures("small_shards")
def test_a_flipped_byte_is_found_and_replaced(photos: Path, tmp_path: Path) -> None:
    pack(photos, tmp_path / "pack")
    assert all(not split.damaged for split in check(tmp_path / "pack"))
    shard = tmp_path / "pack/train-00001.bin"
    whole = bytearray(shard.read_bytes())
    index = np.fromfile(tmp_path / "pack/train.index", RECORD)
    inside = np.flatnonzero(index["shard"] == 1)[2]
    whole[int(index[inside]["start"]) + int(index[inside]["length"]) // 2] ^= 1
    shard.write_bytes(whole)
    (train, test) = check(tmp_path / "pack")
    source = open_data(tmp_path / "pack", 0).train
    assert [name for name, _ in train.damaged] == [names(source)[inside]] and not test.damaged
    assert "checksum" in train.damaged[0][1]
    (damaged, following) = source.read(np.array([inside, inside + 1]))
    assert torch.equal(damaged, following)  # the next one stands in
    assert source.unreadable == train.damaged
    assert len(open_data(tmp_path / "pack", 2**30).train) == len(source) - 1  # held in RAM it is left out


def test_bytes_between_images_are_checked_too(photos: Path, tmp_path: Path) -> None:
    """A shard whose images are whole, but which is not what was packed."""
    pack(photos, tmp_path / "pack")
    shard, index = tmp_path / "pack/test-00000.bin", np.fromfile(tmp_path / "pack/test.index", RECORD)
    first = shard.read_bytes()
    # The last image's bytes changed, and its checksum with them.
    changed = bytearray(first)
    changed[-1] ^= 255  # of the checksum of a PNG's end, which decoders pass over
    shard.write_bytes(changed)
    index["crc"][-1] = zlib.crc32(changed[int(index["start"][-1]) :])
    index.tofile(tmp_path / "pack/test.index")
    assert [name for name, _ in check(tmp_path / "pack")[1].damaged] == ["test-00000.bin", "test.index"]


def test_fingerprints_tell_packs_apart(photos: Path, tmp_path: Path) -> None:
    pack(photos, tmp_path / "a")
    pack(photos, tmp_path / "b")
    pack(photos, tmp_path / "c", side=20)
    prints = [open_pack(tmp_path / name).train.fingerprint() for name in "abc"]
    assert prints[0] == prints[1] != prints[2]


def test_a_pack_of_a_pack(photos: Path, tmp_path: Path) -> None:
    pack(photos, tmp_path / "large")
    pack(tmp_path / "large", tmp_path / "small", side=20)
    pack(photos, tmp_path / "direct", side=20)
    one, other = (open_data(tmp_path / name).train for name in ("small", "direct"))
    assert names(one) == names(other) and labels(one) == labels(other)
    assert all(torch.equal(a, b) for a, b in zip(every(one), every(other), strict=True))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"side": 5}, "side is 5; it must be at least 16 pixels, or 0"),
        ({"quality": 0}, r"quality is 0; it must be in 1 … 100"),
    ],
)
def test_refused_numbers(photos: Path, tmp_path: Path, options: dict[str, int], words: str) -> None:
    with pytest.raises(DataError, match=words):
        pack(photos, tmp_path / "pack", **options)
    assert not (tmp_path / "pack").exists()


def test_refused_places(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="holds other files"):
        pack(photos, photos)
    pack(photos, tmp_path / "pack")
    with pytest.raises(DataError, match="a pack of other images or settings"):
        pack(photos, tmp_path / "pack", side=20)
    arrays = tmp_path / "images.npz"
    np.savez(arrays, train_images=np.zeros((3, 8, 8, 3), dtype=np.uint8))
    with pytest.raises(DataError, match="not a folder of image files"):
        pack(arrays, tmp_path / "new")
    monkeypatch.setattr(packing.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000})())
    with pytest.raises(DataError, match="the pack will take about"):
        pack(photos, tmp_path / "full")


@pytest.mark.parametrize("missing", ["train-00000.bin", "train.index", "train.names", "train.ends"])
def test_an_incomplete_pack_is_refused(photos: Path, tmp_path: Path, missing: str) -> None:
    pack(photos, tmp_path / "pack")
    path = tmp_path / "pack" / missing
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(DataError, match=rf"{missing} has \d+ bytes where pack.json says"):
        open_data(tmp_path / "pack")
    path.unlink()
    with pytest.raises(DataError, match="pack the images again"):
        open_data(tmp_path / "pack")


def test_a_pack_of_another_format_is_refused(photos: Path, tmp_path: Path) -> None:
    pack(photos, tmp_path / "pack")
    written = json.loads((tmp_path / "pack/pack.json").read_text())
    (tmp_path / "pack/pack.json").write_text(json.dumps(written | {"format": 99}))
    with pytest.raises(DataError, match="not a pack of format 1"):
        open_data(tmp_path / "pack")
    for change in ({"splits": None}, {"splits": {}}, {"splits": {"train": {"name": "photos"}}}):
        (tmp_path / "pack/pack.json").write_text(json.dumps(written | change))
        with pytest.raises(DataError, match=r"pack\.json is damaged: it must have a split train"):
            open_data(tmp_path / "pack")
    (tmp_path / "pack/pack.json").write_text("{")
    with pytest.raises(DataError, match="cannot be read"):
        open_data(tmp_path / "pack")


def test_names_in_one_block() -> None:
    given = ["", "a", "b/é\n", os.fsdecode(b"\xff\xfe"), "z" * 300]
    block = Names.of(given)
    assert len(block) == 5 and [block[at] for at in range(5)] == given
    assert block.joined(np.arange(5)) == "\0".join(given).encode(errors="surrogateescape")
    assert block.joined(np.array([1, 3])) == b"a\0\xff\xfe"


def test_check_says_what_a_folder_holds(photos: Path) -> None:
    (train, test) = check(photos)
    assert (train.images, train.classes, train.per_class) == (35, 2, (17, 18)), "what a run would read"
    assert [name for name, _ in train.damaged] == ["a/00.jpg", "b/03.jpg"]
    assert [name for name, _ in test.damaged] == ["a/0.png"]
    sides = sorted(min(image.shape[1:]) for image in every(open_data(photos, 2**30).train))
    assert train.sides[0] == sides[0] and train.sides[2] == sides[-1]


@pytest.mark.parametrize("packed", [False, True])
def test_check_decodes_both_parts_where_some_images_are_held_out(photos: Path, tmp_path: Path, packed: bool) -> None:
    """Of the training files, each once; the folder's own test split is not read, as a run does not read it."""
    place = photos
    if packed:
        pack(photos, tmp_path / "pack")
        place = tmp_path / "pack"
        shard = place / "train-00000.bin"
        shard.write_bytes(bytes(100) + shard.read_bytes()[100:])  # the first images of it
    whole = check(place)[0]
    train, test = check(f"{place}@held-out=0.5")
    assert train.images + test.images == whole.images and whole.damaged
    assert sorted(train.damaged + test.damaged) == whole.damaged
    parts = open_data(f"{place}@held-out=0.5", 0)
    assert parts.test is not None and {name for name, _ in test.damaged} <= set(parts.test.names() or [])


def test_the_bytes_of_a_pack_are_compared_where_some_images_are_held_out(photos: Path, tmp_path: Path) -> None:
    pack(photos, tmp_path / "pack")
    shard = tmp_path / "pack/train-00000.bin"
    index = np.fromfile(tmp_path / "pack/train.index", RECORD)
    changed = bytearray(shard.read_bytes())
    changed[-1] ^= 255
    shard.write_bytes(changed)
    index["crc"][-1] = zlib.crc32(changed[int(index["start"][-1]) :])
    index.tofile(tmp_path / "pack/train.index")
    train, test = check(f"{tmp_path / 'pack'}@held-out=0.5")
    assert [name for name, _ in train.damaged + test.damaged] == ["train-00000.bin", "train.index"]


@pytest.mark.parametrize("kind", ["index", "names", "ends"])
def test_index_and_names_have_checksums_in_newer_packs(photos: Path, tmp_path: Path, kind: str) -> None:
    pack(photos, tmp_path / "pack")
    file = tmp_path / f"pack/train.{kind}"
    whole = bytearray(file.read_bytes())
    whole[RECORD.fields["label"][1] if kind == "index" else 0] ^= 1
    file.write_bytes(whole)
    train, test = check(tmp_path / "pack")
    assert [name for name, _ in train.damaged] == [f"train.{kind}"] and not test.damaged
    about = json.loads((tmp_path / "pack/pack.json").read_text())
    for split in about["splits"].values():
        del split["sha256"]
    (tmp_path / "pack/pack.json").write_text(json.dumps(about))
    assert not check(tmp_path / "pack")[0].damaged and len(open_data(tmp_path / "pack").train) == 35


@pytest.mark.parametrize(("field", "value"), [("shard", 7), ("shard", -1), ("start", -5), ("length", -5)])
def test_a_damaged_entry_of_the_index_is_an_unreadable_image(
    photos: Path, tmp_path: Path, field: str, value: int
) -> None:
    pack(photos, tmp_path / "pack")
    index = np.fromfile(tmp_path / "pack/train.index", RECORD)
    index[field][3] = value
    index.tofile(tmp_path / "pack/train.index")
    source = open_data(tmp_path / "pack", 0).train
    damaged, following = source.read(np.array([3, 4]))
    assert torch.equal(damaged, following) and "index is damaged" in source.unreadable[0][1]
    assert {name for name, _ in check(tmp_path / "pack")[0].damaged} == {names(source)[3], "train.index"}


@pytest.mark.parametrize("side", [-1, 0, 2**62])
def test_a_size_that_cannot_be_is_refused(photos: Path, tmp_path: Path, side: int) -> None:
    pack(photos, tmp_path / "pack")
    index = np.fromfile(tmp_path / "pack/train.index", RECORD)
    index["size"][3, 1] = side
    index.tofile(tmp_path / "pack/train.index")
    with pytest.raises(DataError, match=rf"train\.index is damaged: image 3 is said to have \d+ x {side} pixels"):
        open_data(tmp_path / "pack")


@pytest.mark.usefixtures("small_shards")
def test_what_is_left_of_the_making_goes_with_the_same_command(photos: Path, tmp_path: Path) -> None:
    """As after a kill between the last file of a pack and the end."""
    made, before = pack(photos, tmp_path / "pack"), content(tmp_path / "pack")
    for name in ("packing.json", "train-00000.done", "train-00000.index", "test-00000.done"):
        (tmp_path / "pack" / name).write_text("{}")
    assert pack(photos, tmp_path / "pack") == made and content(tmp_path / "pack") == before


@pytest.mark.usefixtures("small_shards")
def test_damaged_notes_of_a_pack_in_the_making(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pack(photos, tmp_path / "whole")
    with monkeypatch.context() as patched:
        patched.setattr(packing, "_join", None)
        with pytest.raises(TypeError):
            pack(photos, tmp_path / "pack")
    (tmp_path / "pack/train-00001.done").write_text('{"bytes": 12')
    plan = (tmp_path / "pack/packing.json").read_text()
    (tmp_path / "pack/packing.json").write_text(plan[:20])
    with pytest.raises(DataError, match="part of a pack of other images or settings; remove it, or give another"):
        pack(photos, tmp_path / "pack")
    (tmp_path / "pack/packing.json").write_text(plan)
    pack(photos, tmp_path / "pack")
    assert content(tmp_path / "pack") == content(tmp_path / "whole")


def test_an_image_too_long_for_a_jpeg_keeps_its_bytes(tmp_path: Path) -> None:
    draw(tmp_path / "photos/long.png", 0, 17, 70000)
    draw(tmp_path / "photos/other.png", 1, 17, 70)
    pack(tmp_path / "photos", tmp_path / "pack", side=16)
    long, other = every(open_data(tmp_path / "pack", 0).train)
    assert torch.equal(long, decode(tmp_path / "photos/long.png")) and other.shape == (3, 16, 66)
