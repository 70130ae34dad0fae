"""Every test runs on one thread (oversubscription is slow and changes sums) with shapes in signatures enforced."""

from jaxtyping import install_import_hook

import tests.typecheck  # noqa: F401  the hook looks it up by name

install_import_hook("resmom", "tests.typecheck.check")

import torch  # noqa: E402  (the hook must stand before anything imports resmom)

torch.set_num_threads(1)
