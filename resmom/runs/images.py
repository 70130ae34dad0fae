"""Images as a Python user names them: a place, as after `--data`, or images that are held already."""

from pathlib import Path

from resmom.data.dataset import as_data
from resmom.data.open import open_data
from resmom.data.source import Data
from resmom.errors import UserError


def images_given(data: object, test: object = None) -> str | Data:
    """A place as it is, which has its own test images; or the images given in Python. Raises DataError, UserError."""
    if not isinstance(data, str | Path):
        return as_data(data, test)
    if test is not None:
        raise UserError(f"test goes with images given in Python; {data} is a place, and has its own (docs/data.md)")
    return str(data)


def images_opened(data: object, test: object = None) -> Data:
    """The same, a place opened. Raises as `open_data` too."""
    return open_data(images_given(data, test))
