"""Labels of a test split that lie in a list beside the images, as in Tiny-ImageNet: val/val_annotations.txt."""

from pathlib import Path, PurePosixPath

import numpy as np

from resmom.data.source import DataError, Index


def list_of(split: str) -> str:
    """Where a split's list lies, below the folder that the split lies in."""
    return f"{split}/{split}_annotations.txt"


def listed_labels(file: Path, names: list[str], classes: tuple[str, ...]) -> Index:
    """Numbers into `classes` for images by the lines of a list: file name, class, and what else, with tabs between.

    The list names an image without its folders. Raises DataError for a list that cannot be read, an image that it does
    not name, and a class that is not one of `classes`.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file} cannot be read ({error}); mend it, or move it away to go without labels") from error
    fields = [line.split("\t") for line in lines if line.strip()]
    if short := next((number for number, field in enumerate(fields, 1) if len(field) < 2), None):
        raise DataError(f"line {short} of {file} has no class; a line is a file's name, a tab, and its class")
    label_of = {field[0]: field[1] for field in fields}
    number_of = {name: number for number, name in enumerate(classes)}
    missing = [name for name in names if PurePosixPath(name).name not in label_of]
    if missing:
        raise DataError(
            f"{file} does not name {len(missing)} of the {len(names)} images beside it, the first {missing[0]}; "
            "complete it, or move these images away"
        )
    labels = [label_of[PurePosixPath(name).name] for name in names]
    if unknown := sorted(set(labels) - set(classes)):
        raise DataError(
            f"{file} has {len(unknown)} classes that the training split has not: {', '.join(unknown[:5])}. "
            "Test classes must be among those of training; correct the list"
        )
    return np.array([number_of[label] for label in labels], dtype=np.int64)
