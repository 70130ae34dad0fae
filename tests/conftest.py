"""Every test runs on one thread (oversubscription is slow and changes sums) with shapes in signatures enforced."""

import importlib
import importlib.util

from jaxtyping import install_import_hook

import tests.typecheck  # noqa: F401  the hook looks it up by name

if importlib.util.find_spec("numba"):
    # Compiled functions cannot be wrapped; they carry no shapes to enforce either.
    importlib.import_module("resmom.views.kernels")
install_import_hook("resmom", "tests.typecheck.check")

import torch  # noqa: E402  (the hook must stand before anything imports resmom)

torch.set_num_threads(1)
