"""Which mask belongs to which image: VOC's folders, CamVid's in several forms, Cityscapes', and lists of pairs."""

from pathlib import Path

from resmom.data.annotations.labelled import cut, text_of
from resmom.data.annotations.masknames import CAMVID, CITYSCAPES, VOC, Names, listed, named_beside
from resmom.data.errors import DataError
from resmom.data.folder import SUFFIXES

FORMS = (
    "VOC: a folder with JPEGImages/ and SegmentationClass/, or FOLDER:LIST for a list of its ImageSets/Segmentation/; "
    "pairs of folders: FOLDER:PART with PART/ and PARTannot/ (or PART_labels/), or a folder with images/ and labels/ "
    "(or masks/, annotations/), or IMAGES:./MASKS with a slash in the second; FILE.txt with an image and its mask per "
    "line; Cityscapes: FOLDER:PART with leftImg8bit/ and gtFine/"
)
"""What `open_masks` reads, in words."""

_MASKS = (".png", ".bmp", ".gif", ".tif", ".tiff")
_ENDINGS = ("", "_L", "_P", "_mask", "_label", "_gt")
"""What a mask's name may have more than its image's."""
_BESIDE = ("annot", "_annot", "_labels", "_masks", "_annotations")
_FOLDERS = ("labels", "masks", "annotations", "annot")

Pairs = list[tuple[Path, Path]]
"""Images and their masks."""


def find(spec: str) -> tuple[Pairs, Names | None]:
    """Images and masks of one place, and the names of its classes, None where nothing tells them.

    Raises DataError, naming what is missing.
    """
    root, part = cut(spec)
    if (root / "SegmentationClass").is_dir():
        return _voc(root, part), named_beside(root) or listed(VOC)
    if (root / "leftImg8bit").is_dir():
        return _cityscapes(root, part), listed(CITYSCAPES)
    if root.is_file() and root.suffix == ".txt":
        # The list, too, names the folder that the data once lay in.
        once = (Path(word).parent.parent for word in text_of(root).split()[:2])
        return _pairs(root), named_beside(root.parent) or _well_known(root.parent, *once)
    images, masks = _folders(root, part)
    return _by_name(images, masks), named_beside(root, masks, masks.parent) or _well_known(root, masks.parent)


def is_place(root: Path, part: str) -> bool:
    """Whether the part of ROOT:PART is the folder of the masks, and no name of a list or a part: ROOT holds images."""
    if (root / "SegmentationClass").is_dir() or (root / "leftImg8bit").is_dir():
        return False
    there = Path(part).is_absolute() or ("/" in part and Path(part).is_dir())
    return there and any(path.suffix.lower() in SUFFIXES for path in root.glob("*"))


def _well_known(*folders: Path) -> Names | None:
    """CamVid as SegNet's authors hand it out, 12 numbers of which the last is void, says nowhere what they mean."""
    return listed(CAMVID) if any("camvid" in folder.resolve().name.lower() for folder in folders) else None


def _voc(root: Path, part: str) -> Pairs:
    places = [root / "SegmentationClass", root / "SegmentationClassAug"]
    if not part:
        return _by_name(root / "JPEGImages", places[0], of_masks=True)
    file = root / "ImageSets" / "Segmentation" / f"{part}.txt"
    if not file.is_file():
        there = sorted(path.stem for path in file.parent.glob("*.txt"))
        raise DataError(f"there is no list {file}; lists there: {', '.join(there) or 'none'}")
    lines = [line.split() for line in text_of(file).splitlines() if line.strip()]
    if lines and len(lines[0]) == 2:
        return _pairs(file, root)
    images = _stems(root / "JPEGImages", SUFFIXES)
    found: Pairs = []
    for stem, *_ in lines:
        masks = [place / f"{stem}.png" for place in places if (place / f"{stem}.png").is_file()]
        if stem not in images or not masks:
            raise DataError(
                f"{file} names {stem}, which has no {'mask' if stem in images else 'image'} in {root}; "
                "add it or take it off the list"
            )
        found.append((images[stem], masks[0]))
    return found


def _cityscapes(root: Path, part: str) -> Pairs:
    images = root / "leftImg8bit" / part
    if not part or not images.is_dir():
        there = sorted(path.name for path in (root / "leftImg8bit").iterdir() if path.is_dir())
        raise DataError(f"{root}: say which part as {root}:PART; there are {', '.join(there)}")
    found: Pairs = []
    for path in sorted(images.rglob("*_leftImg8bit.png")):
        stem = path.name.removesuffix("_leftImg8bit.png")
        mask = root / "gtFine" / part / path.parent.relative_to(images) / f"{stem}_gtFine_labelTrainIds.png"
        if not mask.is_file():
            raise DataError(f"{path} has no mask {mask}; Cityscapes' own scripts make it (createTrainIdLabelImgs)")
        found.append((path, mask))
    return found


def _pairs(file: Path, root: Path | None = None) -> Pairs:
    """A list with an image and its mask per line. Paths of another machine are looked for by their ends."""
    found: Pairs = []
    for number, line in enumerate(text_of(file).splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        if len(words) != 2:
            raise DataError(f"{file}, line {number}: '{line}' is not an image and its mask, separated by a space")
        image, mask = (
            _placed(Path(word), [root] if root else [file.parent, *file.resolve().parents]) for word in words
        )
        if image is None or mask is None:
            raise DataError(
                f"{file}, line {number}: {words[0 if image is None else 1]} is not there, nor by the end of its path "
                "beside the list; correct the list"
            )
        found.append((image, mask))
    return found


def _placed(path: Path, places: list[Path]) -> Path | None:
    """The file itself, or the longest end of its path that is a file in one of `places`, its folder included."""
    if path.is_absolute() and path.is_file():
        return path
    parts = [part for part in path.parts if part != path.anchor]
    least = min(2, len(parts))
    for place in places:
        for start in range(len(parts) - least + 1):
            there = place.joinpath(*parts[start:])
            if there.is_file():
                return there
    return None


def _folders(root: Path, part: str) -> tuple[Path, Path]:
    """Of images, and of masks."""
    if "/" in part and Path(part).is_dir():
        return root, Path(part)
    tried: list[tuple[Path, Path]] = []
    if part:
        tried += [(root / part, root / f"{part}{end}") for end in _BESIDE]
        tried += [(root / "images" / part, root / name / part) for name in _FOLDERS]
        tried += [(root / part / "images", root / part / name) for name in _FOLDERS]
    else:
        tried += [(root / "images", root / name) for name in _FOLDERS]
    for images, masks in tried:
        if images.is_dir() and masks.is_dir():
            return images, masks
    missing = "does not exist" if not root.exists() else "holds no masks in a form that is known"
    raise DataError(f"{root}{f' with the part {part}' if part else ''} {missing}; {_instead(root)}")


def _instead(root: Path) -> str:
    """What to give in place of a folder without masks: its parts where it has some, or itself as a part of another."""
    if parts := _parts(root):
        return f"say which part as {root}:PART; there are {', '.join(parts)}"
    if root.exists() and root.resolve().name in _parts(root.resolve().parent):
        return f"it is a part of the folder above, give {root.resolve().parent}:{root.resolve().name}"
    return f"give one of {FORMS}"


def _parts(root: Path) -> list[str]:
    """Folders of images that have a folder of masks beside them."""
    there = {path.name for path in root.iterdir() if path.is_dir()} if root.is_dir() else set()
    return sorted(name for name in there if any(f"{name}{end}" in there for end in _BESIDE))


def _by_name(images: Path, masks: Path, of_masks: bool = False) -> Pairs:
    """Images and masks of one name, all of the images; with `of_masks` those of the masks."""
    by_stem = _stems(images, SUFFIXES)
    there = _stems(masks, _MASKS)
    if of_masks:
        lonely = [stem for stem in there if stem not in by_stem]
        by_stem = {stem: path for stem, path in by_stem.items() if stem in there}
        if lonely:
            raise DataError(f"{there[lonely[0]]} has no image in {images}; add it or remove the mask")
    found: Pairs = []
    for stem, path in by_stem.items():
        mask = next((there[stem + end] for end in _ENDINGS if stem + end in there), None)
        if mask is None:
            raise DataError(
                f"{path} has no mask: {masks} holds no {stem}.png (or {', '.join(stem + end for end in _ENDINGS[1:3])} "
                "…); add it or take the image out"
            )
        found.append((path, mask))
    if not found:
        raise DataError(f"{images} holds no images; their files end in {', '.join(SUFFIXES)}")
    return found


def _stems(folder: Path, endings: tuple[str, ...]) -> dict[str, Path]:
    return {path.stem: path for path in sorted(folder.glob("*")) if path.suffix.lower() in endings}
