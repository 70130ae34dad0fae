"""What a view of an image may be: the ranges and probabilities from which `draw` takes its numbers.

The published policies are functions at the end of this file; each names the place it was taken from.
"""

from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Literal, get_args

from resmom.called import called

Interpolation = Literal["bilinear", "bicubic"]
Numbers = tuple[float, ...]

IMAGENET: tuple[Numbers, Numbers] = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and standard deviation per channel of ImageNet's training images in [0, 1], as everybody rounds them."""

CIFAR10: tuple[Numbers, Numbers] = ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))
"""The same of CIFAR-10."""

SMALLEST = 8
"""Pixels of a view's side below which no crop and no network tells anything."""

CIFAR100: tuple[Numbers, Numbers] = ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762))
"""The same of CIFAR-100."""


@dataclass(frozen=True)
class View:
    """One random view: crop and resize, flips, quarter turns, rotation, jitter of colours, grey, blur, solarise, in
    this order.

    `size`: side of the view in pixels. `scale`: range of the crop's area as a part of the image's. `ratio`: range of
    the crop's width / height, log-uniform. `flip` (left and right), `flip_vertical`, `quarter_turns` (a turn by 0, 90,
    180 or 270 degrees, each as likely), `jitter`, `grey`, `blur`, `solarise`: probabilities, per image. `rotation` = x:
    an angle uniform on [-x, x] degrees. `brightness`, `contrast`, `saturation` = x: a factor uniform on
    [max(0, 1 - x), 1 + x]. `hue` = x: a shift uniform on [-x, x], in turns of the colour circle. `sigma`: range of the
    blur's standard deviation in pixels of the view.

    Raises ValueError where a number lies outside its range.
    """

    size: int = 224
    scale: tuple[float, float] = (0.2, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    interpolation: Interpolation = "bilinear"
    flip: float = 0.5
    jitter: float = 0.8
    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.4
    hue: float = 0.1
    grey: float = 0.2
    blur: float = 0.5
    sigma: tuple[float, float] = (0.1, 2.0)
    solarise: float = 0.0
    flip_vertical: float = 0.0
    quarter_turns: float = 0.0
    rotation: float = 0.0

    def __post_init__(self) -> None:
        if self.size < self.least:
            raise ValueError(
                f"{called('View.size')} must be at least {self.least} pixel(s), got {self.size}; set the view's side"
            )
        if self.interpolation not in get_args(Interpolation):
            allowed = " or ".join(repr(name) for name in get_args(Interpolation))
            raise ValueError(
                f"{called('View.interpolation')} must be {allowed}, got {self.interpolation!r}; choose one of them"
            )
        _check_range("scale", self.scale, highest=1.0)
        _check_range("ratio", self.ratio)
        _check_range("sigma", self.sigma)
        for name in ("flip", "flip_vertical", "quarter_turns", "jitter", "grey", "blur", "solarise"):
            _check_number(name, getattr(self, name), highest=1.0, what="a probability")
        for name in ("brightness", "contrast", "saturation"):
            _check_number(name, getattr(self, name), highest=float("inf"), what="the half-width of a factor's range")
        _check_number("hue", self.hue, highest=0.5, what="a part of the colour circle")
        _check_number("rotation", self.rotation, highest=180.0, what="the largest angle in degrees")

    @property
    def least(self) -> int:
        """Pixels that its side has at least: blur and rotation mirror at the border, which one pixel alone cannot."""
        return 2 if self.blur > 0 or self.rotation > 0 else 1


@dataclass(frozen=True)
class Policy:
    """All views of a method, and the mean and standard deviation by which every channel is normalised.

    Raises ValueError if there is no view, or if `mean` and `std` are not one number per channel each, std > 0.
    """

    views: tuple[View, ...]
    mean: Numbers
    std: Numbers

    def __post_init__(self) -> None:
        if not self.views:
            raise ValueError(f"{called('Policy.views')} is empty; give at least one View (most methods need two)")
        if not self.mean or len(self.mean) != len(self.std):
            raise ValueError(
                f"{called('Policy.mean')} and {called('Policy.std')} must hold one number per channel each, got "
                f"{len(self.mean)} and {len(self.std)}; give both the length of the images' channels"
            )
        if not all(0 < s < float("inf") for s in self.std):
            raise ValueError(
                f"{called('Policy.std')} must be positive and finite, got {self.std}; pixels are divided by it"
            )

    @property
    def leading(self) -> "Policy":
        """The first views, those of the first one's size: what gaps and health are measured on.

        All views, except where smaller local ones follow.
        """
        size = self.views[0].size
        return replace(self, views=tuple(takewhile(lambda view: view.size == size, self.views)))


def resized(policy: Policy, share: float, multiple: int = 1) -> Policy:
    """The same views in fewer pixels: every side times `share`, rounded to a multiple; blurs shrink as the sides do."""
    if share == 1.0:
        return policy

    def smaller(view: View) -> View:
        size = max(multiple, multiple * round(view.size * share / multiple), view.least)
        low, high = view.sigma
        return replace(view, size=size, sigma=(low * size / view.size, high * size / view.size))

    return replace(policy, views=tuple(map(smaller, policy.views)))


def weak(view: View) -> View:
    """Crop, flips, turns and rotation of the view and nothing else, as the teacher sees them in MSF and ReSSL."""
    return replace(view, jitter=0.0, grey=0.0, blur=0.0, solarise=0.0)


def _check_range(name: str, value: Numbers, highest: float = float("inf")) -> None:
    if len(value) != 2 or not 0 < value[0] <= value[1] <= highest or value[1] == float("inf"):
        bound = "" if highest == float("inf") else f" <= {highest:g}"
        raise ValueError(
            f"{called(f'View.{name}')} must be (low, high) with 0 < low <= high{bound}, got {value}; mend the range"
        )


def _check_number(name: str, value: float, highest: float, what: str) -> None:
    if not 0 <= value <= highest or value == float("inf"):
        bound = "at least 0 and finite" if highest == float("inf") else f"in [0, {highest:g}]"
        raise ValueError(f"{called(f'View.{name}')} is {what} and must be {bound}, got {value}; 0 turns it off")


def mocov2_imagenet() -> Policy:
    """Two equal views, as SimCLR's with milder jitter: MoCo-v2 (arXiv 2003.04297), the authors' `--aug-plus`."""
    return Policy((View(), View()), *IMAGENET)


def msf_imagenet() -> Policy:
    """MoCo-v2's view for the student, crop and flip alone for the teacher: MSF (arXiv 2105.07269), "w/s".

    Source: `weak/strong` in train_msf.py of UMBCvision/MSF.
    """
    return Policy((View(), weak(View())), *IMAGENET)


def mocov3_imagenet(min_scale: float = 0.2) -> Policy:
    """The asymmetric pair of BYOL (arXiv 2006.07733, table 6) as MoCo-v3 (arXiv 2104.02057) runs it.

    `min_scale` is the smallest area of a crop: .2 for ResNet-50, .08 for ViT in the authors' commands.
    """
    first = View(scale=(min_scale, 1.0), saturation=0.2, blur=1.0)
    return Policy((first, replace(first, blur=0.1, solarise=0.2)), *IMAGENET)


def dino_imagenet(local: int, scale: float, sides: tuple[int, int] = (224, 96)) -> Policy:
    """DINO's multi-crop (arXiv 2104.14294, section 3.1): two global views of 224 pixels and `local` ones of 96.

    `scale` divides the areas: global crops have from that part of the image on, local ones from .05 up to it. `sides`
    replaces the two sizes. Source: DataAugmentationDINO in main_dino.py of facebookresearch/dino; iBOT has the same.
    All crops are bicubic; the global ones are BYOL's asymmetric pair.
    """
    first = View(sides[0], (scale, 1.0), interpolation="bicubic", saturation=0.2, blur=1.0)
    second = replace(first, blur=0.1, solarise=0.2)
    small = replace(first, size=sides[1], scale=(0.05, scale), blur=0.5)
    return Policy((first, second, *[small] * local), *IMAGENET)


def dinov2_imagenet() -> Policy:
    """DINO's multi-crop with 8 local views, crops parted at .32, blurred as the code of DINOv2 (arXiv 2304.07193) does.

    Source: data/augmentations.py and ssl_default_config.yaml of facebookresearch/dinov2. Its GaussianBlur(p) blurs with
    probability 1 - p: the first view never, the second in nine of ten. The kernel there is 9 pixels wide, which at the
    largest sigma of 2 cuts a fortieth of the Gaussian off; ours is 23 wide in views of 224, and 9 in those of 96.
    """
    made = dino_imagenet(local=8, scale=0.32)
    first, second, *local = made.views
    return replace(made, views=(replace(first, blur=0.0), replace(second, blur=0.9), *local))


def mocov3_cifar(mean: Numbers = CIFAR100[0], std: Numbers = CIFAR100[1]) -> Policy:
    """The asymmetric pair without blur that solo-learn runs MoCo-v3, BYOL and others with on CIFAR-10 and -100.

    Source: scripts/pretrain/cifar/augmentations/asymmetric.yaml of vturrisi/solo-learn; its crops are bicubic.
    """
    first = View(size=32, scale=(0.08, 1.0), interpolation="bicubic", saturation=0.2, blur=0.0)
    return Policy((first, replace(first, solarise=0.2)), mean, std)


def simclr_cifar(mean: Numbers = CIFAR100[0], std: Numbers = CIFAR100[1]) -> Policy:
    """The two equal views with strong jitter and blur that solo-learn runs SimCLR with on CIFAR-10 and -100.

    Source: scripts/pretrain/cifar/augmentations/symmetric.yaml of vturrisi/solo-learn; its crops are bicubic.
    """
    view = View(size=32, scale=(0.08, 1.0), interpolation="bicubic")
    view = replace(view, brightness=0.8, contrast=0.8, saturation=0.8, hue=0.2)
    return Policy((view, view), mean, std)


def vicreg_cifar(mean: Numbers = CIFAR100[0], std: Numbers = CIFAR100[1]) -> Policy:
    """The two equal views, crops from a fifth of the image, that solo-learn runs VICReg with on CIFAR-10 and -100.

    Source: scripts/pretrain/cifar/vicreg.yaml of vturrisi/solo-learn; its crops are bicubic.
    """
    view = View(size=32, scale=(0.2, 1.0), interpolation="bicubic", saturation=0.2, blur=0.0, solarise=0.1)
    return Policy((view, view), mean, std)


def mocov2plus_cifar(mean: Numbers = CIFAR100[0], std: Numbers = CIFAR100[1]) -> Policy:
    """The two equal views with blur that solo-learn runs MoCo-v2+ with on CIFAR-10 and -100.

    Source: scripts/pretrain/cifar/augmentations/symmetric_weak.yaml of vturrisi/solo-learn; its crops are bicubic. Its
    blur is Pillow's, which is not cut off after a few pixels; ours is, see `resample.blur_kernel`.
    """
    view = View(size=32, scale=(0.08, 1.0), interpolation="bicubic")
    return Policy((view, view), mean, std)


def ressl_cifar(mean: Numbers = CIFAR100[0], std: Numbers = CIFAR100[1]) -> Policy:
    """A strong view for the student and a weak one, crop and flip alone, for the teacher: ReSSL on CIFAR-10 and -100.

    Source: scripts/pretrain/cifar/augmentations/ressl.yaml of vturrisi/solo-learn; its crops are bicubic.
    """
    strong = View(size=32, scale=(0.08, 1.0), interpolation="bicubic", saturation=0.2)
    return Policy((strong, weak(strong)), mean, std)


def equal_imagenette(min_scale: float) -> Policy:
    """The two equal views of 128 pixels, with blur, that lightly runs its benchmark on Imagenette with.

    Source: SimCLRTransform (at strength .5, crops from .08 of the image on) and SimSiamTransform (from .2 on) of
    lightly-ai/lightly at commit 3ea0736.
    """
    view = View(size=128, scale=(min_scale, 1.0))
    return Policy((view, view), *IMAGENET)


def vicreg_imagenette() -> Policy:
    """The two equal views of 128 pixels that lightly runs VICReg's benchmark on Imagenette with.

    Source: VICRegTransform of lightly-ai/lightly at commit 3ea0736, at strength .5; it solarises before it blurs.
    """
    view = View(size=128, scale=(0.08, 1.0), saturation=0.2, solarise=0.1)
    return Policy((view, view), *IMAGENET)


def plain_ermolov(mean: Numbers, std: Numbers) -> Policy:
    """The two equal views of 64 pixels, without blur, of Ermolov et al. 2021 (arXiv 2007.06346) on small data sets.

    Source: cfg.py and datasets/transforms.py of htdt/self-supervised, which changes colours before it crops.
    """
    view = View(size=64, interpolation="bicubic", grey=0.1, blur=0.0)
    return Policy((view, view), mean, std)
