"""Photos as phones take them: HEIC and AVIF come as a JPEG of the same would, and damage is told in words."""

import io
from base64 import b64decode
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from resmom.data import folder, heif
from resmom.data.check import check
from resmom.data.decode import converted, decode, header, stored
from resmom.data.errors import DataError
from resmom.data.folder import open_folder
from resmom.data.packing import pack
from resmom.data.rgb import UnreadableImage
from tests.data.test_decode import H, W, apart, photo

AVIF = pytest.param(
    "AVIF", marks=pytest.mark.skipif(".avif" not in heif.readable(), reason="Pillow reads it from 11.3 on")
)
HEIC = pytest.param("HEIC", marks=pytest.mark.skipif(".heic" not in heif.readable(), reason="the extra heif"))
both, heic, avif = (pytest.mark.parametrize("kind", kinds) for kinds in ([AVIF, HEIC], [HEIC], [AVIF]))

_TEN_BITS = """
AAAAHGZ0eXBhdmlmAAAAAGF2aWZtaWYxbWlhZgAAAOptZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAA
AA5waXRtAAAAAAABAAAAImlsb2MAAAAAREAAAQABAAAAAAEOAAEAAAAAAAAAKwAAACNpaW5mAAAAAAABAAAAFWluZmUCAAAAAAEA
AGF2MDEAAAAAamlwcnAAAABLaXBjbwAAABNjb2xybmNseAABAA0ABoAAAAAMYXYxQ4EgQgAAAAAUaXNwZQAAAAAAAAAQAAAACAAA
ABBwaXhpAAAAAAMKCgoAAAAXaXBtYQAAAAAAAAABAAEEAYIDBAAAADNtZGF0EgAKCDgMv7GAhoNIMh0RgAIIIIQAt0BJ1Gkbqb/P
rZJFX7fG8Ty1+UCZ4A==
"""
"""An AVIF of 8 x 16 pixels of ten bits, from black on the left to white in steps of a fifteenth."""


def encoded(kind: str, image: Image.Image, orientation: int = 1, quality: int = 95) -> io.BytesIO:
    """The image as such a file, with an EXIF block that names a camera, too."""
    file, exif = io.BytesIO(), Image.Exif()
    exif[0x010F], exif[0x0112], exif[0x0113] = "A camera", orientation, 3
    if kind == "HEIC":
        from pillow_heif import from_pillow

        made = from_pillow(image)
        made.info["exif"] = exif.tobytes()
        made.save(file, quality=quality, chroma=444)
    else:
        sampling = {} if image.mode in ("L", "I;16") else {"subsampling": "4:4:4"}
        image.save(file, kind, quality=quality, exif=exif.tobytes(), **sampling)
    return io.BytesIO(file.getvalue())


def jpeg(image: Image.Image, orientation: int) -> torch.Tensor:
    file, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = orientation
    image.save(file, "JPEG", quality=100, subsampling=0, exif=exif)
    return decode(file)


@both
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_container_turns_the_image_upright(kind: str, orientation: int, tmp_path: Path) -> None:
    file = encoded(kind, photo(), orientation)
    image = decode(file)
    assert image.dtype == torch.uint8 and image.permute(1, 2, 0).is_contiguous()
    assert apart(image, jpeg(photo(), orientation)) <= 8
    assert header(file) == tuple(image.shape[1:]) == ((W, H) if orientation >= 5 else (H, W))
    opened = heif.opened(file)
    assert opened is not None and torch.equal(converted(opened), image)
    assert torch.equal(converted(opened), image)  # loaded by now
    (tmp_path / "photo.jpg").write_bytes(file.getvalue())  # told by its content, as some phones name it
    assert torch.equal(decode(tmp_path / "photo.jpg"), image)
    raw = stored(tmp_path / "photo.jpg")
    assert raw.shape == ((*image.shape[1:], 3) if kind == "HEIC" else (H, W, 3))


@both
def test_exif_does_not_turn_what_the_container_turns(kind: str) -> None:
    """The standard has it so; a camera writes both, and they agree."""
    file = encoded(kind, photo(), 6).getvalue()
    short = b"\x01%c\x00\x03\x00\x00\x00\x01"
    other = file.replace(short % 0x12 + b"\x00\x01", short % 0x12 + b"\x00\x06")  # what pillow-heif writes is 1
    if kind == "AVIF":  # Pillow writes none
        other = file.replace(short % 0x13, short % 0x12)
        assert other != file
    assert torch.equal(decode(io.BytesIO(other)), decode(io.BytesIO(file)))
    assert header(io.BytesIO(other)) == (W, H)


@both
def test_grey_is_repeated_and_transparency_is_laid_over_white(kind: str) -> None:
    grey = photo().convert("L")
    image = decode(encoded(kind, grey))
    assert torch.equal(image[0], image[1]) and torch.equal(image[0], image[2])
    assert apart(image[0], torch.from_numpy(np.array(grey))) <= 8
    alpha = Image.fromarray(np.repeat(np.uint8([0, 255]), W // 2)[None].repeat(H, axis=0))
    for base in (photo().convert("RGBA"), photo().convert("LA")):
        opaque = decode(encoded(kind, base.convert("RGB")))
        base.putalpha(alpha)
        image = decode(encoded(kind, base))
        assert (image[:, :, : W // 2 - 8] >= 253).all()
        assert apart(image[:, :, W // 2 + 8 :], opaque[:, :, W // 2 + 8 :]) <= 12


@heic
def test_more_bits_are_scaled_to_eight(kind: str) -> None:
    import pillow_heif

    steps = np.linspace(0, 65535, 16).round().astype(np.uint16).repeat(4)
    grey = np.tile(steps, (64, 1))
    for values, mode in ((grey, "I;16"), (np.stack([grey] * 3, axis=-1), "RGB;16")):
        file = io.BytesIO()
        pillow_heif.from_bytes(mode, (64, 64), values.tobytes()).save(file, quality=100, chroma=444)
        image = decode(io.BytesIO(file.getvalue()))
        assert apart(image, torch.from_numpy((grey / 257).round()).expand(3, -1, -1)) <= 3, mode


@avif
def test_ten_bits_of_avif(kind: str) -> None:
    image = decode(io.BytesIO(b64decode(_TEN_BITS)))
    assert apart(image, torch.linspace(0, 255, 16).expand(3, 8, 16)) <= 1


@avif
def test_of_an_animation_the_first_frame_counts(kind: str) -> None:
    frames, file = [Image.new("RGB", (W, H), colour) for colour in ("red", "lime", "blue")], io.BytesIO()
    frames[0].save(file, "AVIF", save_all=True, append_images=frames[1:])
    assert apart(decode(file)[:, 5, 5], torch.tensor([255, 0, 0])) <= 4


@heic
def test_of_several_images_the_primary_one_counts(kind: str) -> None:
    from pillow_heif import from_pillow

    several, file = from_pillow(Image.new("RGB", (64, 64), "red")), io.BytesIO()
    several.add_from_pillow(photo())
    several.save(file, primary_index=1, quality=95, chroma=444)
    file = io.BytesIO(file.getvalue())
    assert header(file) == (H, W) and apart(decode(file), jpeg(photo(), 1)) <= 8


@both
@pytest.mark.parametrize("limit", [H * W - 1, H * W // 2 - 1])
def test_the_limit_of_pixels_goes_by_the_header(kind: str, limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    file = encoded(kind, photo())
    monkeypatch.setattr(type(heif.opened(file)), "load", lambda image: pytest.fail("the pixels were decoded"))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    for read in (decode, header):
        with pytest.raises(UnreadableImage, match=f"more than {limit} pixels"):
            read(file)


@both
def test_a_file_cut_short_is_unreadable(kind: str, tmp_path: Path) -> None:
    whole = encoded(kind, photo(200, 300)).getvalue()
    for length in (12, 40, len(whole) // 2, len(whole) - 1):
        (tmp_path / "cut.heic").write_bytes(whole[:length])
        for read in (decode, stored):
            with pytest.raises(UnreadableImage, match=r"cut short|damaged"):
                read(tmp_path / "cut.heic")


@both
def test_whatever_is_done_to_its_bytes_a_file_is_decoded_or_unreadable(kind: str) -> None:
    rng = np.random.default_rng(0)
    whole = np.frombuffer(encoded(kind, photo(), 6, quality=50).getvalue(), dtype=np.uint8)
    for _ in range(60):
        data = whole.copy()
        data[rng.integers(0, min(len(data), 600), 2)] = rng.integers(0, 256, 2)
        try:
            assert tuple(decode(io.BytesIO(data.tobytes())).shape[1:]) == header(io.BytesIO(data.tobytes()))
        except UnreadableImage as error:
            assert error.reason and error.reason == error.reason.strip()


@heic
def test_a_size_that_is_told_twice_must_be_the_same(kind: str) -> None:
    data = encoded(kind, photo(64, 64)).getvalue()
    at = data.index(b"ispe") + 8
    data = data[:at] + (66).to_bytes(4, "big") + data[at + 4 :]
    with pytest.raises(UnreadableImage, match=r"where its header said|damaged"):
        decode(io.BytesIO(data))


@both
def test_several_threads_read_at_once(kind: str) -> None:
    files = [encoded(kind, photo(40 + at, 50), 1 + at % 8).getvalue() for at in range(8)]
    wanted = [decode(io.BytesIO(file)) for file in files]
    with ThreadPoolExecutor(8) as pool:
        for one, other in zip(pool.map(lambda file: decode(io.BytesIO(file)), files * 4), wanted * 4, strict=True):
            assert torch.equal(one, other)


@avif
def test_an_image_takes_one_thread_and_pillow_keeps_its_number(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import AvifImagePlugin

    numbers, class_, default = [], AvifImagePlugin.AvifImageFile, AvifImagePlugin.DEFAULT_MAX_THREADS
    file = encoded(kind, photo())

    def made(content: io.BytesIO) -> Image.Image:
        numbers.append(AvifImagePlugin._get_default_max_threads())
        return class_(content)

    monkeypatch.setattr(AvifImagePlugin, "AvifImageFile", made)
    decode(file)
    with pytest.raises(UnreadableImage):
        decode(io.BytesIO(file.getvalue()[:60]))
    assert numbers == [1, 1] and default == AvifImagePlugin.DEFAULT_MAX_THREADS


@both
def test_folders_packs_and_checks_take_them(kind: str, tmp_path: Path) -> None:
    suffixes = (".avif", ".AVIF") if kind == "AVIF" else (".heic", ".HEIF")
    for number in range(4):
        place = tmp_path / "photos" / "ab"[number % 2] / f"{number}{suffixes[number // 2]}"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(encoded(kind, photo(60, 80), 6 if number == 3 else 1).getvalue())
    data = open_folder(tmp_path / "photos")
    assert data.passed_over == "" and data.train.sizes.tolist() == [[60, 80], [60, 80], [60, 80], [80, 60]]
    place.write_bytes(place.read_bytes()[:-30])
    (found,) = check(tmp_path / "photos")
    assert (found.images, [name for name, _ in found.damaged]) == (3, [f"b/3{suffixes[1]}"])
    place.write_bytes(encoded(kind, photo(60, 80), 6).getvalue())
    assert pack(tmp_path / "photos", tmp_path / "kept").unreadable == []
    assert place.read_bytes() in (tmp_path / "kept" / "train-00000.bin").read_bytes()
    pack(tmp_path / "photos", tmp_path / "reduced", side=30)
    assert (tmp_path / "reduced" / "train-00000.bin").read_bytes().count(b"JFIF") == 4


@pytest.mark.parametrize(
    ("start", "name"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x18ftypavif\0\0\0\0mif1heic", "AVIF"),
        (b"\0\0\0\x18ftypheix\0\0\0\0mif1avif", "HEIC"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1avif", "AVIF"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1miaf", "HEIC"),
        (b"\0\0\0\x18ftypmiaf\0\0\0\0mif1avif", "AVIF"),
        (b"\0\0\0\x18ftypisom\0\0\0\0isommp42", ""),
        (b"\0\0\0\x14ftypisom\0\0\0\0isommp42heic", ""),
        (b"\0\0\0\x18ftyp", ""),
        (b"\0\0\0\x18heicavif\0\0\0\0mif1avif", ""),
    ],
)
def test_the_kind_is_told_by_the_brands(start: bytes, name: str) -> None:
    kind = heif._kind(start)
    assert (kind.name if kind else "") == name


def test_without_what_reads_them_it_is_said_what_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heif, "version", lambda name: {"pillow": "11.3.0", "pillow-heif": "1.7.0"}[name])
    monkeypatch.setattr(heif, "find_spec", lambda name: True)
    assert heif.readable() == (".avif",)
    monkeypatch.setattr(heif, "find_spec", lambda name: None)
    assert heif.readable() == ()
    monkeypatch.setattr(folder, "SUFFIXES", (".jpg",))
    for name in ("four.avif", "one.heic", "three.heif", "two.HEIC"):
        (tmp_path / name).write_bytes(b"x")
    no_images = (
        r"holds 4 files .*; or pip install --upgrade 'pillow>=11.3' reads .avif; or pip install 'pillow-heif>=1.8'"
    )
    with pytest.raises(DataError, match=no_images):
        open_folder(tmp_path)
    photo().save(tmp_path / "five.jpg")
    assert open_folder(tmp_path).passed_over == (
        "pictures of formats that are not read (2 .heic, 1 .avif, 1 .heif): pip install --upgrade 'pillow>=11.3' reads "
        ".avif; pip install 'pillow-heif>=1.8' reads .heic and .heif"
    )
    for name in ("four.avif", "three.heif"):
        (tmp_path / name).unlink()
    (tmp_path / "six.dng").write_bytes(b"x")
    told = "(2 .heic, 1 .dng): pip install 'pillow-heif>=1.8' reads .heic; convert the others, for instance to JPEG"
    assert open_folder(tmp_path).passed_over.endswith(told)


def test_one_by_another_name_without_what_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heif, "_usable", lambda kind: False)
    told = "it is %s, and %s on, which reads that, is not installed or cannot be imported: pip install .*%s"
    for brand, words in (
        (b"heic", told % ("HEIC", "pillow-heif from 1.8", r"'pillow-heif>=1.8'")),
        (b"avif", told % ("AVIF", "pillow from 11.3", "'pillow>=11.3'")),
    ):
        file = io.BytesIO(b"\0\0\0\x18ftyp" + brand + b"\0\0\0\0mif1" + brand)
        for read in (decode, header):
            with pytest.raises(UnreadableImage, match=words):
                read(file)
