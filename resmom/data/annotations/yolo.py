"""Where YOLO's folders keep images, labels and the names of the classes."""

import re
from pathlib import Path

from resmom.data.annotations.labelled import text_of
from resmom.data.errors import DataError
from resmom.data.folder import SUFFIXES

_QUOTED = r"""(?:'(?:[^'\n]|'')*'|"(?:[^"\\\n]|\\.)*")"""
"""A name in quotes, in which commas, brackets and # are letters like others."""

_GAP = re.compile(r"^(?:\s|#.*)*")
"""Space and comments between the names of a list in brackets."""


def yolo_files(root: Path, part: str) -> list[tuple[Path, Path]]:
    """Images with their label files (which an image without objects may lack), sorted by path.

    Of a part: images/PART and labels/PART, or PART/images and PART/labels.
    """
    images, labels = root / "images" / part, root / "labels" / part
    if part and not images.is_dir():
        images, labels = root / part / "images", root / part / "labels"
    if not images.is_dir():
        raise DataError(f"{root} has no part '{part}': neither images/{part} nor {part}/images is a folder")
    if not labels.is_dir():
        raise DataError(f"{images} has no labels beside it: {labels} is not a folder")
    found = sorted(path for path in images.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not found:
        raise DataError(f"{images} holds no images; their files end in {', '.join(SUFFIXES)}")
    return [(path, (labels / path.relative_to(images)).with_suffix(".txt")) for path in found]


def yolo_classes(root: Path) -> list[str]:
    """Names of the classes by number, from classes.txt, a .names file, or `names` in a .yaml file of the folder.

    Raises DataError where there are none, or one is there twice.
    """
    plain = [path for path in (root / "classes.txt", root / "labels" / "classes.txt") if path.is_file()]
    listed = [*plain, *sorted(root.glob("*.names"))]
    yaml = sorted([*root.glob("*.yaml"), *root.glob("*.yml")])
    if listed:
        path = listed[0]
        names = [line.strip() for line in text_of(path).splitlines() if line.strip()]
    elif yaml:
        path = yaml[0]
        names = _yaml_names(text_of(path))
    else:
        raise DataError(f"{root} names no classes; add classes.txt with one name per line, in the order of the numbers")
    if not names or len(set(names)) < len(names):
        raise DataError(f"{path} has no names of classes, or one twice; put one name per line into {root}/classes.txt")
    return names


def _yaml_names(text: str) -> list[str]:
    """The value of `names`: a list in brackets, a list of `- name` lines, or lines `0: name` in any order.

    These three forms are all that YOLO's tools write; a reader of all YAML is not needed for them.
    """
    inline = re.search(r"^names:\s*\[", text, re.MULTILINE)
    if inline:
        return _in_brackets(text[inline.end() :])
    block = re.search(r"^names:[ \t]*(?:#.*)?\n((?:[ \t]*(?:-|\d+:).*\n?|[ \t]*#.*\n|[ \t]*\n)+)", text, re.MULTILINE)
    if not block:
        return []
    numbered: dict[int, str] = {}
    for line in block.group(1).splitlines():
        entry = re.match(rf"\s*(?:-|(\d+):)\s+({_QUOTED}|.*?)(?:\s+#.*|\s*)$", line)
        if entry:
            numbered[int(entry.group(1)) if entry.group(1) else len(numbered)] = _bare(entry.group(2))
    return [numbered[number] for number in sorted(numbered)] if sorted(numbered) == list(range(len(numbered))) else []


def _in_brackets(text: str) -> list[str]:
    """The names up to the closing bracket; none where there is something between them that is no list of names."""
    names: list[str] = []
    while True:
        text = _GAP.sub("", text, count=1)
        if text.startswith("]"):
            return names
        name = re.match(rf"{_QUOTED}|(?!['\"])(?:(?!\s#)[^,\]\n])+", text)
        if not name:
            return []
        names.append(_bare(name.group()))
        text = _GAP.sub("", text[name.end() :], count=1)
        if text.startswith(","):
            text = text[1:]
        elif not text.startswith("]"):
            return []


def _bare(name: str) -> str:
    """A name without its quotes, and what a backslash or a doubled quote stands for inside of them."""
    name = name.strip()
    if not re.fullmatch(_QUOTED, name):
        return name
    if name.startswith("'"):
        return name[1:-1].replace("''", "'")
    return re.sub(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|(.))", _escaped, name[1:-1])


def _escaped(found: re.Match[str]) -> str:
    code = found.group(1) or found.group(2)
    return chr(int(code, 16)) if code else found.group(3)
