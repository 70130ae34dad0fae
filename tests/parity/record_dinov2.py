"""As `record.py`, for DINOv2: what the authors' code says, into tests/golden/parity.json.

    python -m tests.parity.record_dinov2 PATH

PATH is a checkout of github.com/facebookresearch/dinov2. Their transformer runs without xformers, one tensor at a time.
"""

import argparse
import importlib
import json
import os
import random
import types
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tests.parity.masks import GRID, statistics
from tests.parity.record import OUT, between, commit, importable, keep, load
from tests.parity.record_queues import alone
from tests.parity.setting import Dinov2Setting, weight
from tests.parity.weights import fingerprints

REPOSITORY = "facebookresearch/dinov2"
S = Dinov2Setting()


class Options(dict[str, Any]):
    """Their configuration: asked by attribute and by name."""

    __getattr__ = dict.__getitem__


@contextmanager
def in_double() -> Iterator[None]:
    """All in float64: they turn logits and the masks' weights into float32."""
    before = torch.Tensor.float
    torch.set_default_dtype(torch.float64)
    torch.Tensor.float = torch.Tensor.double
    try:
        yield
    finally:
        torch.Tensor.float = before
        torch.set_default_dtype(torch.float32)


def training(root: Path) -> types.ModuleType:
    """The two functions of train/train.py that set rates, which cannot be imported whole without its packages."""
    imports = "import logging\nfrom dinov2.utils.utils import CosineScheduler\nlogger = logging.getLogger('dinov2')\n"
    return between(root / "dinov2" / "train" / "train.py", "def build_schedulers", "def do_test", imports)


def schedules(root: Path) -> dict[str, list[float]]:
    """Rate, decay, momentum, temperature and the prototypes' rate of every step, one step an epoch."""
    (first, last, epochs) = S.temperatures
    made = training(root).build_schedulers(
        Options(
            train=Options(OFFICIAL_EPOCH_LENGTH=1),
            optim=Options(
                lr=S.lr,
                min_lr=S.final_lr,
                epochs=S.steps,
                warmup_epochs=S.warmup,
                weight_decay=S.decay[0],
                weight_decay_end=S.decay[1],
                freeze_last_layer_epochs=S.frozen,
            ),
            teacher=Options(
                momentum_teacher=S.momentum,
                final_momentum_teacher=1.0,
                teacher_temp=last,
                warmup_teacher_temp=first,
                warmup_teacher_temp_epochs=epochs,
            ),
        )
    )
    names = ("lr", "decay", "momentum", "temperature", "prototypes_lr")
    return {name: [float(made[i][step]) for step in range(S.steps)] for i, name in enumerate(names)}


def network(shared: bool) -> nn.ModuleDict:
    """Their transformer and heads, weights as functions of names."""
    vit, layers = importlib.import_module("dinov2.models.vision_transformer"), importlib.import_module("dinov2.layers")
    body = vit.DinoVisionTransformer(
        img_size=S.image,
        patch_size=S.patch,
        embed_dim=S.width,
        depth=S.depth,
        num_heads=S.heads,
        init_values=S.layer_scale,
        block_fn=partial(layers.NestedTensorBlock, attn_class=layers.MemEffAttention),
        block_chunks=0,
    )
    head = partial(layers.DINOHead, in_dim=S.width, hidden_dim=S.hidden, bottleneck_dim=S.out, nlayers=3)
    made = nn.ModuleDict({"backbone": body, "dino_head": head(out_dim=S.prototypes)})
    if not shared:
        made["ibot_head"] = head(out_dim=S.patch_prototypes)
    with torch.no_grad():
        for name, p in made.named_parameters():
            p.copy_(weight(name, p))
    return made


def collated(root: Path, step: int) -> dict[str, Any]:
    """The batch of a step as their function for it puts it together, of our views and masks."""
    collate = load(root / "dinov2" / "data" / "collate.py", "dinov2_collate")
    collate.random = types.SimpleNamespace(uniform=random.uniform, shuffle=lambda masks: None)
    views = S.views(step)
    samples = [
        ({"global_crops": [v[i] for v in views[:2]], "local_crops": [v[i] for v in views[2:]]}, ())
        for i in range(S.images)
    ]
    ours = iter(torch.cat(S.masks(step)).numpy())
    side = S.image // S.patch
    whole: dict[str, Any] = collate.collate_data_and_cast(
        samples, (0.0, 1.0), 1.0, torch.float64, n_tokens=side**2, mask_generator=lambda _: next(ours)
    )
    return whole


def losses(
    networks: tuple[nn.ModuleDict, nn.ModuleDict], parts: Options, given: Options, temperature: float
) -> Options:
    """The weighted terms, as SSLMetaArch.forward_backward puts them together of its parts."""
    student, teacher = networks
    places, hidden = given.mask_indices_list, given.collated_masks
    head = "ibot_head" if "ibot_head" in student else "dino_head"
    with torch.no_grad():
        seen = teacher.backbone(given.collated_global_crops, is_training=True)
        first, second = seen["x_norm_clstoken"].chunk(2)
        classes = teacher.dino_head(torch.cat([second, first]))  # the one view's targets for the other
        patches = teacher[head](seen["x_norm_patchtokens"].flatten(0, 1)[places])
        if parts.centering == "centering":
            targets = parts.dino.softmax_center_teacher(classes, temperature)
            parts.dino.update_center(classes)
            of_patches = parts.ibot.softmax_center_teacher(patches[None], temperature)[0]
            parts.ibot.update_center(patches[None])
        else:
            number = given.n_masked_patches.clone()
            targets = parts.dino.sinkhorn_knopp_teacher(classes, temperature)
            of_patches = parts.ibot.sinkhorn_knopp_teacher(patches, temperature, n_masked_patches_tensor=number)
    both = student.backbone(given.collated_global_crops, masks=hidden, is_training=True)
    local = student.backbone(given.collated_local_crops, is_training=True)["x_norm_clstoken"]
    number = 2 * S.local + 2
    by_local = parts.dino(student.dino_head(local).chunk(S.local), targets.view(2, S.images, -1))
    across = parts.dino([student.dino_head(both["x_norm_clstoken"])], [targets])
    guesses = student[head](both["x_norm_patchtokens"].flatten(0, 1)[places])
    masked = parts.ibot.forward_masked(
        guesses,
        of_patches,
        student_masks_flat=hidden,
        n_masked_patches=len(places),
        masks_weight=given.masks_weight,
    )
    spread = sum(parts.koleo(view) for view in both["x_norm_clstoken"].chunk(2))
    return Options(
        {
            "local": S.weights[0] * by_local / number,
            "global": S.weights[0] * across * 2 / number,
            "hidden": S.weights[1] * masked,
            "koleo": S.koleo * spread,
        }
    )


def five_steps(root: Path, centering: str, shared: bool, counted: bool = False) -> dict[str, Any]:
    """DINOv2's own step, written out of the parts of train.py and ssl_meta_arch.py.

    Frozen prototypes have a rate of 0 there, while their gradients move Adam's moments and count for the norm. Here the
    gradients are taken away, as DINO's own code does; with `counted` they stay, and nothing is clipped.
    """
    loss, groups = importlib.import_module("dinov2.loss"), importlib.import_module("dinov2.utils.param_groups")
    set_rates, plan = training(root).apply_optim_scheduler, schedules(root)
    student, teacher = network(shared), network(shared)
    patch_prototypes = S.prototypes if shared else S.patch_prototypes
    made = {"dino": loss.DINOLoss(S.prototypes), "ibot": loss.iBOTPatchLoss(patch_prototypes)}
    parts = Options(centering=centering, koleo=loss.KoLeoLoss(), **made)
    rates = {"lr_decay_rate": S.layer_decay, "patch_embed_lr_mult": S.patch_rate}
    every = [groups.fuse_params_groups(groups.get_params_groups_with_decay(m, **rates)) for m in student.values()]
    optimizer = torch.optim.AdamW([group for some in every for group in some])
    found: dict[str, Any] = {"losses": [], "norms": [], "centres": [], "patch_centres": []}
    found |= {name: [] for name in ("local", "global", "hidden", "koleo")}
    for step in range(S.steps):
        set_rates(optimizer, plan["lr"][step], plan["decay"][step], plan["prototypes_lr"][step])
        optimizer.zero_grad()
        terms = losses((student, teacher), parts, Options(collated(root, step)), plan["temperature"][step])
        total: Tensor = sum(terms.values())
        total.backward()
        if not counted:
            for name, p in student.named_parameters():
                if "last_layer" in name and step < S.frozen:
                    p.grad = None
            norms = [nn.utils.clip_grad_norm_(m.parameters(), S.clip).item() for m in student.values()]
            found["norms"].append(norms)
        optimizer.step()
        with torch.no_grad():
            for ours, theirs in zip(student.parameters(), teacher.parameters(), strict=True):
                theirs.mul_(plan["momentum"][step]).add_(ours, alpha=1 - plan["momentum"][step])
        found["losses"].append(total.item())
        for name, value in terms.items():
            found[name].append(value.item())
        for name, part in (("centres", parts.dino), ("patch_centres", parts.ibot)):
            part.apply_center_update()  # as they do when the next step begins
            found[name].append(part.center.flatten().tolist())
    if counted:
        return {"losses": found["losses"]}
    return found | {"student": fingerprints(student), "teacher": fingerprints(teacher)}


def masks(root: Path, images: int = 10_000) -> dict[str, Any]:
    """Statistics of the masks of two views of many images at the recipe's settings."""
    kind = load(root / "dinov2" / "data" / "masking.py", "dinov2_masking").MaskingGenerator
    collate = load(root / "dinov2" / "data" / "collate.py", "dinov2_collate").collate_data_and_cast
    made = kind(GRID, max_num_patches=0.5 * GRID[0] * GRID[1])
    crop = torch.zeros(1)
    samples = [({"global_crops": [crop, crop], "local_crops": [crop]}, ())] * images
    random.seed(0)
    drawn = collate(samples, (0.1, 0.5), 0.5, torch.half, GRID[0] * GRID[1], made)["collated_masks"]
    return statistics(np.asarray(drawn).reshape(-1, *GRID))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path)
    parser.add_argument("--commit")
    given = parser.parse_args()
    root = given.path
    os.environ["XFORMERS_DISABLED"] = "1"
    recorded: dict[str, Any] = json.loads(OUT.read_text())
    with importable(root), alone():
        drawn = masks(root)
        with in_double():
            recorded[REPOSITORY] = {
                "commit": given.commit or commit(root),
                "schedules": schedules(root),
                "shared sinkhorn": five_steps(root, "sinkhorn_knopp", shared=True),
                "shared mean": five_steps(root, "centering", shared=True),
                "apart mean": five_steps(root, "centering", shared=False),
                "apart sinkhorn": five_steps(root, "sinkhorn_knopp", shared=False),
                "counted": five_steps(root, "centering", shared=True, counted=True),
                "masks": drawn,
            }
    keep(recorded)


if __name__ == "__main__":
    main()
