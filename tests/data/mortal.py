"""A packing of images that is killed at a chosen moment."""

import os
import signal
from pathlib import Path
from typing import Any

from resmom.data import packing


def pack_and_die(photos: Path, out: Path, moment: int) -> None:
    """Pack in shards of eight, and be killed at the `moment`-th write, rename or encoded image."""
    left = [moment]
    packing.SHARD = 8

    def mortal(real: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments, **options)

        return call

    Path.replace = mortal(Path.replace)  # type: ignore[method-assign]
    os.fsync = mortal(os.fsync)
    packing.encoded = mortal(packing.encoded)
    packing.pack(photos, out)
