"""The two tasks of segmentation: an FCN around the backbone, and a linear layer on the places of the frozen one."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import nn
from torch.optim import SGD, Optimizer

from resmom.called import called
from resmom.config import part_to_json
from resmom.data.annotations.masks import MaskData
from resmom.evaluate import fcn, patchlinear
from resmom.evaluate.fcn import Crops, Fcn
from resmom.evaluate.patchlinear import Features, Images, PatchLinear
from resmom.evaluate.pixels import Votes, overlap
from resmom.nets.backbones import Backbone
from resmom.nets.patches import PatchProbe
from resmom.nets.segmenter import FcnNetwork
from resmom.runs.finetuned.task import Task
from resmom.train.optim import set_rate


@final
class FcnTask(Task[MaskData]):
    """A fully convolutional network around the backbone, all of it trained: segment-v1."""

    kind = "segmentation"

    def __init__(self, config: Fcn, train: MaskData, test: MaskData | None) -> None:
        super().__init__(train, test)
        self.config = config

    @property
    def pace(self) -> Fcn:
        return self.config

    def settings(self) -> dict[str, Any]:
        return part_to_json(self.config)

    def build(self, backbone: Backbone, mean: tuple[float, ...], std: tuple[float, ...]) -> nn.Module:
        network = FcnNetwork(self.config.segmenter, backbone, len(self.train.classes), mean, std)
        batch, crop, stride = self.config.batch, self.config.crop, network.body.strides[-1]
        if batch == 1 and crop <= stride:
            raise ValueError(
                f"of a crop of {crop} pixels its last map has one place, and BatchNorm needs two or more in a batch; "
                f"take {called('crop')} above {stride}, {called('batch')} above 1, or a larger "
                f"{called('segmenter.dilated')}"
            )
        return network

    def optimizer(self, model: nn.Module) -> Optimizer:
        return SGD(model.parameters(), lr=0.0, momentum=0.9, weight_decay=self.config.weight_decay)

    def samples(self) -> Crops:
        return Crops(self.train, self.config)

    def require_sizes(self) -> None:
        pass  # `open_masks` has read every mask and its image's header

    def set_rate(self, model: nn.Module, optimizer: Optimizer, step: int) -> float:
        rate = fcn.learning_rate(self.config, step)
        set_rate(optimizer, rate)
        return rate

    def prepare(self, model: nn.Module, device: torch.device, step: int) -> None:
        pass

    def settle(self, model: nn.Module, device: torch.device, workers: int) -> str:
        return ""

    def losses(
        self, model: nn.Module, batch: list[fcn.Sample], device: torch.device, step: int
    ) -> Iterator[dict[str, torch.Tensor]]:
        yield fcn.loss_terms(model, batch, self.config, device, step)

    def scores(self, model: nn.Module, data: MaskData, device: torch.device) -> dict[str, Any]:
        return overlap(self.votes(model), data, self.config.side, self.config.longest, device).plain(data.classes)

    def votes(self, model: nn.Module) -> Votes:
        """What the network says of a whole image, in evaluation mode; afterwards it is in the mode that it was in."""
        assert isinstance(model, FcnNetwork)

        def votes(image: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
            was = model.training
            model.eval()
            with torch.autocast(image.device.type, torch.bfloat16, enabled=self.config.precision == "bf16"):
                found = model.votes(image, size)
            model.train(was)
            return found

        return votes

    def words(self, scores: dict[str, Any]) -> str:
        return told(scores)

    def protocol(self, model: nn.Module) -> str:
        return fcn.protocol(self.config)


@dataclass(frozen=True)
class _Passes:
    """The pace of a linear probe: two passes, measured at the end only."""

    config: PatchLinear
    clip: float = 0.0
    measure_steps: int = 0

    @property
    def steps(self) -> int:
        return 2 * self.config.steps

    @property
    def batch(self) -> int:
        return self.config.batch

    @property
    def seed(self) -> int:
        return self.config.seed

    @property
    def line_steps(self) -> int:
        return self.config.line_steps

    @property
    def save_steps(self) -> int:
        return self.config.save_steps


@final
class PatchLinearTask(Task[MaskData]):
    """A linear layer on the places of the frozen backbone: patch-linear-v1."""

    kind = "segmentation"

    def __init__(self, config: PatchLinear, train: MaskData, test: MaskData | None) -> None:
        super().__init__(train, test)
        self.config = config
        self._features: Features | None = None

    @property
    def pace(self) -> _Passes:
        return _Passes(self.config)

    def settings(self) -> dict[str, Any]:
        return part_to_json(self.config)

    def build(self, backbone: Backbone, mean: tuple[float, ...], std: tuple[float, ...]) -> nn.Module:
        return PatchProbe(backbone, len(self.train.classes), len(self.config.lrs), mean, std)

    def optimizer(self, model: nn.Module) -> Optimizer:
        assert isinstance(model, PatchProbe)
        # A group for each learning rate, and the last for the chosen one.
        return SGD([{"params": [head]} for head in model.heads], lr=0.0, momentum=0.9)

    def samples(self) -> Images:
        return Images(self.train, self.config)

    def require_sizes(self) -> None:
        pass  # as for the FCN

    def set_rate(self, model: nn.Module, optimizer: Optimizer, step: int) -> float:
        """The one to note is that of the chosen rate, or the share that all have before the choice."""
        assert isinstance(model, PatchProbe)
        share = patchlinear.rate(self.config, step)
        chosen = int(model.chosen)
        rates = [*self.config.lrs, self.config.lrs[chosen] if chosen >= 0 else 0.0]
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = share * rate
        return share * (rates[-1] if chosen >= 0 else 1.0)

    def prepare(self, model: nn.Module, device: torch.device, step: int) -> None:
        features = self._of(model, device)
        if step == 0:
            features.standardise()
        if step == self.config.steps:
            features.choose(self.samples().held.tolist())

    def settle(self, model: nn.Module, device: torch.device, workers: int) -> str:
        return ""

    def remedy(self, rate: float) -> str:
        """Rates are tried together, and one whose loss is not finite ends the steps of all."""
        rates = " ".join(f"{lr:g}" for lr in self.config.lrs)
        return f"leave the highest of {called('lrs')} out, or give lower ones; it was {called('lrs')} {rates}"

    def losses(
        self, model: nn.Module, batch: list[int], device: torch.device, step: int
    ) -> Iterator[dict[str, torch.Tensor]]:
        return self._of(model, device).losses(batch, step)

    def scores(self, model: nn.Module, data: MaskData, device: torch.device) -> dict[str, Any]:
        assert isinstance(model, PatchProbe)
        found = overlap(self.votes(model), data, self.config.side, self.config.longest, device)
        chosen = int(model.chosen)
        judged = {f"{lr:g}": miou for lr, miou in zip(self.config.lrs, model.judged.tolist(), strict=True)}
        choice = {"lr": self.config.lrs[chosen], "at_edge": patchlinear.at_edge(self.config, chosen)}
        return {**found.plain(data.classes), **choice, "held_out_miou": judged}

    def votes(self, model: nn.Module) -> Votes:
        """What the chosen classifier says of a whole image. Raises ValueError where none is chosen yet."""
        assert isinstance(model, PatchProbe)
        if int(model.chosen) < 0:
            raise ValueError("its training stopped before a learning rate was chosen; continue it with `resume`")

        def votes(image: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
            shown = (image.shape[1], image.shape[2])
            return model.votes(model.features(image), shown, size, [model.tried])[0]

        return votes

    def words(self, scores: dict[str, Any]) -> str:
        return told(scores)

    def protocol(self, model: nn.Module) -> str:
        assert isinstance(model, PatchProbe)
        return patchlinear.protocol(self.config, model)

    def _of(self, model: nn.Module, device: torch.device) -> Features:
        assert isinstance(model, PatchProbe)
        if self._features is None or self._features.model is not model:
            self._features = Features(model, self.train, self.config, device)
        return self._features


def told(scores: dict[str, Any]) -> str:
    """A measurement in a line."""
    left = f"; neither there nor said: {', '.join(scores['left_out'])}" if scores["left_out"] else ""
    return f"mIoU {scores['miou']:.2f}, pixel accuracy {scores['pixel_accuracy']:.2f}{left}"
