"""Every test runs on one thread (oversubscription is slow and changes sums) with shapes in signatures enforced."""

import importlib
import importlib.util

import jaxtyping

import tests.typecheck

if importlib.util.find_spec("numba"):
    # Compiled functions cannot be wrapped; they carry no shapes to enforce either.
    importlib.import_module("resmom.views.kernels")
jaxtyping.jaxtyped = tests.typecheck.jaxtyped  # type: ignore[assignment]
jaxtyping.install_import_hook("resmom", "tests.typecheck.check")

import pytest  # noqa: E402
import torch  # noqa: E402  (the hook must stand before anything imports resmom)

from resmom.nets.backbones import MOCO_VIT, VIT  # noqa: E402

torch.set_num_threads(1)


@pytest.fixture
def small_transformers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Vision Transformers of size "tiny" have two blocks of width 24, which a test can afford."""
    for sizes in (MOCO_VIT, VIT):
        monkeypatch.setitem(sizes, "tiny", (24, 2, 2))
