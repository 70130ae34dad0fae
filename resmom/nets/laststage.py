"""A backbone cut before its last stage, which is the head of each region: the parts of the detector's form c4."""

from torch import Tensor, nn
from torchvision.ops import roi_align

from resmom.nets.stages import Stages


class Trunk(nn.Module):
    """All stages but the last, one map."""

    def __init__(self, body: Stages) -> None:
        super().__init__()
        self.stem, self.stages = body.stem, body.stages[:-1]
        self.out_channels, self.stride = body.widths[-2], body.strides[-2]

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        x = self.stem(images)
        for stage in self.stages:
            x = stage(x)
        return {"0": x}


class Regions(nn.Module):
    """Regions of one map, pixel centres aligned, as many samples per bin as its pixels (Detectron2's ROIAlignV2)."""

    def __init__(self, side: int, stride: int) -> None:
        super().__init__()
        self.side, self.stride = side, stride

    def forward(self, features: dict[str, Tensor], boxes: list[Tensor], sizes: list[tuple[int, int]]) -> Tensor:
        pooled: Tensor = roi_align(
            features["0"], boxes, self.side, spatial_scale=1 / self.stride, sampling_ratio=0, aligned=True
        )
        return pooled


class StageHead(nn.Module):
    """The last stage on each region, a BatchNorm after it where BatchNorm is trained, and the mean over places."""

    def __init__(self, stage: nn.Module, width: int, norm: bool) -> None:
        super().__init__()
        self.stage = stage
        self.norm = nn.BatchNorm2d(width) if norm else nn.Identity()

    def forward(self, regions: Tensor) -> Tensor:
        out: Tensor = self.norm(self.stage(regions))
        return out.mean((2, 3))
