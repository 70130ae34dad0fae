"""Cross-entropy between two networks' similarities to the same keys."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from resmom.losses.precision import alike, full


def relation(
    student: Float[Tensor, "n d"], teacher: Float[Tensor, "n d"], keys: Float[Tensor, "k d"], t_s: float, t_t: float
) -> Float[Tensor, ""]:
    """Mean cross-entropy of the softmaxes over cosine similarities to `keys`, teacher at `t_t`, student at `t_s`.

    ReSSL (arXiv 2107.09282, Eq. 2 to 4). The keys are unit vectors. A student that tells nothing apart is at ln k.
    """
    with full(student):
        said, taught, k = alike(student, teacher, keys)
        q, z = (F.normalize(x, dim=1) for x in (said, taught))
        target = F.softmax(z @ k.T / t_t, dim=1)
        return -(target * F.log_softmax(q @ k.T / t_s, dim=1)).sum(1).mean()
