"""Run the authors' published code and write down what it says: the numbers that `test_parity.py` holds ours against.

    python -m tests.parity.record --mocov3 PATH --sololearn PATH --dino PATH

PATHs are checkouts of github.com/facebookresearch/moco-v3, vturrisi/solo-learn and facebookresearch/dino; the numbers
of those not given stay as they are. Their code is not part of this project; only the numbers it prints are kept, in
tests/golden/parity.json, with the commits they came from.
"""

import argparse
import contextlib
import importlib.util
import json
import re
import subprocess
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torchvision.models import resnet18

from tests.parity.setting import Convolution, DinoSetting, Setting, ViTSetting, numbers, views, weight
from tests.parity.weights import fingerprints

Sources = Mapping[str, tuple[str, Callable[[Path], dict[str, Any]]]]
"""By the name of an option: the repository, and what is recorded of a checkout of it."""
OUT = Path(__file__).parent.parent / "golden" / "parity.json"


def load(path: Path, name: str) -> ModuleType:
    """A module from a file, without its package."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def between(path: Path, start: str, end: str, imports: str) -> ModuleType:
    """A module of the lines of a file from `start` to before `end`, where the whole cannot be imported; `imports` are
    what these need."""
    text = path.read_text()
    module = types.ModuleType(path.stem)
    exec(imports + text[text.index(start) : text.index(end)], module.__dict__)
    return module


def stand_in(name: str, inside: dict[str, Any], root: Path | None = None) -> None:
    """A module in the place of one that need not be installed, or of a package's `__init__` in the checkout `root`."""
    module = types.ModuleType(name)
    module.__path__ = [] if root is None else [str(root.joinpath(*name.split(".")))]
    vars(module).update(inside)
    sys.modules[name] = module
    parent, _, child = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], child, module)


def keep(recorded: dict[str, Any]) -> None:
    """Write everything that was recorded, lists of numbers on one line each."""
    text = json.dumps(recorded, indent=1)
    OUT.write_text(re.sub(r"\[[^][{}]*\]", lambda found: " ".join(found[0].split()), text) + "\n")
    print(f"written: {OUT}")


def commit(path: Path) -> str:
    with contextlib.suppress(subprocess.CalledProcessError):
        return subprocess.run(
            ["git", "-C", str(path), "rev-parse", "HEAD"], capture_output=True, text=True, check=True
        ).stdout.strip()
    return "unknown"


@contextlib.contextmanager
def importable(root: Path) -> Iterator[None]:
    """Their modules import each other by bare names."""
    sys.path.insert(0, str(root))
    try:
        yield
    finally:
        sys.path.remove(str(root))


def record_from(sources: Sources, about: str | None) -> None:
    """Take a checkout of each source as an option, run those given, and write down what they say.

    What is not given stays as it was recorded, and so does what another of these modules recorded of the same source.
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in sources:
        parser.add_argument(f"--{name}", type=Path)
        parser.add_argument(f"--{name}-commit")
    given = vars(parser.parse_args())
    recorded: dict[str, Any] = json.loads(OUT.read_text())
    for name, (repository, record) in sources.items():
        if (root := given[name]) is not None:
            head = given[f"{name}_commit"] or commit(root)
            with importable(root):
                recorded[repository] = {**recorded.get(repository, {}), "commit": head, **record(root)}
    keep(recorded)


def schedules(root: Path) -> ModuleType:
    """The two schedule functions of main_moco.py, which cannot be imported whole without a GPU stack of its time."""
    return between(root / "main_moco.py", "def adjust_learning_rate", "if __name__", "import math\n")


def mocov3(root: Path) -> dict[str, Any]:
    torch.Tensor.cuda = lambda self, *_, **__: self  # the labels are sent to a GPU without asking
    builder = load(root / "moco" / "builder.py", "mocov3_builder")
    optimizer_module = load(root / "moco" / "optimizer.py", "mocov3_optimizer")
    schedule = schedules(root)
    s = Setting()
    model = builder.MoCo_ResNet(partial(resnet18, zero_init_residual=True), s.out, s.hidden, s.temperature).double()
    with torch.no_grad():
        for name, p in model.named_parameters():
            canonical = name.replace("momentum_encoder", "base_encoder")
            p.copy_(weight(canonical, p))
    arguments = types.SimpleNamespace(lr=s.lr, epochs=s.epochs, warmup_epochs=s.warmup, moco_m=s.momentum)
    optimizer = optimizer_module.LARS(model.parameters(), s.lr, weight_decay=s.weight_decay, momentum=0.9)
    found: dict[str, Any] = {"losses": [], "lr": [], "momentum": []}
    for step in range(s.steps):
        # One step an epoch, so that the whole schedule passes in five steps.
        found["lr"].append(schedule.adjust_learning_rate(optimizer, step, arguments))
        m = schedule.adjust_moco_momentum(step, arguments)
        found["momentum"].append(m)
        loss = model(*views(step, s), m)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found["losses"].append(loss.item())
    last = schedule.adjust_moco_momentum(s.steps, arguments)
    found["momentum"].append(last)
    model._update_momentum_encoder(last)  # the move that ours has already made
    found["student"] = fingerprints(model, "base_encoder", "predictor")
    found["teacher"] = fingerprints(model, "momentum_encoder")
    q, k = numbers("query", (6, 10)), numbers("key", (6, 10))
    found["contrastive"] = {}
    for temperature in (0.2, 1.0):
        model.T = temperature
        found["contrastive"][str(temperature)] = model.contrastive_loss(q, k).item()
    heads = {}
    for kind in ("MoCo_ResNet", "MoCo_ViT"):
        built = getattr(builder, kind)(lambda num_classes: Headed(24), s.out, s.hidden, 1.0).double()
        projector = built.base_encoder.fc if kind == "MoCo_ResNet" else built.base_encoder.head
        heads[kind] = {}
        for part, module in (("projector", projector), ("predictor", built.predictor)):
            with torch.no_grad():
                for name, p in module.named_parameters():
                    p.copy_(weight(f"{part}.{name}", p))
            x = numbers(f"input of {part}", (6, 24 if part == "projector" else s.out))
            heads[kind][part] = module(x).flatten().tolist()
    found["heads"] = heads
    return {**found, "vit": mocov3_vit(root, builder)}


def mocov3_vit(root: Path, builder: ModuleType) -> dict[str, Any]:
    """Five steps of their transformer of `ViTSetting`, on today's timm, whose forward is that of theirs."""
    from timm.layers import PatchEmbed, to_2tuple
    from timm.models.vision_transformer import VisionTransformer

    # The places and the count of tokens that timm had in their time.
    stand_in("timm.models.layers", {"PatchEmbed": PatchEmbed})
    stand_in("timm.models.layers.helpers", {"to_2tuple": to_2tuple})
    VisionTransformer.num_tokens = 1
    kind = load(root / "vits.py", "mocov3_vits").VisionTransformerMoCo
    s = ViTSetting()
    body = partial(
        kind, stop_grad_conv1=True, img_size=s.image, patch_size=s.patch, embed_dim=s.width, depth=s.depth,
        num_heads=s.heads, mlp_ratio=4, qkv_bias=True, norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
    )  # fmt: skip
    model = builder.MoCo_ViT(body, s.out, s.hidden, s.temperature).double()
    positions = model.base_encoder.pos_embed.flatten().tolist()  # of float32; the steps have others, exact to the end
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.copy_(weight(name.replace("momentum_encoder", "base_encoder"), p))
    optimizer = torch.optim.AdamW(model.parameters(), s.lr, weight_decay=s.weight_decay)
    found: dict[str, Any] = {"positions": positions, "losses": []}
    for step in range(s.steps):
        loss = model(*s.views(step), s.momentum)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found["losses"].append(loss.item())
    model._update_momentum_encoder(s.momentum)  # the move that ours has already made
    encoder = model.base_encoder
    found["fixed"] = sorted(name for name, p in encoder.named_parameters() if not p.requires_grad)
    found["student"] = fingerprints(model, "base_encoder", "predictor")
    found["teacher"] = fingerprints(model, "momentum_encoder")
    return found


class Headed(torch.nn.Module):
    """A stand-in encoder with the attributes by which the authors' builder finds the head to replace."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc = torch.nn.Linear(width, 1)
        self.head = torch.nn.Linear(width, 1)


def sololearn(root: Path) -> dict[str, Any]:
    lars = load(root / "solo" / "utils" / "lars.py", "solo_lars")
    byol = load(root / "solo" / "losses" / "byol.py", "solo_byol")
    path = lars_path(lars.LARS, eta=0.02, clip_lr=True, exclude_bias_n_norm=True)
    p, z = numbers("p", (6, 10)), numbers("z", (6, 10))
    return {"lars": path, "byol": byol.byol_loss_func(p, z).item(), **without_a_teacher(root / "solo" / "losses", p, z)}


def lars_path(kind: Any, **options: Any) -> list[list[list[float]]]:
    """A matrix and a vector after each of five steps of an optimiser, gradients being functions of names."""
    w, b = numbers("w", (5, 4)).requires_grad_(), numbers("b", (5,)).requires_grad_()
    optimizer = kind([w, b], lr=0.3, momentum=0.9, weight_decay=1e-2, **options)
    path = []
    for step, lr in enumerate((0.003, 0.3, 0.2, 0.1, 0.05)):
        w.grad, b.grad = numbers(f"gradient w {step}", (5, 4)), numbers(f"gradient b {step}", (5,))
        optimizer.param_groups[0]["lr"] = lr
        optimizer.step()
        path.append([w.flatten().tolist(), b.tolist()])
    return path


def without_a_teacher(root: Path, a: torch.Tensor, b: torch.Tensor) -> dict[str, float]:
    """The losses of the methods without a teacher, on two views' outputs, in one process."""
    stand_in("solo", {})
    stand_in("solo.utils", {})
    stand_in("solo.utils.misc", {"gather": lambda x: x, "get_rank": lambda: 0})  # theirs needs packages of its time
    torch.set_default_dtype(torch.float64)  # Barlow Twins' loss makes a BatchNorm inside
    made = {
        name: load(root / f"{name}.py", f"solo_{name}") for name in ("simsiam", "simclr", "nnclr", "barlow", "vicreg")
    }
    index = torch.arange(len(a)).repeat(2)
    found = {
        "simsiam": made["simsiam"].simsiam_loss_func(a, b),
        "simclr": made["simclr"].simclr_loss_func(torch.cat([a, b]), index, 0.2),
        "nnclr": made["nnclr"].nnclr_loss_func(a, b, 0.2),
        "barlow": made["barlow"].barlow_loss_func(a, b, lamb=0.0051, scale_loss=0.1),
        "vicreg invariance": made["vicreg"].invariance_loss(a, b),
        "vicreg variance": made["vicreg"].variance_loss(a, b),
        "vicreg covariance": made["vicreg"].covariance_loss(a, b),
        "vicreg": made["vicreg"].vicreg_loss_func(a, b),
    }
    torch.set_default_dtype(torch.float32)
    return {name: value.item() for name, value in found.items()}


def dino(root: Path) -> dict[str, Any]:
    """DINO's own step, written out of the parts of main_dino.py: crops, head, loss, clip, freezing, decay, teacher."""
    main_dino = load(root / "main_dino.py", "main_dino")
    utils, head = main_dino.utils, main_dino.DINOHead
    s = DinoSetting()
    options = {"hidden_dim": s.hidden, "bottleneck_dim": s.out}
    student, teacher = (
        utils.MultiCropWrapper(Convolution(), head(24, s.prototypes, norm_last_layer=False, **options)).double()
        for _ in range(2)
    )
    with torch.no_grad():
        for network in (student, teacher):
            for name, p in network.named_parameters():
                p.copy_(weight(name, p))
    start, final, epochs = s.temperatures
    loss_of = main_dino.DINOLoss(s.prototypes, 2 + s.local, start, final, epochs, s.steps).double()
    optimizer = torch.optim.AdamW(utils.get_params_groups(student))
    found: dict[str, Any] = {"losses": [], "centres": [], "temperatures": list(loss_of.teacher_temp_schedule)}
    found["decay"] = list(utils.cosine_scheduler(*s.decay, s.steps, 1))
    found["momentum"] = list(utils.cosine_scheduler(s.momentum, 1, s.steps, 1))
    for step in range(s.steps):
        for number, group in enumerate(optimizer.param_groups):
            group["lr"] = s.lr
            if number == 0:
                group["weight_decay"] = found["decay"][step]
        crops = list(s.views(step))
        with torch.no_grad():
            taught = teacher(crops[:2])
        loss = loss_of(student(crops), taught, step)
        optimizer.zero_grad()
        loss.backward()
        utils.clip_gradients(student, s.clip)
        utils.cancel_gradients_last_layer(step, student, s.frozen)
        optimizer.step()
        with torch.no_grad():
            for q, k in zip(student.parameters(), teacher.parameters(), strict=True):
                k.mul_(found["momentum"][step]).add_((1 - found["momentum"][step]) * q)
        found["losses"].append(loss.item())
        found["centres"].append(loss_of.center.flatten().tolist())
    for name, network in (("student", student), ("teacher", teacher)):
        found[name] = fingerprints(network)
    normed = head(24, s.prototypes, norm_last_layer=True, **options).double()
    with torch.no_grad():
        for name, p in normed.named_parameters():
            if p.requires_grad:
                p.copy_(weight(f"head.{name}", p))
    found["head"] = normed(numbers("input of head", (6, 24))).flatten().tolist()
    return found


SOURCES: Sources = {
    "mocov3": ("facebookresearch/moco-v3", mocov3),
    "sololearn": ("vturrisi/solo-learn", sololearn),
    "dino": ("facebookresearch/dino", dino),
}


def main() -> None:
    torch.distributed.init_process_group("gloo", init_method="tcp://127.0.0.1:29533", rank=0, world_size=1)
    record_from(SOURCES, __doc__)


if __name__ == "__main__":
    main()
