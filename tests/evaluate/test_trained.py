"""Trained networks as they are used: what goes in, what comes out, and what is refused."""

import pytest
import torch
from torch import nn

from resmom.evaluate.classifier import TrainedClassifier
from resmom.evaluate.trained import TrainedSegmenter
from resmom.nets.backbones import SmallResNet, build_backbone
from resmom.views.apply import plain

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.3, 0.25)


def classifier(classes: int = 3) -> TrainedClassifier:
    torch.manual_seed(0)
    backbone = build_backbone(SmallResNet((4, 8)))
    names = tuple("abcdefgh"[:classes])
    return TrainedClassifier(backbone, nn.Linear(8, classes), names, MEAN, STD, 16, "bicubic", {"network": "student"})


def pixels(*size: int) -> torch.Tensor:
    return torch.randint(0, 256, size, dtype=torch.uint8, generator=torch.Generator().manual_seed(sum(size)))


def test_a_classifier_prepares_images_and_gives_probabilities() -> None:
    made = classifier()
    assert not made.training and not any(p.requires_grad for p in made.parameters())
    images = [pixels(3, 20, 30), pixels(3, 16, 16), pixels(3, 90, 16)]
    found = made(images)
    view = plain(images, 16, MEAN, STD, "bicubic")
    by_hand = nn.functional.softmax(made.layer(made.backbone(view)[1]), dim=1)
    assert torch.equal(found, by_hand) and found.shape == (3, 3)
    torch.testing.assert_close(found.sum(1), torch.ones(3))
    for n, image in enumerate(images):  # no image depends on its neighbours
        torch.testing.assert_close(made(image[None])[0], found[n], rtol=1e-5, atol=1e-6)


def test_a_classifier_refuses_what_it_cannot_name() -> None:
    made = classifier()
    for images, words in (
        (torch.rand(2, 3, 16, 16), "must be uint8"),
        (pixels(2, 1, 16, 16), r"1 channel\(s\)"),
        (pixels(0, 3, 16, 16), "no images"),
    ):
        with pytest.raises(ValueError, match=words):
            made(images)
    with pytest.raises(ValueError, match="2 names for 3 classes"):
        TrainedClassifier(made.backbone, made.layer, ("a", "b"), MEAN, STD, 16, "bilinear", {})
    made.layer.bias[1] = torch.nan
    with pytest.raises(ValueError, match="weights are not finite"):
        TrainedClassifier(made.backbone, made.layer, made.classes, MEAN, STD, 16, "bilinear", {})


class Halves(nn.Module):
    """The left half is of class 0, the right half of class 1."""

    def __init__(self, value: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(value))

    def votes(self, image: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        left = torch.arange(size[1]) < size[1] / 2
        self.shown = tuple(image.shape)
        return torch.stack([left, ~left]).float()[:, None].expand(-1, *size) * self.weight


def test_a_segmenter_names_pixels_at_the_images_own_size() -> None:
    model = Halves()
    made = TrainedSegmenter(model, model.votes, (24, 100), ("left", "right"), "student", 7)
    (said,) = made([pixels(3, 40, 60)])
    assert model.shown == (3, 24, 36)
    assert said.shape == (40, 60) and said[:, :30].unique().tolist() == [0] and said[:, 30:].unique().tolist() == [1]
    assert not made.training and (made.network, made.step, made.classes) == ("student", 7, ("left", "right"))


def test_a_segmenter_says_when_its_votes_are_not_finite() -> None:
    model = Halves(float("nan"))
    made = TrainedSegmenter(model, model.votes, (0, 0), ("left", "right"), "student", 7)
    with pytest.raises(ValueError, match="votes are not finite; its training has diverged"):
        made([pixels(3, 8, 8)])
    for image in (torch.rand(3, 8, 8), pixels(1, 8, 8), pixels(1, 3, 8, 8)):
        with pytest.raises(ValueError, match="an image is a uint8 tensor 3 x H x W, pixels 0 to 255, as torchvision"):
            made([image])
