"""What the functions refuse by themselves where shapes in signatures are not enforced: in production."""

import pytest
import torch

from resmom.diagnose.gap import gap
from tests import forked


def refusal() -> str:
    try:
        gap(torch.ones(1, 3), torch.ones(4, 3))
    except ValueError as error:
        return str(error)
    return ""


@pytest.mark.slow
def test_different_shapes_do_not_broadcast_into_a_number() -> None:
    assert "(1, 3) and (4, 3)" in forked.answer(refusal)
