"""The gap in evaluation mode is the meter of training on encodings of whole views."""

import pytest
import torch
from torch import nn

from resmom.diagnose.gap import chance_gap, intra_gap
from resmom.evaluate.features import encodings
from resmom.evaluate.gap import EVAL_GAP, eval_gap
from resmom.types import Encoding


class Toy(nn.Module):
    def __init__(self, predicts: bool) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(12, 6), nn.BatchNorm1d(6))
        self.head = nn.Linear(6, 4)
        self.predictor = nn.Linear(4, 4) if predicts else None

    def forward(self, view: torch.Tensor) -> Encoding:
        h = self.body(view)
        z = self.head(h)
        return Encoding(h, z, None if self.predictor is None else self.predictor(z))


def test_it_reads_both_networks_on_each_view() -> None:
    torch.manual_seed(0)
    student, teacher = Toy(predicts=True), Toy(predicts=False)
    views = [torch.randn(8, 3, 2, 2) for _ in range(2)]
    s = [encodings(student, view.split(3)) for view in views]
    t = [encodings(teacher, view.split(3)) for view in views]
    found = eval_gap(s, t, ["h", "z", "p"])
    assert list(found) == ["h", "z", "p"]
    assert s[0].p is not None and s[1].p is not None
    intra = (intra_gap(s[0].p, t[0].z) + intra_gap(s[1].p, t[1].z)) / 2
    inter = (intra_gap(s[0].p, t[1].z) + intra_gap(s[1].p, t[0].z)) / 2
    chance = (chance_gap(s[0].p, t[0].z) + chance_gap(s[1].p, t[1].z)) / 2
    assert found["p"].inter is not None
    torch.testing.assert_close(found["p"].intra, intra)
    torch.testing.assert_close(found["p"].inter, inter)
    torch.testing.assert_close(found["p"].chance, chance)
    assert "eval mode" in EVAL_GAP


def test_a_network_has_no_gap_to_itself() -> None:
    torch.manual_seed(0)
    network = Toy(predicts=False)
    encoding = encodings(network, [torch.randn(8, 3, 2, 2)])
    found = eval_gap([encoding], [encoding], ["h"])["h"]
    assert found.intra.item() == pytest.approx(0.0, abs=1e-6)
    assert found.inter is None
    assert found.chance.item() > 0.5


def test_what_cannot_be_compared_is_refused() -> None:
    encoding = Encoding(torch.randn(3, 2), torch.randn(3, 2))
    with pytest.raises(ValueError, match="2 views of the student and 1 of the teacher"):
        eval_gap([encoding, encoding], [encoding], ["h"])
    with pytest.raises(ValueError, match="no predictor"):
        eval_gap([encoding], [encoding], ["p"])
