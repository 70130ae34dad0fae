"""The gap in evaluation mode, batch by batch, is the gap of all images at once."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from resmom.diagnose.gap import gap
from resmom.errors import UserError
from resmom.evaluate.gap import network_gap
from resmom.types import Encoding


class Toy(nn.Module):
    """A backbone of two layers, a projector and, if asked for, a predictor."""

    def __init__(self, predicts: bool) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Flatten(), nn.Linear(12, 6), nn.BatchNorm1d(6), nn.ReLU())
        self.head = nn.Linear(6, 4)
        self.predictor = nn.Linear(4, 4) if predicts else None

    def forward(self, view: Tensor) -> Encoding:
        h = self.backbone(view)
        z = self.head(h)
        return Encoding(h, z, None if self.predictor is None else self.predictor(z))


def batches(views: list[Tensor], size: int) -> Iterator[tuple[Tensor, ...]]:
    yield from zip(*(view.split(size) for view in views), strict=True)


@pytest.fixture
def networks() -> tuple[Toy, Toy, list[Tensor]]:
    torch.manual_seed(0)
    student, teacher = Toy(predicts=True), Toy(predicts=False)
    views = [torch.randn(23, 3, 2, 2) for _ in range(2)]
    student(views[0])  # running statistics that are not those of the start
    return student, teacher, views


def test_sites_and_layers_are_those_of_all_images_at_once(networks: tuple[Toy, Toy, list[Tensor]]) -> None:
    student, teacher, views = networks
    found = network_gap(student, teacher, batches(views, 7), layers=True)
    assert list(found.sites) == ["h", "z", "p"]
    assert list(found.layers) == ["0", "1", "2", "3"]
    student.eval(), teacher.eval()
    with torch.no_grad():
        s, t = [student(view) for view in views], [teacher(view) for view in views]
        expected = {
            "h": gap([e.h for e in s], [e.h for e in t]),
            "z": gap([e.z for e in s], [e.z for e in t]),
            "p": gap([e.p for e in s], [e.z for e in t]),
        }
        linear = gap([student.backbone[:2](view) for view in views], [teacher.backbone[:2](view) for view in views])
    for site, one in expected.items():
        torch.testing.assert_close(found.sites[site].intra, one.intra)
        torch.testing.assert_close(found.sites[site].inter, one.inter)
        torch.testing.assert_close(found.sites[site].chance, one.chance)
    torch.testing.assert_close(found.layers["1"].intra, linear.intra)
    torch.testing.assert_close(found.layers["1"].chance, linear.chance)
    torch.testing.assert_close(found.layers["3"].intra, found.sites["h"].intra)  # the last layer is h
    assert found.layers["0"].intra.item() == pytest.approx(0.0, abs=1e-6)  # both see the same pixels


def test_modes_statistics_and_hooks_are_as_before(networks: tuple[Toy, Toy, list[Tensor]]) -> None:
    student, teacher, views = networks
    teacher.backbone[2].eval()
    before = {name: value.clone() for name, value in student.state_dict().items()}
    network_gap(student, teacher, batches(views, 7), layers=True)
    assert student.training and teacher.training and not teacher.backbone[2].training
    assert all(torch.equal(value, before[name]) for name, value in student.state_dict().items())
    assert not any(part._forward_hooks for part in student.modules())


def test_without_a_predictor_there_is_no_p_and_a_network_has_no_gap_to_itself() -> None:
    torch.manual_seed(0)
    network = Toy(predicts=False)
    found = network_gap(network, network, [(torch.randn(8, 3, 2, 2),)])
    assert list(found.sites) == ["h", "z"] and found.layers == {}
    assert found.sites["z"].intra.item() == pytest.approx(0.0, abs=1e-6)
    assert found.sites["z"].inter is None
    assert found.sites["z"].chance.item() > 0.1


def test_one_image_is_refused(networks: tuple[Toy, Toy, list[Tensor]]) -> None:
    student, teacher, views = networks
    with pytest.raises(UserError, match="at least 2; got 1"):
        network_gap(student, teacher, [tuple(view[:1] for view in views)])
