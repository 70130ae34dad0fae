"""The lines that a card prints are run as they stand, and must give the run's own features."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from torch import Tensor, nn
from torchvision.models import resnet18

from resmom.build import Own, build_method
from resmom.data.decode import decode
from resmom.export.loading import loading_lines, preparing_lines, width_lines
from resmom.export.weights import About, exported, save_weights
from resmom.losses.residual import Residual
from resmom.method import Method
from resmom.methods.mocov3 import MoCoV3
from resmom.nets.backbones import BackboneConfig, DinoViT, MoCoViT, ResNet, SmallResNet, Timm
from resmom.nets.init import load_backbone
from resmom.train.optim import Sgd, build_optimizer
from resmom.train.plan import Plan
from resmom.train.state import State
from resmom.train.step import Rules, train_step
from resmom.types import Batch
from resmom.views.apply import plain
from resmom.views.policy import Interpolation, dino_imagenet
from resmom.which import Network

ABOUT = About("student", {"kind": "SmallResNet"}, 2, (0.5, 0.4, 0.3), (0.2, 0.2, 0.1), 32)
NETWORKS: tuple[Network, Network] = ("student", "teacher")


def trained(config: BackboneConfig, side: int, own: Own | None = None) -> Method:
    """A method after a step, so that student, teacher and their batch statistics are no longer what they were."""
    channels = config.channels if isinstance(config, SmallResNet) else 3
    method = build_method(MoCoV3(hidden=8, out=4), config, 0, own or Own(), (channels, side, side))
    method = method.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    state = State(method, build_optimizer(Sgd(), method.student))
    generator = torch.Generator().manual_seed(0)
    views = tuple(1 + torch.randn(4, channels, side, side, generator=generator) for _ in range(2))
    train_step(state, Batch(views, torch.arange(4)), Plan(0.05, 0.5, 1.0), Rules(Residual(1.0)), measure=False)
    return method.eval()


def load(config: BackboneConfig | None, method: Method, network: Network, folder: Path, **names: Any) -> nn.Module:
    """Write the network's file, run the lines in a namespace of their own, return what they leave."""
    file = folder / f"{network}.safetensors"
    save_weights(file, exported(getattr(method, network).state_dict(), config), ABOUT)
    lines = loading_lines(config, str(file))
    assert "resmom" not in lines.replace(str(folder), "")
    space: dict[str, Any] = dict(names)
    exec(lines, space)
    made: nn.Module = space["network"]
    assert not made.training
    return made


@pytest.mark.parametrize(
    ("config", "side"),
    [
        (ResNet(18), 32),
        pytest.param(ResNet(18, stem="small"), 16, marks=pytest.mark.slow),
        pytest.param(ResNet(34, stem="small_pad2", zero_init_residual=True), 8, marks=pytest.mark.slow),
        pytest.param(ResNet(18, stem="small_pad2"), 8, marks=pytest.mark.slow),
        pytest.param(ResNet(18, stem="small_pool"), 16, marks=pytest.mark.slow),
        pytest.param(ResNet(50), 64, marks=pytest.mark.slow),
        (SmallResNet((4, 8)), 32),
        (SmallResNet((4, 4, 8, 8, 16), blocks=2, stem_stride=1, channels=1), 32),
        (SmallResNet((4,), channels=5), 8),
        (MoCoViT("tiny", image=32, patch=16), 32),
        pytest.param(MoCoViT("small", image=32, patch=16, freeze_patch=False), 32, marks=pytest.mark.slow),
        (DinoViT("tiny", image=32, patch=16, drop_path=0.1), 32),
        (DinoViT("tiny", image=32, patch=16, layer_scale=0.1), 32),
        (Timm("resnet10t"), 32),
        (Timm("vit_tiny_patch16_224", image=32), 32),
        (Timm("convnext_atto"), 32),
    ],
    ids=str,
)
def test_the_lines_give_the_features_of_the_run(config: BackboneConfig, side: int, tmp_path: Path) -> None:
    method = trained(config, side)
    channels = config.channels if isinstance(config, SmallResNet) else 3
    images = torch.randn(3, channels, side, side, generator=torch.Generator().manual_seed(9))
    features = []
    made_of = {network: load(config, method, network, tmp_path) for network in NETWORKS}
    method.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # sums in the same order
    for network, made in made_of.items():
        with torch.no_grad():
            ours, theirs = getattr(method, network)(images).h, made(images)
        torch.testing.assert_close(theirs, ours, rtol=1e-6, atol=1e-6 * ours.abs().max().item())
        assert theirs.shape[1] == eval(width_lines(config), {"network": made, "images": images})
        features.append(theirs)
    assert not torch.allclose(*features, rtol=1e-3), "student and teacher must differ, or a mix-up would go unseen"


class Own12(nn.Module):
    """A backbone of the user's own."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3 * 8 * 8, 12)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.flatten(1))


def test_a_module_of_the_users_own_keeps_its_names(tmp_path: Path) -> None:
    method = trained(SmallResNet((4,)), 8, Own(backbone=Own12()))
    weights = exported(method.student.state_dict(), None)
    assert weights.keys() == {"linear.weight", "linear.bias"}
    save_weights(tmp_path / "w.safetensors", weights, ABOUT)
    lines = loading_lines(None, str(tmp_path / "w.safetensors")).replace("network = ...", "network = Own12()")
    space: dict[str, Any] = {"Own12": Own12}
    exec(lines, space)
    images = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(space["network"](images), method.student(images).h)


@pytest.mark.slow
@pytest.mark.parametrize("whole", [True, False])
def test_of_a_compiled_module_the_plain_one_loads_them_and_the_reverse(whole: bool, tmp_path: Path) -> None:
    def compiled(body: Own12) -> nn.Module:
        if whole:
            return torch.compile(body, backend="eager")
        body.linear = torch.compile(body.linear, backend="eager")
        return body

    wrapped, other, plain = compiled(Own12()), compiled(Own12()), Own12()
    state = wrapped.state_dict()
    assert all("_orig_mod." in name for name in state)
    weights = exported({f"backbone.body.{name}": value for name, value in state.items()}, None)
    plain.load_state_dict(weights)
    save_weights(tmp_path / "w.safetensors", weights, ABOUT)
    torch.save(state, tmp_path / "w.pth")
    for name in ("w.safetensors", "w.pth"):
        for module in (other, Own12()):
            load_backbone(module, tmp_path / name)
            values = module.state_dict().values()
            assert all(torch.equal(*pair) for pair in zip(values, state.values(), strict=True))


@pytest.mark.slow
def test_resnet_files_are_plain_torchvision_state_dicts(tmp_path: Path) -> None:
    method = trained(ResNet(18), 32)
    reference = resnet18()
    missing, unexpected = reference.load_state_dict(exported(method.student.state_dict(), ResNet(18)), strict=False)
    assert missing == ["fc.weight", "fc.bias"] and unexpected == []


def test_what_is_exported_can_start_another_run(tmp_path: Path) -> None:
    config = SmallResNet((4, 8))
    method = trained(config, 16)
    load(config, method, "teacher", tmp_path)
    other = trained(config, 16).student.backbone
    load_backbone(other, tmp_path / "teacher.safetensors")
    images = torch.randn(2, 3, 16, 16)
    assert torch.equal(other(images)[1], method.teacher(images).h)


def test_the_file_says_what_it_is_and_has_no_head(tmp_path: Path) -> None:
    config = SmallResNet((4, 8))
    weights = exported(trained(config, 16).student.state_dict(), config)
    save_weights(tmp_path / "w.safetensors", weights, About("student", asdict(config), 2, (0.5,), (0.2,), 32))
    with safe_open(tmp_path / "w.safetensors", framework="pt") as file:
        said = file.metadata()
        assert set(file.keys()) == weights.keys() and not any("project" in name for name in weights)
    assert said["network"] == "student" and said["step"] == "2" and said["image_size"] == "32"
    assert json.loads(said["mean"]) == [0.5] and json.loads(said["std"]) == [0.2]
    assert json.loads(said["architecture"])["widths"] == [4, 8] and said["resmom_version"]


def test_a_file_says_what_the_first_view_shows() -> None:
    policy = dino_imagenet(2, 0.25)
    said = About.of("teacher", "mine.Net", 7, policy)
    assert said == About("teacher", "mine.Net", 7, policy.mean, policy.std, 224, policy.views[0].interpolation)
    assert said.metadata()["resize"] == "bicubic" and "step" not in About.of("init", "", None, policy).metadata()


def prepared(picture: Image.Image, mean: tuple[float, ...], std: tuple[float, ...], resize: Interpolation) -> Tensor:
    """What the printed lines, run as they stand, make of an image at 32 pixels."""
    space: dict[str, Any] = {}
    exec(preparing_lines(mean, std, 32, resize), space)
    made: Tensor = space["prepare"](picture)
    return made


MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.1)
NEAR = 5e-5
"""How far pixels may be off, normalised: ours are resized by the compiled pass, where that is there."""


def picture_of(channels: int, size: tuple[int, int]) -> tuple[Image.Image, Tensor]:
    """Noise as a picture, grey or in colour, and as 1 x C x H x W."""
    pixels = np.random.default_rng(0).integers(0, 256, size=(*size, 3), dtype=np.uint8)
    picture = Image.fromarray(pixels) if channels == 3 else Image.fromarray(pixels[..., 0])
    return picture, torch.from_numpy(pixels[..., :channels]).permute(2, 0, 1)[None]


@pytest.mark.parametrize("size", [(60, 80), (81, 40), (32, 32)])
@pytest.mark.parametrize("resize", ["bilinear", "bicubic"])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_preparing_lines_see_images_as_the_evaluation_does(
    resize: Interpolation, channels: int, size: tuple[int, int]
) -> None:
    picture, image = picture_of(channels, size)
    ours = plain(image, 32, MEAN[:channels], STD[:channels], resize)[0]
    torch.testing.assert_close(prepared(picture, MEAN[:channels], STD[:channels], resize), ours, rtol=0, atol=NEAR)


def _turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def smooth(height: int, width: int) -> Image.Image:
    """Colours that differ from corner to corner, so that a turn or a lost palette is seen."""
    y, x = np.mgrid[0:height, 0:width]
    return Image.fromarray(np.stack([4 * y, 3 * x, 255 - 2 * x - 2 * y], axis=2).clip(0, 255).astype(np.uint8))


def alpha(image: Image.Image) -> Image.Image:
    mask = np.linspace(0, 255, image.width * image.height).reshape(image.height, image.width).astype(np.uint8)
    return Image.fromarray(mask)


def see_through(image: Image.Image) -> Image.Image:
    image.putalpha(alpha(image))
    return image


KINDS: dict[str, tuple[str, Callable[[Image.Image], Image.Image], dict[str, Any]]] = {
    "RGB": ("png", lambda image: image, {}),
    "grey": ("png", lambda image: image.convert("L"), {}),
    "palette": ("png", lambda image: image.quantize(16), {}),
    "palette, transparent": ("png", lambda image: image.quantize(16), {"transparency": 3}),
    "one colour transparent": ("png", lambda image: image, {"transparency": (0, 0, 255)}),
    "GIF": ("gif", lambda image: image, {}),
    "animation": ("gif", lambda image: image, {"save_all": True, "append_images": [Image.new("RGB", (9, 9))]}),
    "1 bit": ("png", lambda image: image.convert("1"), {}),
    "16 bits": (
        "png",
        lambda image: Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 255 + np.uint16(77)),
        {},
    ),
    "RGBA": ("png", see_through, {}),
    "LA": ("png", lambda image: see_through(image.convert("L")), {}),
    "turned PNG": ("png", lambda image: image, {"exif": _turned()}),
    "turned RGBA": ("png", see_through, {"exif": _turned()}),
    "turned TIFF": ("tiff", lambda image: image, {"exif": _turned()}),
    "turned JPEG": ("jpg", lambda image: image, {"exif": _turned(), "quality": 95}),
    "CMYK": ("jpg", lambda image: image.convert("CMYK"), {"quality": 95}),
}


def filed(kind: str, size: tuple[int, int], folder: Path) -> Path:
    """A smooth picture as a file of that kind."""
    ending, made, options = KINDS[kind]
    file = folder / f"image.{ending}"
    made(smooth(*size)).save(file, **options)
    return file


@pytest.mark.parametrize("size", [(48, 60), (32, 32)])
@pytest.mark.parametrize("kind", KINDS)
def test_the_preparing_lines_take_any_file_that_training_takes(
    kind: str, size: tuple[int, int], tmp_path: Path
) -> None:
    file = filed(kind, size, tmp_path)
    ours = plain([decode(file)], 32, MEAN, STD, "bicubic")[0]
    # Two libraries may unpack a JPEG one step of 8 bits apart.
    near = 1.1 / 255 / min(STD) if file.suffix == ".jpg" else NEAR
    with Image.open(file) as image:
        torch.testing.assert_close(prepared(image, MEAN, STD, "bicubic"), ours, rtol=0, atol=near)


def test_equal_content_is_an_equal_file_that_others_may_read(tmp_path: Path) -> None:
    """`cmp` and checksums tell whether two runs ended alike; whoever is given a file need not be its maker."""
    weights = {"b": torch.arange(3.0), "a": torch.ones(2, 2), "c": torch.zeros(1, dtype=torch.int64)}
    (tmp_path / "plain").write_text("")
    for name in ("one", "other"):
        save_weights(tmp_path / name, weights, ABOUT)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()
    assert (tmp_path / "one").stat().st_mode == (tmp_path / "plain").stat().st_mode
    with safe_open(tmp_path / "one", framework="pt") as file:
        assert file.metadata() == ABOUT.metadata()
        assert all(torch.equal(file.get_tensor(name), value) for name, value in weights.items())
    header = (tmp_path / "one").read_bytes()
    length = int.from_bytes(header[:8], "little")
    assert length % 8 == 0 and list(json.loads(header[8 : 8 + length])["__metadata__"]) == sorted(ABOUT.metadata())
