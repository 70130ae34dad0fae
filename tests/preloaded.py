"""What the server of `tests.forked` imports before its first fork, so that no child has to: no test imports this."""

import numpy as np
import torch

import tests.benchmarks.chains
import tests.data.mortal
import tests.runs.comparisons.grids
import tests.runs.crash
import tests.toy  # noqa: F401
from resmom.views.apply import views
from resmom.views.policy import mocov3_cifar

torch.set_num_threads(1)
# Compiled kernels are imported and loaded when the first view is made.
views(torch.zeros(2, 3, 16, 16, dtype=torch.uint8), np.arange(2), mocov3_cifar(), 0, 0)
