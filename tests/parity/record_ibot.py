"""As `record.py`, for iBOT: what the authors' code says, into tests/golden/parity.json.

    python -m tests.parity.record_ibot PATH

PATH is a checkout of github.com/bytedance/ibot.
"""

import argparse
import importlib
import json
import random
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tests.parity.masks import statistics
from tests.parity.record import OUT, between, commit, keep, load
from tests.parity.record_queues import alone
from tests.parity.setting import IbotSetting, numbers, weight
from tests.parity.weights import fingerprints

REPOSITORY = "bytedance/ibot"


def loss_class(root: Path) -> Any:
    """The loss of main_ibot.py, which cannot be imported whole without the packages of its logs."""
    imports = "import numpy as np, torch, torch.nn as nn, torch.nn.functional as F, torch.distributed as dist\n"
    return between(root / "main_ibot.py", "class iBOTLoss", "class DataAugmentationiBOT", imports).iBOTLoss


def network(root: Path, student: bool, shared: bool) -> nn.Module:
    """Their transformer and head in their wrapper for several crops, weights as functions of names."""
    s = IbotSetting()
    utils = importlib.import_module("utils")
    transformer = load(root / "models" / "vision_transformer.py", "ibot_transformer").VisionTransformer
    head = load(root / "models" / "head.py", "ibot_head").iBOTHead
    body = transformer(
        img_size=[s.image],
        patch_size=s.patch,
        embed_dim=s.width,
        depth=s.depth,
        num_heads=s.heads,
        qkv_bias=True,
        return_all_tokens=True,
        masked_im_modeling=student,
    )
    top = head(
        s.width,
        s.prototypes,
        patch_out_dim=s.patch_prototypes,
        hidden_dim=s.hidden,
        bottleneck_dim=s.out,
        norm_last_layer=False,
        shared_head=shared,
    )
    made: nn.Module = utils.MultiCropWrapper(body, top).double()
    with torch.no_grad():
        for name, p in made.named_parameters():
            p.copy_(weight(name, p))
    return made


def five_steps(root: Path, shared: bool) -> dict[str, Any]:
    """iBOT's own step, written out of the parts of main_ibot.py."""
    s = IbotSetting()
    utils = importlib.import_module("utils")
    student, teacher = network(root, True, shared), network(root, False, shared)
    (start, final, epochs), patch = s.temperatures, s.patch_temperatures
    loss_of = loss_class(root)(
        *(s.prototypes, s.prototypes if shared else s.patch_prototypes, 2, s.local),
        *(start, final, *patch, epochs, s.steps),
        center_momentum=s.centres[0],
        center_momentum2=s.centres[1],
        lambda1=s.weights[0],
        lambda2=s.weights[1],
    ).double()
    optimizer = torch.optim.AdamW(utils.get_params_groups(student))
    decay = list(utils.cosine_scheduler(*s.decay, s.steps, 1))
    momentum = list(utils.cosine_scheduler(s.momentum, 1, s.steps, 1))
    moved = dict(student.named_parameters())
    found: dict[str, Any] = {"decay": decay, "momentum": momentum}
    found |= {"losses": [], "class": [], "hidden": [], "centres": [], "patch_centres": []}
    for step in range(s.steps):
        for number, group in enumerate(optimizer.param_groups):
            group["lr"] = s.lr
            if number == 0:
                group["weight_decay"] = decay[step]
        crops, masks = list(s.views(step)), list(s.masks(step))
        with torch.no_grad():
            taught = teacher(crops[:2])
        said = student(crops[:2], mask=masks)
        student.backbone.masked_im_modeling = False
        local = student(crops[2:])[0]
        student.backbone.masked_im_modeling = True
        parts = loss_of(said, taught, local, masks, step)
        optimizer.zero_grad()
        parts["loss"].backward()
        utils.clip_gradients(student, s.clip)
        utils.cancel_gradients_last_layer(step, student, s.frozen)
        optimizer.step()
        with torch.no_grad():
            for name, k in teacher.named_parameters():
                k.mul_(momentum[step]).add_((1 - momentum[step]) * moved[name])
        for name, value in zip(
            ("losses", "class", "hidden"), (parts[x] for x in ("loss", "cls", "patch")), strict=True
        ):
            found[name].append(value.item())
        found["centres"].append(loss_of.center.flatten().tolist())
        found["patch_centres"].append(loss_of.center2.flatten().tolist())
    for name, made in (("student", student), ("teacher", teacher)):
        found[name] = fingerprints(made)
    return found


def tokens(root: Path) -> list[float]:
    """The transformer on a masked view, row by row the mean over the width."""
    s = IbotSetting()
    body = network(root, True, True).backbone
    with torch.no_grad():
        out: Tensor = body(numbers("view", (2, 3, s.image, s.image)), mask=s.masks(0)[0][:2])
    return (out * numbers("reading", (s.width,))).mean(-1).flatten().tolist()


def masks(root: Path, draws: int = 20_000) -> dict[str, Any]:
    """Statistics of their masks of 14 x 14 patches at the recipe's settings."""
    kind = load(root / "loader.py", "ibot_loader").ImageFolderMask
    data = kind.__new__(kind)
    data.samples, data.transform, data.target_transform = [("", 0)], None, None
    data.loader = lambda _: [torch.zeros(3, 224, 224)] * draws
    data.psz, data.pred_ratio, data.pred_ratio_var = 16, [0.0, 0.3], [0.0, 0.2]
    data.log_aspect_ratio, data.pred_shape, data.pred_start_epoch = (np.log(0.3), np.log(1 / 0.3)), "block", 0
    random.seed(0)
    return statistics(np.array(data[0][-1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path)
    parser.add_argument("--commit")
    given = parser.parse_args()
    root = given.path
    recorded: dict[str, Any] = json.loads(OUT.read_text())
    sys.path.insert(0, str(root))  # its modules import each other by bare names
    with alone():
        recorded[REPOSITORY] = {
            "commit": given.commit or commit(root),
            "shared": five_steps(root, shared=True),
            "apart": five_steps(root, shared=False),
            "tokens": tokens(root),
            "masks": masks(root),
        }
    keep(recorded)


if __name__ == "__main__":
    main()
