"""Features are read without leaving a trace in the network."""

from collections.abc import Iterator

import pytest
import torch
from torch import nn

from resmom.errors import UserError
from resmom.evaluate.features import features
from resmom.types import Encoding
from resmom.which import Site

SITES: tuple[Site, ...] = ("h", "z", "p", "logits")


class Toy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.Flatten())
        self.projector = nn.Sequential(nn.Linear(16, 5), nn.BatchNorm1d(5))
        self.predictor = nn.Linear(5, 5)
        self.prototypes = nn.Linear(5, 7)

    def forward(self, view: torch.Tensor) -> Encoding:
        h = self.body(view)
        z = self.projector(h)
        return Encoding(h, z, self.predictor(z), self.prototypes(z))


@pytest.fixture
def toy() -> Toy:
    torch.manual_seed(0)
    network = Toy().train()
    network(torch.randn(9, 3, 4, 4) + 1)  # running statistics that are not the initial ones
    network.projector.eval()  # a module that its owner froze
    return network


def images() -> torch.Tensor:
    return torch.randn(10, 3, 4, 4, generator=torch.Generator().manual_seed(1))


def test_neither_modes_nor_buffers_nor_gradients_change(toy: Toy) -> None:
    modes = {name: module.training for name, module in toy.named_modules()}
    before = {name: value.clone() for name, value in toy.state_dict().items()}
    h = features(toy, images().split(4))
    features(toy, images().split(4), "p")
    assert {name: module.training for name, module in toy.named_modules()} == modes
    assert modes["body"] and not modes["projector.1"]
    for name, value in toy.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert all(p.grad is None for p in toy.parameters())
    assert not h.requires_grad
    assert torch.is_grad_enabled()


def test_an_image_is_read_the_same_in_every_batch(toy: Toy) -> None:
    for site in SITES:
        together, alone = features(toy, [images()], site), features(toy, images().split(1), site)
        torch.testing.assert_close(together, alone)
        torch.testing.assert_close(features(toy, images().split(3), site), together)


def test_they_are_those_of_evaluation_mode(toy: Toy) -> None:
    read = {site: features(toy, [images()], site) for site in SITES}
    toy.eval()
    with torch.no_grad():
        said = toy(images())
    assert torch.equal(features(toy, [images()]), said.h)
    assert all(torch.equal(read[site], said.at(site)) for site in SITES)


def test_half_precision_and_double_come_back_as_float32(toy: Toy) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert features(toy, [images()]).dtype == torch.float32
    toy.double()
    assert {features(toy, [images().double()], site).dtype for site in SITES} == {torch.float32}


def test_the_modes_come_back_after_an_error(toy: Toy) -> None:
    def broken() -> Iterator[torch.Tensor]:
        yield images()
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="disk"):
        features(toy, broken())
    assert toy.training and toy.body.training and not toy.projector.training


def test_what_a_network_does_not_say_is_refused() -> None:
    class Plain(nn.Module):
        def forward(self, view: torch.Tensor) -> Encoding:
            return Encoding(view.flatten(1), view.flatten(1))

    for site, words in (("p", "has no predictor, so there is no p"), ("logits", "has no prototypes, so there are no")):
        with pytest.raises(UserError, match=f"{words}.*; use another site: h, z$"):
            features(Plain(), [images()], site)  # type: ignore[arg-type]


def test_no_images_are_refused(toy: Toy) -> None:
    with pytest.raises(ValueError, match="no images"):
        features(toy, [])
