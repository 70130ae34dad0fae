"""What `data check` counts of images that can be read: pages and channels that are not, alpha, few grey levels."""

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, TiffImagePlugin

from resmom.data.check import Peculiar, check
from resmom.data.decode import decode
from resmom.data.packing import pack
from resmom.data.peculiar import FEW, KINDS, Kind, has_few_levels, left_out
from resmom.data.rgb import UnreadableImage
from tests.conftest import Call
from tests.data.test_folder import plant
from tests.data.test_tiff import tiff

H, W = 30, 40


def pixels(channels: int, low: int = 0, high: int = 256, seed: int = 0) -> np.ndarray:
    made = np.random.default_rng(seed).integers(low, high, (H, W, channels)).astype(np.uint8)
    return made[:, :, 0] if channels == 1 else made


def kinds_of(file: Path) -> set[Kind]:
    found: list[set[Kind]] = []
    decode(file, look=lambda image: found.append(left_out(image)))
    return found[0] if found else set()


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "tif"])
@pytest.mark.parametrize("frames", [1, 3])
def test_further_pages_and_frames(tmp_path: Path, suffix: str, frames: int) -> None:
    first, *others = (Image.fromarray(pixels(3, seed=seed)) for seed in range(frames))
    first.save(tmp_path / f"x.{suffix}", save_all=True, append_images=others)
    assert kinds_of(tmp_path / f"x.{suffix}") == ({"pages"} if frames > 1 else set())


def test_a_second_page_that_is_damaged_is_one(tmp_path: Path) -> None:
    """The first can be read, and a run reads it."""
    first, second = (Image.fromarray(pixels(3, seed=seed)) for seed in range(2))
    first.save(tmp_path / "x.tif", save_all=True, append_images=[second])
    whole = (tmp_path / "x.tif").read_bytes()
    (tmp_path / "cut.tif").write_bytes(whole[: len(whole) * 2 // 3])
    assert kinds_of(tmp_path / "cut.tif") == {"pages"} and decode(tmp_path / "cut.tif").shape == (3, H, W)


@pytest.mark.parametrize(("mode", "channels"), [("LA", 2), ("RGBA", 4)])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_an_alpha_channel_counts_where_it_is_not_opaque(tmp_path: Path, mode: str, channels: int, suffix: str) -> None:
    values = pixels(channels)
    for name, alpha, found in (("clear", 0, {"transparent"}), ("opaque", 255, set())):
        values[0, :, -1] = alpha
        values[1:, :, -1] = 255
        image = Image.fromarray(values)
        assert image.mode == mode
        image.save(tmp_path / f"{name}.{suffix}")
        assert kinds_of(tmp_path / f"{name}.{suffix}") == found


@pytest.mark.parametrize(
    ("extra", "found"),
    [((0,), {"channels"}), ((2,), {"transparent"}), ((0, 0, 0), {"channels"}), ((2, 0), {"channels"})],
)
def test_bands_beyond_the_colours(tmp_path: Path, extra: tuple[int, ...], found: set[Kind]) -> None:
    (tmp_path / "x.tif").write_bytes(tiff("u1", 3 + len(extra), t338=extra))
    assert kinds_of(tmp_path / "x.tif") == found


def test_a_band_beside_grey(tmp_path: Path) -> None:
    """Which older versions of Pillow do not know."""
    (tmp_path / "x.tif").write_bytes(tiff("u1", 2, t338=(0,)))
    if (b"II", 1, (1,), 1, (8, 8), (0,)) in TiffImagePlugin.OPEN_INFO:
        assert kinds_of(tmp_path / "x.tif") == {"channels"}
    else:
        with pytest.raises(UnreadableImage, match="2 channels of 8-bit integers"):
            decode(tmp_path / "x.tif")


def test_the_fourth_of_a_print(tmp_path: Path) -> None:
    Image.fromarray(pixels(3)).convert("CMYK").save(tmp_path / "print.tif")
    assert kinds_of(tmp_path / "print.tif") == set()


def test_the_fourth_band_of_a_map(tmp_path: Path) -> None:
    info = TiffImagePlugin.ImageFileDirectory_v2()
    info[33550], info.tagtype[33550] = (1.0, 1.0, 0.0), 12
    Image.fromarray(pixels(4)).save(tmp_path / "map.tif", tiffinfo=info)
    assert kinds_of(tmp_path / "map.tif") == {"channels"}


@pytest.mark.parametrize("levels", [1, FEW - 1, FEW, FEW + 1, 256])
@pytest.mark.parametrize("side", [1, 5, 40, 300])
def test_few_levels(levels: int, side: int) -> None:
    low = (256 - levels) // 2
    values = torch.arange(3 * side * side) % levels + low
    image = values.to(torch.uint8).reshape(side, side, 3).permute(2, 0, 1)
    assert has_few_levels(image) == (min(levels, 3 * side * side) <= FEW)


def test_single_bright_pixels_do_not_make_an_image_bright() -> None:
    image = torch.randint(5, 20, (3, 200, 200), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    image[:, 3, 5] = 255
    assert has_few_levels(image)
    image[:, 50:80, 50:80] = 200
    assert not has_few_levels(image)


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """Two plain images, and of every kind one or two; one that cannot be read."""
    root = tmp_path / "odd"
    root.mkdir()
    Image.fromarray(pixels(3)).save(root / "plain.png")
    Image.fromarray(pixels(3)).save(root / "plain.jpg")
    others = [Image.fromarray(pixels(1, seed=1))]
    for name in ("b.gif", "a.tif"):
        Image.fromarray(pixels(1)).save(root / name, save_all=True, append_images=others)
    Image.fromarray(pixels(4)).save(root / "alpha.png")
    (root / "bands.tif").write_bytes(tiff("u1", 6, t338=(0, 0, 0)))
    twelve = np.random.default_rng(0).integers(0, 4096, (H, W)).astype(np.uint16)
    Image.fromarray(twelve).save(root / "twelve.png")
    Image.fromarray(twelve * 16).save(root / "stretched.tif")
    Image.fromarray(pixels(3, 10, 30)).save(root / "dim.jpg")
    (root / "float.tif").write_bytes(tiff("f8"))
    return root


EXPECTED = {
    "pages": (2, ["a.tif", "b.gif"]),
    "channels": (1, ["bands.tif"]),
    "transparent": (1, ["alpha.png"]),
    "few_levels_wide": (1, ["twelve.png"]),
    "few_levels": (2, ["bands.tif", "dim.jpg"]),
}


def test_each_kind_is_counted_with_the_names(odd: Path, tmp_path: Path) -> None:
    (found,) = check(odd)
    assert found.peculiar == tuple(Peculiar(kind, *EXPECTED[kind]) for kind in KINDS)
    assert [name for name, _ in found.damaged] == ["float.tif"] and found.images == 9
    pack(odd, tmp_path / "pack")
    assert check(tmp_path / "pack")[0].peculiar == found.peculiar
    with tarfile.open(tmp_path / "photos.tar", "w") as tar:
        tar.add(odd, "odd")
    inside = check(tmp_path / "photos.tar")[0].peculiar
    assert [(each.kind, each.images) for each in inside] == [(each.kind, each.images) for each in found.peculiar]


def test_parts_of_a_split_are_counted_by_themselves(odd: Path) -> None:
    for number in range(10):
        for name in "cd":
            (odd / name).mkdir(exist_ok=True)
            Image.fromarray(pixels(4, seed=number)).save(odd / f"{name}/{number}.png")
    for file in list(odd.iterdir()):
        if file.is_file():
            file.unlink()
    train, test = check(f"{odd}@held-out=0.2")
    assert [each.images for each in train.peculiar] == [16] and [each.images for each in test.peculiar] == [4]


def test_the_command_says_what_each_kind_means(odd: Path, call: Call) -> None:
    status, out, err = call("data", "check", odd)
    assert status == 1 and err == ""  # for the image that cannot be read
    for words in (
        "2 images have further pages or frames, of which the first alone is read, such as 'a.tif', 'b.gif'\n",
        "1 image has further channels, of which the first three are read, or one of grey, such as 'bands.tif'\n",
        "1 image has an alpha channel that is not opaque: what is seen through is white, such as 'alpha.png'\n",
        "1 image has more than 8 bits a value, but few of the 256 grey levels that are read, such as 'twelve.png'; ",
        "2 images have few of the 256 grey levels, such as 'bands.tif', 'dim.jpg'; where their originals have more",
    ):
        assert f"  {words}" in out
    (odd / "float.tif").unlink()
    status, out, _ = call("data", "check", odd, "--json")
    (found,) = json.loads(out)
    assert status == 0 and found["peculiar"][0] == {"kind": "pages", "images": 2, "names": ["a.tif", "b.gif"]}
    assert "--json" not in call("data", "check", odd)[1], "all are named already"


def test_of_many_images_three_are_named_and_how_to_get_all(
    tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        Image.fromarray(pixels(4, seed=number)).save(tmp_path / f"{number}.png")
    out = call("data", "check", tmp_path)[1]
    assert "5 images have an alpha channel" in out and "such as '0.png', '1.png', '2.png'\n" in out
    assert "'3.png'" not in out and "(--json names all of them)\n" in out
    (found,) = json.loads(call("data", "check", tmp_path, "--json")[1])
    assert found["peculiar"] == [
        {"kind": "transparent", "images": 5, "names": [f"{number}.png" for number in range(5)]}
    ]
    monkeypatch.setattr("resmom.data.check.MOST_NAMES", 4)
    (found,) = json.loads(call("data", "check", tmp_path, "--json")[1])
    assert (found["peculiar"][0]["images"], len(found["peculiar"][0]["names"])) == (5, 4)
    assert "(--json names all of them, of a kind 4 at most)\n" in call("data", "check", tmp_path)[1]


def test_classes_are_named_with_where_they_are_from(tmp_path: Path, call: Call) -> None:
    for number in range(14):
        plant(tmp_path / "photos", f"2023-01-{number % 7:02}/{number}.png")
    out = call("data", "check", tmp_path / "photos")[1]
    days = ", ".join(f"2023-01-0{day}" for day in range(5))
    assert f"  7 classes of 2 to 2 images\n  classes from the folders' names: {days}, ...\n" in out
    (tmp_path / "photos/t.csv").write_text("path;label\n0.png;cat\n1.png;NA\n2.png;dog\n")
    out = call("data", "check", tmp_path / "photos/t.csv")[1]
    assert "1 images without a label\n  classes from the column label of t.csv: cat, dog\n" in out
    assert "\nlabels: 'NA' (1) in the column label of t.csv means no label\npaths: 3 of 3 are names without" in out
    found = json.loads(call("data", "check", tmp_path / "photos/t.csv", "--json")[1])
    assert found[0]["first_classes"] == ["cat", "dog"] and len(found[0]["notes"]) == 2
    assert "labels: 'NA' (1)" in call("data", "pack", tmp_path / "photos/t.csv", "--out", tmp_path / "pack")[2]
