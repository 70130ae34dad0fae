"""As `record.py`, for DenseCL: what the authors' code says, into tests/golden/parity.json.

    python -m tests.parity.record_dense PATH [--commit COMMIT]

PATH is a checkout of WXinlong/DenseCL. Its model, neck, head and ResNet run as they are. What they import of mmcv has
stand-ins, so that it need not be installed: initialisers, whose values are replaced at once, and the loading of files,
which is not used. Of the package's own initialisation, which imports data and training, only the names are there.
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

from tests.parity.record import OUT, commit, keep
from tests.parity.record_queues import alone, fill
from tests.parity.setting import DenseSetting
from tests.parity.weights import fingerprints


def stand_ins(root: Path) -> None:
    """Modules in place of mmcv, and of the package's own `__init__` files."""

    def nothing(*_: Any, **__: Any) -> None:
        return None

    contents: dict[str, dict[str, Any]] = {
        "mmcv": {"is_str": lambda x: isinstance(x, str)},
        "mmcv.cnn": dict.fromkeys(("kaiming_init", "normal_init", "constant_init", "xavier_init"), nothing),
        "mmcv.runner": {"load_checkpoint": nothing, "get_dist_info": nothing},
        "openselfsup": {},
        "openselfsup.utils": {"print_log": nothing, "get_root_logger": nothing},
        "openselfsup.models": {},
        "openselfsup.models.utils": {"build_conv_layer": lambda _, *args, **kwargs: nn.Conv2d(*args, **kwargs)},
        "openselfsup.models.heads": {},
        "openselfsup.models.backbones": {},
    }
    for name, inside in contents.items():
        module = types.ModuleType(name)
        if name.startswith("openselfsup"):
            module.__path__ = [str(root.joinpath(*name.split(".")))]
        vars(module).update(inside)
        sys.modules[name] = module
    utils, registry = sys.modules["openselfsup.utils"], importlib.import_module("openselfsup.utils.registry")
    utils.Registry, utils.build_from_cfg = registry.Registry, registry.build_from_cfg  # type: ignore[attr-defined]
    norm = importlib.import_module("openselfsup.models.utils.norm")
    sys.modules["openselfsup.models.utils"].build_norm_layer = norm.build_norm_layer  # type: ignore[attr-defined]
    for part in ("backbones.resnet", "necks", "heads.contrastive_head"):
        importlib.import_module(f"openselfsup.models.{part}")


def densecl() -> dict[str, Any]:
    """Losses of five steps of SGD, then weights and queues; the teacher moves inside forward, and so once more."""
    s = DenseSetting()
    model = importlib.import_module("openselfsup.models.densecl").DenseCL(
        backbone={"type": "ResNet", "depth": 18, "out_indices": [4], "norm_cfg": {"type": "BN"}},
        neck={"type": "DenseCLNeck", "in_channels": 512, "hid_channels": s.hidden, "out_channels": s.out},
        head={"type": "ContrastiveHead", "temperature": s.temperature},
        queue_len=s.queue,
        feat_dim=s.out,
        momentum=s.momentum,
        loss_lambda=s.dense_weight,
    )
    model = model.double()
    fill(model, "encoder_k", "encoder_q")
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trained, s.lr, momentum=0.9, weight_decay=s.weight_decay)
    found: dict[str, Any] = {"losses": [], "dense": []}
    for step in range(s.steps):
        losses = model(torch.stack(s.views(step), dim=1))
        loss = losses["loss_contra_single"] + losses["loss_contra_dense"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found["losses"].append(loss.item())
        found["dense"].append(losses["loss_contra_dense"].item())
    model._momentum_update_key_encoder()
    found |= {"student": fingerprints(model, "encoder_q"), "teacher": fingerprints(model, "encoder_k")}
    return found | {name: getattr(model, name).T.flatten().tolist() for name in ("queue", "queue2")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path)
    parser.add_argument("--commit")
    given = parser.parse_args()
    recorded: dict[str, Any] = json.loads(OUT.read_text())
    with alone():
        stand_ins(given.path)
        recorded["WXinlong/DenseCL"] = {"commit": given.commit or commit(given.path), **densecl()}
    keep(recorded)


if __name__ == "__main__":
    main()
