"""No library: torchvision's v1 transforms on Pillow images, composed as MoCo-v3's official code and others do."""

import random
from typing import Any

from PIL import ImageFilter
from torchvision import transforms as T
from torchvision.datasets import ImageFolder

from benchmarks.peers.case import Case
from benchmarks.peers.pictures import MEAN, STD, Arrays, feed
from benchmarks.peers.worker import Gate

PACKAGES: tuple[str, ...] = ()
NOTES = {"images": "ImageFolder, torchvision v1 transforms on Pillow images, a DataLoader worker per core"}


class Blur:
    """Pillow's, as all of them have it."""

    def __call__(self, image: Any) -> Any:
        return image.filter(ImageFilter.GaussianBlur(radius=random.uniform(0.1, 2.0)))


class Two:
    """The asymmetric pair of views; at 32 pixels without blur, as the published settings for CIFAR."""

    def __init__(self, side: int) -> None:
        self._views = [_view(side, blur, solarise) for blur, solarise in ((1.0, 0.0), (0.1, 0.2))]

    def __call__(self, image: Any) -> list[Any]:
        return [view(image) for view in self._views]


def _view(side: int, blur: float, solarise: float) -> T.Compose:
    small = side < 64
    crop = T.RandomResizedCrop(side, scale=(0.08 if small else 0.2, 1.0))
    jitter = T.RandomApply([T.ColorJitter(0.4, 0.4, 0.2, 0.1)], p=0.8)
    blurred = [] if small else [T.RandomApply([Blur()], p=blur)]
    rest = [T.RandomSolarize(128, p=solarise), T.RandomHorizontalFlip(), T.ToTensor(), T.Normalize(MEAN, STD)]
    return T.Compose([crop, jitter, T.RandomGrayscale(0.2), *blurred, *rest])


def images(case: Case, gate: Gate) -> None:
    two = Two(case.side)
    feed(Arrays(case.data, two) if case.data.endswith(".npz") else ImageFolder(case.data, two), case, gate)
