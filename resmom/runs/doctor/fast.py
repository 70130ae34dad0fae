"""The extra `fast`: there, and really working. Its results are compared with those of the plain way."""

import importlib
import importlib.util
import time
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO

from resmom.runs.doctor.finding import Answer, Finding, answer

INSTALL = "pip install numba simplejpeg"
LEVELS = 2
"""Grey levels that two builds of the same JPEG library may differ by; more is damage."""
WEIGHT = 1e-5
"""Largest difference of a filter's weight, whose sums are 1: float32 rounds to 1e-7."""


@dataclass(frozen=True)
class Jpeg:
    """simplejpeg beside Pillow on one JPEG."""

    there: bool
    decoded: bool = False
    difference: int = 0
    """Most that a pixel differs by, of 255."""


@dataclass(frozen=True)
class Compiled:
    """numba's compiled filter beside the plain one."""

    there: bool
    seconds: float = 0.0
    """Of compiling, or of loading what was compiled before."""
    difference: float = 0.0


def jpeg() -> Answer:
    """The probe of simplejpeg."""
    if importlib.util.find_spec("simplejpeg") is None:
        found = Jpeg(False)
    else:
        import numpy as np
        from PIL import Image

        importlib.import_module("simplejpeg")  # which a run would do without if it cannot be imported
        from resmom.data.jpeg import decode_jpeg

        file, draws = BytesIO(), np.random.default_rng(0)
        Image.fromarray(draws.integers(0, 256, (40, 56, 3), dtype=np.uint8)).save(file, "JPEG", quality=90)
        pixels = decode_jpeg(file.getvalue(), None)
        with Image.open(file) as image:
            plain = np.asarray(image.convert("RGB")).astype(int)
        found = Jpeg(True, pixels is not None, 0 if pixels is None else int(np.abs(plain - pixels).max()))
    return answer(found, judge_jpeg(found))


def judge_jpeg(found: Jpeg) -> Iterator[Finding]:
    about = "simplejpeg"
    again = f"install it anew: {INSTALL}, with pip's --force-reinstall"
    if not found.there:
        words = "it is not installed: photos are decoded by Pillow, which takes longer."
        yield Finding(about, "note", words, INSTALL)
    elif not found.decoded:
        words = "it is installed and refuses a sound JPEG, so that every photo takes the slow way through Pillow."
        yield Finding(about, "problem", words, again)
    elif found.difference > LEVELS:
        words = f"it decodes a JPEG to other pixels than Pillow, by up to {found.difference} of 255."
        yield Finding(about, "problem", words, f"{again}, or uninstall it")
    elif found.difference > 0:
        yield Finding(
            about,
            "note",
            f"its pixels differ from Pillow's by up to {found.difference} of 255: the two have different libraries.",
            "nothing for a run by itself; to compare runs with those of machines without it, install Pillow from pip",
        )
    else:
        yield Finding(about, "ok", "it decodes a JPEG to Pillow's very pixels.")


def compiled() -> Answer:
    """The probe of numba: one of the kernels that make views, compiled or taken from where it was kept."""
    if importlib.util.find_spec("numba") is None:
        found = Compiled(False)
    else:
        import numpy as np
        import torch

        from resmom.views.fused import kernels
        from resmom.views.resample import resize_matrix

        length, size = 50, 16
        began = time.perf_counter()
        first, count, weight = kernels().filters(length, size, True)
        seconds = time.perf_counter() - began
        matrix = np.zeros((size, length), np.float32)
        for row, (start, many) in enumerate(zip(first, count, strict=True)):
            matrix[row, start : start + many] = weight[row, :many]
        plain = resize_matrix(torch.tensor([0]), torch.tensor([length]), length, size, "bicubic")[0].numpy()
        found = Compiled(True, seconds, float(np.abs(matrix - plain).max()))
    return answer(found, judge_compiled(found))


def judge_compiled(found: Compiled) -> Iterator[Finding]:
    about = "numba"
    if not found.there:
        words = "it is not installed: photos are augmented by torch's operations, which takes about five times as long."
        yield Finding(about, "note", words, INSTALL)
    elif not found.difference <= WEIGHT:
        yield Finding(
            about,
            "problem",
            f"what it compiles computes other numbers than the plain way: a filter's weights differ by "
            f"{found.difference:.1e}.",
            "delete the folders __pycache__ of resmom/views (compiled code is kept there) and look again; if it stays, "
            "pip uninstall numba",
        )
    else:
        words = f"a kernel of the views, compiled or taken from where it is kept in {found.seconds:.1f} s, is right."
        yield Finding(about, "ok", words)
