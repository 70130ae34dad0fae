"""As `record.py`, for whole steps of solo-learn, whose authors' own code is in JAX or TensorFlow, or not there at all.

    python -m tests.parity.record_sololearn PATH [--commit COMMIT]

PATH is a checkout of vturrisi/solo-learn. Its methods run as they are: training step, optimiser, schedule, teacher and
queue, online classifier included. Lightning, OmegaConf and the package's own initialisation have stand-ins; in place of
ResNet stands a small `Body`, except where the body itself is what is recorded.
"""

import argparse
import importlib
import json
import sys
import types
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torchvision.models import resnet18

from tests.parity.record import OUT, commit, keep
from tests.parity.record_queues import alone
from tests.parity.setting import Body, BodySetting, numbers, weight
from tests.parity.weights import fingerprints

S = BodySetting()
REPOSITORY = "vturrisi/solo-learn"
CLASSES = 5
LARS = {"momentum": 0.9, "eta": S.clipped_trust, "clip_lr": True, "exclude_bias_n_norm": True}
RUNS: dict[str, dict[str, Any]] = {
    "byol": {"class": "BYOL", "loss": "train_neg_cos_sim", "optimizer": "lars"},
    "mocov2plus": {"class": "MoCoV2Plus", "loss": "train_nce_loss", "optimizer": "sgd"},
    "simclr": {"class": "SimCLR", "loss": "train_nce_loss", "optimizer": "lars"},
    "nnclr": {"class": "NNCLR", "loss": "train_nnclr_loss", "optimizer": "lars"},
}
"""Per module of solo.methods: its class, what it logs its own loss as, and the optimiser of its CIFAR settings."""


class Settings(dict[str, Any]):
    """Nested settings by attribute or by dotted path: what is used of OmegaConf."""

    def __getattr__(self, name: str) -> Any:
        return self[name]

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = Settings(value) if type(value) is dict else value

    @staticmethod
    def select(settings: "Settings", path: str, default: Any = None) -> Any:
        """The value at a dotted path, or the default."""
        for name in path.split("."):
            if name not in settings:
                return default
            settings = settings[name]
        return settings

    @staticmethod
    def is_missing(settings: "Settings", path: str) -> bool:
        """Whether there is nothing at a dotted path."""
        return Settings.select(settings, path) is None


class Logged(nn.Module):
    """In place of Lightning's module: it keeps what is logged."""

    logged: dict[str, Any]
    trainer: Any

    def log(self, name: str, value: Any, **_: Any) -> None:
        """Keep one value."""
        self.__dict__.setdefault("logged", {})[name] = value

    def log_dict(self, values: dict[str, Any], **_: Any) -> None:
        """Keep several."""
        self.__dict__.setdefault("logged", {}).update(values)


def stand_ins(root: Path) -> None:
    """Modules in place of Lightning and OmegaConf, of the package's `__init__` files, its bodies and its kNN."""
    bodies = "convnext_base convnext_large convnext_small convnext_tiny poolformer_m36 poolformer_m48 poolformer_s12 "
    bodies += "poolformer_s24 poolformer_s36 resnet50 swin_base swin_large swin_small swin_tiny vit_base vit_large "
    bodies += "vit_small vit_tiny wide_resnet28w2 wide_resnet28w8"
    pytorch: dict[str, Any] = {"LightningModule": Logged}
    contents: dict[str, dict[str, Any]] = {
        "lightning": {},
        "lightning.pytorch": pytorch,
        "omegaconf": {"DictConfig": Settings, "OmegaConf": Settings},
        "solo": {},
        "solo.backbones": {**dict.fromkeys(bodies.split()), "resnet18": lambda method: Body(S.width)},
        "solo.losses": {},
        "solo.methods": {},
        "solo.utils": {},
        "solo.utils.knn": {"WeightedKNNClassifier": None},
    }
    for name, inside in contents.items():
        module = types.ModuleType(name)
        module.__path__ = [str(root.joinpath(*name.split(".")))] if name.startswith("solo") else []
        vars(module).update(inside)
        sys.modules[name] = module
    vars(sys.modules["lightning"])["pytorch"] = sys.modules["lightning.pytorch"]


def settings(method: str, optimizer: str, dataset: str) -> Settings:
    """Theirs, as their configuration files would make them."""
    chosen: dict[str, Any] = {
        "lars": {"lr": S.lars_lr, "kwargs": LARS},
        "sgd": {"lr": S.lr, "kwargs": {"momentum": 0.9}},
    }
    heads = {"proj_hidden_dim": S.hidden, "proj_output_dim": S.out, "pred_hidden_dim": S.predictor}
    common = {"batch_size": S.images, "weight_decay": S.weight_decay, "classifier_lr": 0.1, "name": optimizer}
    given: dict[str, Any] = {
        "method": method,
        "backbone": {"name": "resnet18", "kwargs": {}},
        "data": {"dataset": dataset, "num_classes": CLASSES, "num_large_crops": 2, "num_small_crops": 0},
        "max_epochs": S.steps,
        "optimizer": common | chosen[optimizer],
        "scheduler": {"name": "warmup_cosine", "warmup_epochs": S.warmup},
        "method_kwargs": heads | {"temperature": S.temperature, "queue_size": S.queue},
        "momentum": {"base_tau": S.momentum, "final_tau": 1.0},
    }
    return nested(given)


def nested(given: dict[str, Any]) -> Settings:
    return Settings({name: nested(value) if isinstance(value, dict) else value for name, value in given.items()})


@torch.no_grad()
def made(method: str, run: dict[str, Any], dataset: str = "none of theirs") -> Any:
    """Their method, the weights those of their names, the teacher's those of the student; the queues too."""
    kind = getattr(importlib.import_module(f"solo.methods.{method}"), run["class"])
    model = kind(settings(method, run["optimizer"], dataset)).double()
    for name, p in model.named_parameters():
        p.copy_(weight(name.removeprefix("momentum_"), p))
    if hasattr(model, "queue"):  # NNCLR's are rows, MoCo-v2+'s are columns, one queue per view
        drawn = numbers("queue", tuple(model.queue.shape))
        model.queue.copy_(nn.functional.normalize(drawn, dim=1))
    return model


def five_steps(method: str, run: dict[str, Any]) -> dict[str, Any]:
    """Losses, rates and momenta of five steps, one an epoch, as Lightning would make them; weights and queue after."""
    model = made(method, run)
    model.trainer = types.SimpleNamespace(estimated_stepping_batches=S.steps, global_step=0)
    (optimizer,), (schedule,) = model.configure_optimizers()
    taught = hasattr(model, "momentum_updater")
    if taught:
        model.on_train_start()
    found: dict[str, Any] = {"losses": [], "lr": [], "momentum": []}
    for step in range(S.steps):
        batch = [torch.arange(S.images), list(S.views(step)), torch.arange(S.images) % CLASSES]
        found["lr"].append(optimizer.param_groups[0]["lr"])
        loss = model.training_step(batch, step)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        model.trainer.global_step += 1
        schedule["scheduler"].step()
        if taught:
            found["momentum"].append(model.momentum_updater.cur_tau)
            model.on_train_batch_end(None, batch, step)
        found["losses"].append(model.logged[run["loss"]].item())
    found["student"] = fingerprints(model, "backbone", "projector", "predictor")
    found["teacher"] = fingerprints(model, "momentum_backbone", "momentum_projector")
    if hasattr(model, "queue"):
        found["queue"] = model.queue.flatten().tolist()
    return found


@torch.no_grad()
def cifar_body() -> list[float]:
    """What their ResNet-18 for CIFAR says of four images after its first stage: the convolution before it is their own.

    Of the 64 channels the means over places and images.
    """
    importlib.import_module("solo.methods.base").BaseMethod._BACKBONES["resnet18"] = lambda method: resnet18()
    body = made("simclr", RUNS["simclr"], "cifar100").backbone
    body.layer2 = body.layer3 = body.layer4 = nn.Identity()
    return body(numbers("images", (4, 3, 16, 16))).mean(0).tolist()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path)
    parser.add_argument("--commit")
    given = parser.parse_args()
    recorded: dict[str, Any] = json.loads(OUT.read_text())
    before = recorded.get(REPOSITORY, {})  # record.py and record_queues.py have the losses by themselves
    with alone():
        stand_ins(given.path)
        steps = {method: five_steps(method, run) for method, run in RUNS.items()}
        found = {"commit": given.commit or commit(given.path), "steps": steps, "cifar body": cifar_body()}
    recorded[REPOSITORY] = {**before, **found}
    keep(recorded)


if __name__ == "__main__":
    main()
