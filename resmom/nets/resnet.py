"""The bodies of ResNets: torchvision's with the stems for small images, and a small one for CPUs."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import resnet

_DEPTHS: dict[int, tuple[type[resnet.BasicBlock | resnet.Bottleneck], list[int]]] = {
    18: (resnet.BasicBlock, [2, 2, 2, 2]),
    34: (resnet.BasicBlock, [3, 4, 6, 3]),
    50: (resnet.Bottleneck, [3, 4, 6, 3]),
}


class ResNetBody(resnet.ResNet):  # type: ignore[misc]
    """torchvision's ResNet, its forward cut into map and pooling, with torchvision's parameter names."""

    def __init__(self, depth: int, stem: str, zero_init_residual: bool) -> None:
        block, layers = _DEPTHS[depth]
        super().__init__(block, layers, zero_init_residual=zero_init_residual)
        self.width = 512 * block.expansion
        self.fc = nn.Identity()
        if stem != "imagenet":
            padding = 2 if stem == "small_pad2" else 1
            self.conv1 = nn.Conv2d(3, 64, 3, stride=1, padding=padding, bias=False)
            nn.init.kaiming_normal_(self.conv1.weight, mode="fan_out", nonlinearity="relu")
            if stem != "small_pool":
                self.maxpool = nn.Identity()

    def forward_features(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return x

    def forward_head(self, features: Tensor, pre_logits: bool = True) -> Tensor:
        return features.mean((2, 3))


NARROW = 8
"""Below so many input channels oneDNN's AVX2 kernel of a strided 1x1 convolution writes outside its memory in the
backward pass (channels last, torch 2.15): "corrupted double-linked list", and the process dies."""


class _Thinned(nn.Conv2d):
    """A strided 1x1 convolution as one without a stride, on the places that it looks at: the same sums."""

    def forward(self, x: Tensor) -> Tensor:
        (down, across) = self.stride
        return F.conv2d(x[:, :, ::down, ::across], self.weight, self.bias)


class SmallResNetBody(nn.Module):
    def __init__(self, widths: Sequence[int], blocks: int, stem_stride: int, channels: int) -> None:
        super().__init__()
        first = widths[0]
        stem = nn.Conv2d(channels, first, 3, stride=stem_stride, padding=1, bias=False)
        parts: list[nn.Module] = [stem, nn.BatchNorm2d(first), nn.ReLU(inplace=True)]
        inside = first
        for number, width in enumerate(widths):
            for block in range(blocks):
                stride = 2 if number > 0 and block == 0 else 1
                shape_changes = stride != 1 or inside != width
                strided = _Thinned if inside < NARROW else nn.Conv2d
                shortcut = (
                    nn.Sequential(strided(inside, width, 1, stride=stride, bias=False), nn.BatchNorm2d(width))
                    if shape_changes
                    else None
                )
                parts.append(resnet.BasicBlock(inside, width, stride, shortcut))
                inside = width
        self.layers = nn.Sequential(*parts)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward_features(self, x: Tensor) -> Tensor:
        x = self.layers(x)
        return x

    def forward_head(self, features: Tensor, pre_logits: bool = True) -> Tensor:
        return features.mean((2, 3))
