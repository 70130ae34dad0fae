"""lightly-train: its DINO on two views (it has no MoCo-v3; DINO is its nearest), its transforms and data set."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning
from lightly_train._commands import common_helpers, train_helpers
from lightly_train._methods import method_helpers
from lightly_train._methods.dino.dino_transform import DINOTransformArgs
from lightly_train._models import package_helpers
from torch.utils.data import Dataset

from benchmarks.peers.case import Case
from benchmarks.peers.networks import cifar_resnet18, fit, views
from benchmarks.peers.pictures import feed
from benchmarks.peers.worker import Gate

PACKAGES = ("lightly-train", "lightly", "pytorch-lightning", "albumentations", "opencv-python-headless")
NOTES = {
    "step": "method dino (no MoCo-v3 there) on two views, its defaults for 50,000 images, SGD, Lightning's Trainer; "
    "both views go through a network in one forward",
    "images": "ImageDataset and DINOTransform with its defaults but no local views; at 32 pixels without blur, arrays "
    "given to the transform as they are",
}


def step(case: Case, gate: Gate) -> None:
    wrapped = package_helpers.get_wrapped_model(model=cifar_resnet18(), num_input_channels=3)
    embedding = train_helpers.get_embedding_model(wrapped_model=wrapped)
    method_cls = method_helpers.get_method_cls("dino")
    optimizer_args = train_helpers.get_optimizer_args(
        optim_type=train_helpers.get_optimizer_type("sgd"),
        optim_args=None,
        method_cls=method_cls,
        wrapped_model=wrapped,
    )
    method_args = train_helpers.get_method_args(
        method_cls=method_cls,
        method_args=None,
        scaling_info=train_helpers.get_scaling_info(dataset_size=50_000, epochs=1000),
        optimizer_args=optimizer_args,
        wrapped_model=wrapped,
    )
    method = train_helpers.get_method(
        method_cls=method_cls,
        method_args=method_args,
        optimizer_args=optimizer_args,
        embedding_model=embedding,
        global_batch_size=case.batch,
        num_input_channels=3,
    )
    batch = {"views": list(views(case)), "filename": [str(at) for at in range(case.batch)]}
    fit(pytorch_lightning, method, batch, case, gate)


class OfArrays(Dataset[Any]):
    """Its transform on the arrays of an .npz file, where its own data set would decode files."""

    def __init__(self, path: str, transform: Any) -> None:
        self._images, self._transform = np.load(path)["train_images"], transform

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, at: int) -> list[Any]:
        return [view["image"] for view in self._transform({"image": self._images[at]})]


def images(case: Case, gate: Gate) -> None:
    arguments: dict[str, Any] = {"image_size": (case.side, case.side), "local_view": None}
    if case.side < 64:
        arguments |= {"gaussian_blur": None, "global_view_1": {"gaussian_blur": None}}
    resolved = train_helpers.get_transform_args(method="dino", transform_args=DINOTransformArgs(**arguments))
    transform = train_helpers.get_transform(method="dino", transform_args_resolved=resolved)
    if case.data.endswith(".npz"):
        feed(OfArrays(case.data, transform), case, gate)
    with tempfile.TemporaryDirectory() as place:
        dataset = common_helpers.get_dataset(
            data=[case.data],
            transform=transform,
            num_channels=3,
            mmap_filepath=Path(place) / "files",
            out_dir=Path(place),
            resume_interrupted=False,
            overwrite=False,
        )
        feed(dataset, case, gate)
