"""Optional packages: whether one can be used, and what to tell who needs one that is not here."""

import importlib
import importlib.util
from functools import cache


@cache
def importable(name: str) -> bool:
    """Whether a module can be imported; one that is there and made for other versions of what it needs is of no use.

    `resmom doctor` says what is wrong with it.
    """
    try:
        importlib.import_module(name)
    except Exception:  # noqa: BLE001  whatever a half-installed package raises
        return False
    return True


def installed(name: str) -> bool:
    """Whether a module is there, without importing it: for one that takes seconds, or that another process will use."""
    return importlib.util.find_spec(name) is not None


def lacking(needs: str, *packages: str) -> str:
    """That packages are not here, in a sentence for users; `needs` is its beginning, "ONNX files need".

    The packages are named and not the extra of resmom that has them: they can be had wherever resmom came from.
    """
    many = len(packages) > 1
    return (
        f"{needs} the package{'s' * many} {', '.join(packages)}, which {'are' if many else 'is'} not here: pip install "
        f"{' '.join(packages)}"
    )
