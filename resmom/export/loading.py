"""The lines of Python that load an exported file, and prepare images for it; nothing of this package is in them.

Of weights: torch, torchvision and timm only. Of ONNX files: onnxruntime, NumPy and Pillow only.
"""

from resmom.nets.backbones import MOCO_VIT, VIT, BackboneConfig, DinoViT, MoCoViT, ResNet, SmallResNet, Timm
from resmom.views.apply import PLAIN_MARGIN
from resmom.views.policy import Interpolation


def loading_lines(config: BackboneConfig | None, file: str) -> str:
    """Lines that leave `network`: N x C x S x S normalised images -> representations h, N x D, in evaluation mode.

    They are complete, imports included, and `file` stands in them as it is given. `config` is None for a module of the
    user's own, which no lines of ours can build.
    """
    match config:
        case ResNet():
            made = _resnet(config)
        case SmallResNet():
            made = _small_resnet(config)
        case MoCoViT():
            made = _vit(MOCO_VIT[config.size], config.image, config.patch)
        case DinoViT():
            made = _vit(VIT[config.size], config.image, config.patch, config.layer_scale)
        case Timm():
            size = "" if config.image is None else f", img_size={config.image}"
            made = [f'network = timm.create_model("{config.name}", num_classes=0{size})']
        case None:
            made = ["network = ...  # your own module, as you gave it to the run; of maps, take the mean over places"]
    return "\n".join([*_imports(config), "", *made, f'network.load_state_dict(load_file("{file}"))', "network.eval()"])


def _imports(config: BackboneConfig | None) -> list[str]:
    load = "from safetensors.torch import load_file"
    match config:
        case ResNet(depth=depth):
            return [load, "from torch import nn", f"from torchvision.models import resnet{depth}"]
        case SmallResNet():
            return [load, "from torch import nn", "from torchvision.models.resnet import BasicBlock"]
        case MoCoViT() | DinoViT():
            return [load, "from timm.models.vision_transformer import VisionTransformer"]
        case Timm():
            return ["import timm", load]
        case None:
            return [load]


def _resnet(config: ResNet) -> list[str]:
    lines = [f"network = resnet{config.depth}()", "network.fc = nn.Identity()"]
    if config.stem != "imagenet":
        padding = 2 if config.stem == "small_pad2" else 1
        lines.append(f"network.conv1 = nn.Conv2d(3, 64, 3, stride=1, padding={padding}, bias=False)")
        if config.stem != "small_pool":
            lines.append("network.maxpool = nn.Identity()")
    return lines


def _small_resnet(config: SmallResNet) -> list[str]:
    """torchvision's blocks in a row. Neither torchvision's nor timm's ResNet takes any number of stages and widths."""
    first = config.widths[0]
    inside, blocks = first, []
    for number, width in enumerate(config.widths):
        for block in range(config.blocks):
            stride = 2 if number > 0 and block == 0 else 1
            blocks.append(f"    block({inside}, {width}, {stride}),")
            inside = width
    return [
        "def block(inside, width, stride):",
        "    shortcut = [nn.Conv2d(inside, width, 1, stride, bias=False), nn.BatchNorm2d(width)]",
        "    changes = inside != width or stride != 1",
        "    return BasicBlock(inside, width, stride, nn.Sequential(*shortcut) if changes else None)",
        "",
        "network = nn.Sequential(",
        f"    nn.Conv2d({config.channels}, {first}, 3, stride={config.stem_stride}, padding=1, bias=False),",
        f"    nn.BatchNorm2d({first}),",
        "    nn.ReLU(),",
        *blocks,
        "    nn.AdaptiveAvgPool2d(1),",
        "    nn.Flatten(),",
        ")",
    ]


def _vit(size: tuple[int, int, int], image: int, patch: int, layer_scale: float = 0.0) -> list[str]:
    width, depth, heads = size
    return [
        "network = VisionTransformer(",
        *([f"    init_values={layer_scale},"] if layer_scale else []),
        f"    img_size={image}, patch_size={patch}, embed_dim={width}, depth={depth}, num_heads={heads}, num_classes=0",
        ")",
    ]


_UPRIGHT = """\
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):  # 16-bit grey
        image = Image.fromarray((np.asarray(image) / 257).round().astype("uint8"))
    if image.has_transparency_data:  # is laid over white
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))"""
"""Of `prepare`: a PIL image of any kind upright, with 8 bits and nothing to see through."""


def preparing_lines(mean: tuple[float, ...], std: tuple[float, ...], side: int, resize: Interpolation) -> str:
    """Lines that leave `prepare`: a PIL image of any kind -> C x side x side, as this package's evaluation sees it.

    They do in torchvision's words what `decode` of data/decode.py and `plain` of views/apply.py do, imports included.
    """
    larger = round(side * PLAIN_MARGIN)
    return f"""import numpy as np
import torch
from PIL import Image, ImageOps
from torchvision.transforms.v2 import functional as F

def prepare(image):
{_UPRIGHT}
    x = F.to_dtype(F.to_image(image.convert("{"L" if len(mean) == 1 else "RGB"}")), torch.float32, scale=True)
    if x.shape[-2:] != ({side}, {side}):  # else it is taken as it is
        x = F.resize(x, [{larger}], F.InterpolationMode.{resize.upper()}).clamp(0, 1)
        x = F.center_crop(x, [{side}])
    return F.normalize(x, {list(mean)}, {list(std)})"""


def onnx_preparing_lines(channels: int, side: int, resize: Interpolation) -> str:
    """Lines that leave `prepare`: a PIL image of any kind -> float32 in [0, 1], C x side x side, without torch.

    The same as `preparing_lines`, but not normalised: the graph of an ONNX file does that. Pillow resizes images of
    floats without rounding, with torch's antialiasing.
    """
    larger = round(side * PLAIN_MARGIN)
    return f"""import numpy as np
import onnxruntime
from PIL import Image, ImageOps

def prepare(image):
{_UPRIGHT}
    x = np.asarray(image.convert("{"L" if channels == 1 else "RGB"}"), dtype=np.float32) / 255
    height, width = x.shape[:2]
    x = x.reshape(height, width, {channels}).transpose(2, 0, 1)  # C x H x W
    if (height, width) != ({side}, {side}):  # else it is taken as it is
        short = min(height, width)
        height, width = {larger} * height // short, {larger} * width // short
        x = [Image.fromarray(plane).resize((width, height), Image.Resampling.{resize.upper()}) for plane in x]
        top, left = round((height - {side}) / 2), round((width - {side}) / 2)
        x = np.stack(x).clip(0, 1)[:, top : top + {side}, left : left + {side}]
    return np.ascontiguousarray(x)"""


def session_lines(file: str) -> str:
    """Lines that leave `session`, by which onnxruntime runs the ONNX file, which stands in them as it is given."""
    return f'session = onnxruntime.InferenceSession("{file}", providers=["CPUExecutionProvider"])'


RUN_LINES = """images = np.stack([prepare(Image.open("photo.jpg"))])  # N x C x S x S
(h,) = session.run(["features"], {"image": images})  # N x D"""
"""What `session` then does with a photo."""


def classifying_lines() -> str:
    """What `session` does with a photo where it is a classifier's: `classes` are the names of the probabilities."""
    return """import json

classes = json.loads(session.get_modelmeta().custom_metadata_map["classes"])
images = np.stack([prepare(Image.open("photo.jpg"))])  # N x C x S x S
(probabilities,) = session.run(["probabilities"], {"image": images})  # N x classes
print(classes[probabilities[0].argmax()], probabilities[0].max())"""


def width_lines(config: BackboneConfig | None) -> str:
    """The width of h as Python: a number, or an expression on `network` and `images`."""
    match config:
        case ResNet(depth=depth):
            return "2048" if depth == 50 else "512"
        case SmallResNet(widths=widths):
            return str(widths[-1])
        case MoCoViT(size=size):
            return str(MOCO_VIT[size][0])
        case DinoViT(size=size):
            return str(VIT[size][0])
        case Timm() | None:
            return "network(images).shape[1]"
