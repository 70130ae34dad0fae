"""solo-learn: its MoCoV3 module and transforms with its own YAML files; from a checkout (--solo-learn PATH)."""

from pathlib import Path
from typing import Any

import lightning.pytorch
import torch
from omegaconf import OmegaConf
from solo.args.pretrain import parse_cfg
from solo.data.pretrain_dataloader import (
    FullTransformPipeline,
    NCropAugmentation,
    build_transform_pipeline,
    prepare_datasets,
)
from solo.methods import METHODS
from solo.utils.misc import make_contiguous

from benchmarks.peers.case import Case
from benchmarks.peers.networks import fit, views
from benchmarks.peers.pictures import Arrays, feed
from benchmarks.peers.worker import Gate

PACKAGES = ("lightning", "omegaconf")
NOTES = {
    "step": "METHODS['mocov3'] with scripts/pretrain/cifar/mocov3.yaml, channels_last as main_pretrain.py has it, SGD, "
    "a padding of 1 in the stem (its 2 makes larger maps), Lightning's Trainer; its online classifier learns beside",
    "images": "prepare_datasets and build_transform_pipeline with its asymmetric.yaml for ImageNet or CIFAR",
}


def _settings(case: Case, family: str) -> Any:
    scripts = Path(case.source) / "scripts" / "pretrain" / family
    settings = OmegaConf.load(scripts / "mocov3.yaml")
    settings.augmentations = OmegaConf.load(scripts / "augmentations" / "asymmetric.yaml")
    return settings


def step(case: Case, gate: Gate) -> None:
    settings = _settings(case, "cifar")
    settings.data.dataset = "cifar100"
    settings.optimizer.update({"name": "sgd", "batch_size": case.batch, "kwargs": {"momentum": 0.9}})
    settings = parse_cfg(settings)
    model = METHODS[settings.method](settings)
    for network in (model.backbone, model.momentum_backbone):
        network.conv1.padding = (1, 1)
    make_contiguous(model)
    if not settings.performance.disable_channel_last:
        model = model.to(memory_format=torch.channels_last)
    drawn = torch.arange(case.batch, device=case.device)
    batch = [drawn, list(views(case)), drawn % 100]
    fit(lightning.pytorch, model, batch, case, gate)


def images(case: Case, gate: Gate) -> None:
    arrays = case.data.endswith(".npz")
    name, family = ("cifar100", "cifar") if arrays else ("imagenet", "imagenet")
    augmentations = OmegaConf.load(
        Path(case.source) / "scripts" / "pretrain" / family / "augmentations" / "asymmetric.yaml"
    )
    for each in augmentations:
        each.crop_size = case.side
    each_view = [NCropAugmentation(build_transform_pipeline(name, each), each.num_crops) for each in augmentations]
    two = FullTransformPipeline(each_view)
    feed(Arrays(case.data, two) if arrays else prepare_datasets(name, two, case.data), case, gate)
