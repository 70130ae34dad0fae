"""Weights to start from: files as others write them, and clear words where a file does not fit."""

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models import resnet18, resnet34, resnet50

from resmom.config import ConfigError, Run
from resmom.methods.mocov3 import MoCoV3
from resmom.nets.backbones import Backbone, BackboneConfig, MoCoViT, ResNet, SmallResNet, Timm, build_backbone
from resmom.nets.init import load_backbone
from resmom.nets.weightfile import WeightsError, read_weights
from resmom.runs.training.job import fresh_method, put_weights

State = dict[str, Tensor]
SMALL = SmallResNet((4, 8))


def small(seed: int = 0, config: SmallResNet = SMALL) -> Backbone:
    torch.manual_seed(seed)
    return build_backbone(config)


def under(prefix: str, state: State) -> State:
    return {prefix + name: value for name, value in state.items()}


def saved(path: Path, content: object) -> Path:
    torch.save(content, path)
    return path


def agree(backbone: Backbone, state: State) -> None:
    """Every tensor of the backbone's body equals the one of that name."""
    own = backbone.body.state_dict()
    for name, value in own.items():
        assert torch.equal(value, state[name]), name


@pytest.fixture(scope="module")
def two() -> tuple[State, State]:
    """The weights of two ResNet-18s."""
    torch.manual_seed(0)
    return resnet18().state_dict(), resnet18().state_dict()


def save_zip(state: State, path: Path) -> None:
    torch.save(state, path)


def save_old(state: State, path: Path) -> None:
    torch.save(state, path, _use_new_zipfile_serialization=False)


def save_parameters(state: State, path: Path) -> None:
    torch.save({"model": {name: nn.Parameter(v, v.is_floating_point()) for name, v in state.items()}}, path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("save", "name"),
    [(save_file, "w.safetensors"), (save_zip, "w.pth"), (save_old, "w.pth.tar"), (save_parameters, "w.ckpt")],
)
def test_torchvisions_resnet_in_every_format(
    two: tuple[State, State], tmp_path: Path, save: Callable[[State, Path], None], name: str
) -> None:
    state = two[0]
    save(state, tmp_path / name)
    backbone = build_backbone(ResNet(18))
    taken = load_backbone(backbone, tmp_path / name)
    agree(backbone, state)
    assert taken.tensors == len(state) - 2 and len(taken.left_out) == 2
    assert "not used" in taken.words and "fc (2)" in taken.words and name in taken.words


@pytest.mark.slow
@pytest.mark.parametrize(("depth", "make"), [(34, resnet34), (50, resnet50)])
def test_the_deeper_resnets(tmp_path: Path, depth: int, make: Callable[[], nn.Module]) -> None:
    state = make().state_dict()
    backbone = build_backbone(ResNet(depth))
    load_backbone(backbone, saved(tmp_path / "w.pth", state))
    agree(backbone, state)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "state"),
    [
        (ResNet(18), lambda: timm.create_model("resnet18").state_dict()),
        (Timm("resnet18"), lambda: resnet18().state_dict()),
        (Timm("vit_tiny_patch16_224", 32), lambda: timm.create_model("vit_tiny_patch16_224", img_size=32).state_dict()),
        (Timm("convnext_atto"), lambda: timm.create_model("convnext_atto").state_dict()),
        (MoCoViT("tiny", 32), lambda: build_backbone(MoCoViT("tiny", 32)).body.state_dict()),
        (ResNet(18, stem="small"), lambda: build_backbone(ResNet(18, stem="small")).body.state_dict()),
    ],
    ids=["timm into ResNet", "torchvision into Timm", "ViT", "ConvNeXt", "MoCoViT", "small stem"],
)
def test_timm_and_torchvision_into_each_backbone(
    tmp_path: Path, config: BackboneConfig, state: Callable[[], State]
) -> None:
    there = {name: torch.rand_like(v) if name.endswith(("weight", "var")) else v for name, v in state().items()}
    backbone = build_backbone(config)
    load_backbone(backbone, saved(tmp_path / "w.pth", there))
    agree(backbone, there)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("wrap", "prefix"),
    [
        (lambda s, t: {"state_dict": under("module.", s)}, "state_dict.module."),
        (lambda s, t: {"model": under("module.backbone.", s), "epoch": 3}, "model.module.backbone."),
        (
            lambda s, t: {"state_dict": under("module.momentum_encoder.", t) | under("module.base_encoder.", s)},
            "state_dict.module.base_encoder.",
        ),
        (
            lambda s, t: {"state_dict": under("module.encoder_k.", t) | under("module.encoder_q.", s)},
            "state_dict.module.encoder_q.",
        ),
        (
            lambda s, t: {"state_dict": under("momentum_backbone.", t) | under("backbone.", s)},
            "state_dict.backbone.",
        ),
        (
            lambda s, t: {
                "teacher": under("backbone.", t), "student": under("module.backbone.", s),
                "args": argparse.Namespace(lr=0.1),
            },
            "student.module.backbone.",
        ),
        (lambda s, t: under("encoder.", s) | under("projection_head.", {"0.weight": torch.ones(2)}), "encoder."),
    ],
    ids=["DataParallel", "nested", "moco-v3", "moco", "solo-learn", "DINO", "flat"],
)  # fmt: skip
def test_other_peoples_prefixes(
    two: tuple[State, State], tmp_path: Path, wrap: Callable[[State, State], object], prefix: str
) -> None:
    student, teacher = two
    path = saved(tmp_path / "w.pth", wrap(student, teacher))
    backbone = build_backbone(ResNet(18))
    taken = load_backbone(backbone, path)
    agree(backbone, student)
    assert taken.prefix == prefix
    if any(torch.equal(value, teacher["conv1.weight"]) for value in read_weights(path).values()):
        load_backbone(backbone, path, "teacher")
        agree(backbone, teacher)


@pytest.mark.slow
@pytest.mark.parametrize("pool", [True, False])
def test_a_resnet_cut_into_a_sequential_as_lightly_does(tmp_path: Path, pool: bool) -> None:
    network = resnet18()
    children = [child for child in network.children() if pool or not isinstance(child, nn.MaxPool2d)]
    cut = nn.Sequential(*children[:-1])
    backbone = build_backbone(ResNet(18))
    load_backbone(backbone, saved(tmp_path / "w.pth", under("backbone.", cut.state_dict())))
    agree(backbone, network.state_dict())


def test_a_checkpoint_of_ours_has_student_and_teacher(tmp_path: Path) -> None:
    student, teacher = small(1), small(2)
    state = {
        "student": under("backbone.", student.state_dict()) | {"projector.0.weight": torch.ones(2, 8)},
        "teacher": under("backbone.", teacher.state_dict()),
    }
    path = saved(tmp_path / "last.pt", {"format": 1, "state": state, "classes": ["a"]})
    backbone = small(3)
    assert load_backbone(backbone, path).prefix == "state.student.backbone.body.layers."
    agree(backbone, student.body.state_dict())
    load_backbone(backbone, path, "teacher")
    agree(backbone, teacher.body.state_dict())


def test_old_files_without_batch_counters_and_half_precision(tmp_path: Path) -> None:
    state = {name: v.bfloat16() for name, v in small(1).body.state_dict().items() if "num_batches" not in name}
    backbone = small(2)
    load_backbone(backbone, saved(tmp_path / "w.pth", state))
    own = backbone.body.state_dict()
    assert all(own[name].dtype == torch.float32 and torch.equal(own[name], v.float()) for name, v in state.items())


@pytest.mark.usefixtures("typed")
@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "state", "words"),
    [
        (ResNet(18, stem="small"), lambda: resnet18().state_dict(), "64x3x7x7 in the file, 64x3x3x3 here.*stem imag"),
        (ResNet(18), lambda: build_backbone(ResNet(18, "small")).body.state_dict(), "3x3: use --backbone.stem small"),
        (ResNet(34), lambda: resnet18().state_dict(), r"missing in the file: layer1.2.*--backbone.depth"),
        (ResNet(18), lambda: resnet34().state_dict(), r"only in the file: layer1.2.*--backbone.depth"),
        (ResNet(18), lambda: resnet50().state_dict(), r"--backbone.depth"),
        (SmallResNet((4, 16)), lambda: small().state_dict(), r"8x4x3x3 in the file, 16x4x3x3 here.*.widths"),
        (SmallResNet((4,)), lambda: small().state_dict(), "different numbers of layers"),
        (SmallResNet((4, 8, 8)), lambda: small().state_dict(), "different numbers of layers"),
        (
            Timm("vit_tiny_patch16_224", 64),
            lambda: timm.create_model("deit_tiny_distilled_patch16_224", img_size=32).state_dict(),
            "positions for 6 tokens, this backbone for 17.*--backbone.image",
        ),
        (SMALL, lambda: {"embedding": torch.ones(3)}, "none of them named"),
        (
            SMALL,
            lambda: small().state_dict() | {"body.layers.9.bias": torch.ones(1)},
            "only in the file: body.layers.9",
        ),
        (SMALL, lambda: {n: v * torch.nan for n, v in small().state_dict().items()}, "not finite"),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_is_written(
    tmp_path: Path, config: BackboneConfig, state: Callable[[], State], words: str
) -> None:
    backbone = build_backbone(config)
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    path = saved(tmp_path / "w.pth", state())
    with pytest.raises(WeightsError, match=words):
        load_backbone(backbone, path)
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())


def test_a_vit_with_learnt_positions_is_not_taken_for_moco_v3s(tmp_path: Path) -> None:
    """Its shapes are the same, its number of heads is not, and no shape tells that."""
    state = timm.create_model("vit_tiny_patch16_224", img_size=32).state_dict()
    with pytest.raises(WeightsError, match="other positions than MoCo-v3's"):
        load_backbone(build_backbone(MoCoViT("tiny", 32)), saved(tmp_path / "w.pth", state))


def test_pickled_modules_are_never_run(tmp_path: Path) -> None:
    path = saved(tmp_path / "w.pth", resnet18())
    with pytest.raises(WeightsError, match=r"pickled objects \(torchvision.models.resnet.ResNet\).*state_dict"):
        read_weights(path)
    save_old(Trap(tmp_path / "ran"), tmp_path / "old.pth")  # type: ignore[arg-type]
    with pytest.raises(WeightsError, match="pickled objects"):
        read_weights(tmp_path / "old.pth")
    assert not (tmp_path / "ran").exists()


class Trap:
    """Writes a file when it is unpickled by a reader that obeys."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., None], tuple[Path]]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_a_file_cut_anywhere_or_of_other_content_is_a_clear_error(tmp_path: Path, name: str) -> None:
    state = small().state_dict()
    whole = tmp_path / name
    save_file(state, whole) if name.endswith("safetensors") else save_zip(state, whole)
    content = whole.read_bytes()
    contents = [content[: len(content) * part // 8] for part in range(8)]
    if name == "w.pth":
        save_old(state, whole)
        content = whole.read_bytes()
        contents += [content[: len(content) * part // 8] for part in range(8)]
        contents += [content[:300] + b"\x00" * 200 + content[500:]]
    for part in [*contents, b"hello", b"PK\x03\x04"]:
        whole.write_bytes(part)
        with pytest.raises(WeightsError, match="damaged or not a"):
            read_weights(whole)


def test_what_is_not_a_file_of_weights_is_said(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no file of weights"):
        read_weights(tmp_path / "absent.pth")
    with pytest.raises(WeightsError, match="is a folder; give the file"):
        read_weights(tmp_path)
    with pytest.raises(WeightsError, match="no named tensors"):
        read_weights(saved(tmp_path / "w.pth", {"epoch": 3, "names": ["a"]}))


def run_from(path: Path) -> Run:
    return Run(method=MoCoV3(hidden=8, out=4), backbone=SMALL, init=str(path))


def started(run: Run) -> str:
    return put_weights(run, fresh_method(run, torch.device("cpu"))).words


def test_a_run_starts_from_the_file_in_both_networks_and_nothing_else_changes(tmp_path: Path) -> None:
    state = small(5).body.state_dict()
    run = run_from(saved(tmp_path / "w.pth", state))
    method, plain = (fresh_method(r, torch.device("cpu")) for r in (run, replace(run, init="")))
    assert put_weights(run, method).words.startswith(f"{len(state)} tensors of the backbone from {run.init}")
    for network in (method.student, method.teacher):
        agree(network.backbone, state)  # type: ignore[arg-type]
    others = {n: v for n, v in plain.state_dict().items() if ".backbone." not in n}
    own = method.state_dict()
    assert others and all(torch.equal(value, own[name]) for name, value in others.items())
    assert not any(p.requires_grad for p in method.teacher.parameters())
    assert all(p.requires_grad for p in method.student.parameters())


def test_a_run_whose_file_does_not_fit_is_refused_by_the_name_of_the_field(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="init: there is no file of weights"):
        started(run_from(tmp_path / "absent.pth"))
    wrong = saved(tmp_path / "w.pth", small(0, SmallResNet((4, 16))).state_dict())
    with pytest.raises(ConfigError, match=r"init: .*16x4x3x3 in the file, 8x4x3x3 here"):
        started(run_from(wrong))
    # Whoever puts a checkpoint's weights in afterwards needs the file no more.
    assert fresh_method(run_from(tmp_path / "absent.pth"), torch.device("cpu")).student is not None
