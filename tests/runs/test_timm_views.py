"""Whole runs of timm's Vision Transformers: local views, positions from another grid, and files that load again."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file

from resmom.config import ConfigError, Run
from resmom.configcheck import check
from resmom.data.open import open_data
from resmom.data.source import Data
from resmom.export.loading import loading_lines
from resmom.methods.dino import Dino
from resmom.methods.ibot import Ibot
from resmom.nets.backbones import BackboneConfig, DinoViT, MoCoViT, Timm, build_backbone
from resmom.recipes.side import with_side
from resmom.rundir import RunDir
from resmom.runs.announce import summary
from resmom.runs.options import changed
from resmom.runs.pretrain import pretrain, resume
from resmom.runs.training.job import fresh_method, prepare
from tests.runs.crash import QUIET, dino_run, ibot_run, small_run, write_images
from tests.runs.test_resume import assert_same_run, stop_at

CPU = torch.device("cpu")


@pytest.fixture
def images(tmp_path: Path) -> Data:
    return open_data(str(write_images(tmp_path / "images.npz")))


def sized(run: Run, whole: int, local: int, backbone: BackboneConfig) -> Run:
    """The run with views of these sides, the first two whole."""
    views = tuple(replace(v, size=whole if n < 2 else local) for n, v in enumerate(run.policy.views))
    return replace(run, backbone=backbone, policy=replace(run.policy, views=views), train=replace(run.train, epochs=2))


@pytest.mark.slow
@pytest.mark.parametrize("base", [dino_run, ibot_run])
def test_two_global_and_two_local_views(
    base: Any, images: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through a stop and a resume, into files that timm's model loads strictly."""
    run = sized(base(), 32, 16, Timm("vit_tiny_patch16_224", image=32))
    assert [view.size for view in run.policy.views] == [32, 32, 16, 16]
    pretrain(run, images.spec, tmp_path / "whole", QUIET)
    stop_at(3, run, images.spec, tmp_path / "cut", monkeypatch)
    resume(tmp_path / "cut", QUIET)
    assert_same_run(tmp_path / "whole", tmp_path / "cut")
    lines = [json.loads(line) for line in (tmp_path / "whole/metrics.jsonl").read_text().splitlines()]
    terms = next(line for line in lines if line["kind"] == "train")
    assert {"cross_entropy_global", "cross_entropy_local"} <= {name.rpartition("/")[2] for name in terms}
    space: dict[str, Any] = {}
    exec(loading_lines(run.backbone, str(tmp_path / "whole/export/backbone-student.safetensors")), space)
    assert space["network"](torch.zeros(1, 3, 32, 32)).shape == (1, 192)


def test_local_views_take_part_in_the_loss(images: Data) -> None:
    """Of a local view other weights have a gradient than without: positions that are interpolated among them."""
    job = prepare(sized(dino_run(), 32, 16, Timm("vit_tiny_patch16_224", image=32)), images, CPU)
    batch = job.batch(0)
    assert [tuple(view.shape[2:]) for view in batch.views] == [(32, 32)] * 2 + [(16, 16)] * 2
    method = job.state.method
    outcome = method(batch, method.teach(batch), slice(0, 8))
    (local,) = (term for term in outcome.terms if term.name == "cross_entropy_local")
    local.value.backward()
    body: Any = method.student.backbone.body  # type: ignore[union-attr]
    assert body.pos_embed.grad.abs().sum() > 0 and body.pos_embed.shape == (1, 5, 192)


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (sized(dino_run(), 32, 24, Timm("test_vit", 32)), r"view 2 has side 24, .* the patch of timm's test_vit, 16; "
         r"set policy\.views\.2\.size to 16 or 32, and the views after it alike$"),
        (sized(ibot_run(), 32, 16, Timm("resnet10t")), r"iBOT hides patches .* Timm\('vit_small_patch16_224'\)$"),
    ],
)  # fmt: skip
def test_views_that_are_no_whole_patches_are_refused(run: Run, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        check(run)


def test_an_architecture_of_one_size_refuses_local_views() -> None:
    run = sized(dino_run(), 32, 16, Timm("gmlp_ti16_224", 32))
    check(run)
    with pytest.raises(
        ConfigError, match=r"views of side 32, but not of side 16, beside them: .*timm:vit_small_patch16"
    ):
        fresh_method(run, CPU)


@pytest.mark.parametrize(("method", "masks"), [(Dino(hidden=8, out=4, prototypes=8), 0), (Ibot(8, 4, 8), 2)])
def test_masks_are_those_of_timms_patches(method: Dino | Ibot, masks: int, images: Data) -> None:
    run = replace(sized(ibot_run(), 64, 32, Timm("test_vit", 64)), method=method)
    batch = prepare(run, images, CPU).batch(0)
    assert [tuple(mask.shape) for mask in batch.masks] == [(8, 4, 4)] * masks


def test_the_side_of_the_views_is_that_of_the_transformer() -> None:
    run = replace(dino_run(), backbone=Timm("test_vit"))
    assert with_side(run, 48).backbone == Timm("test_vit", 48)
    assert with_side(run, 160).backbone == Timm("test_vit"), "its own, which needs no word"
    assert changed(run, {"backbone": "timm:test_vit", "image_size": 32}).backbone == Timm("test_vit", 32)
    kept = changed(run, {"backbone": "timm:test_vit", "backbone.image": 64})
    assert kept.backbone == Timm("test_vit", 64)
    assert with_side(replace(run, backbone=Timm("resnet10t")), 48).backbone == Timm("resnet10t")


def published(folder: Path, name: str = "test_vit") -> str:
    """A file of timm's, of the size that the model is made for."""
    torch.save(timm.create_model(name, num_classes=5).state_dict(), folder / "published.pth")
    return str(folder / "published.pth")


@pytest.mark.slow
def test_a_run_tells_and_keeps_that_positions_were_resampled(
    images: Data, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = sized(dino_run(), 32, 16, Timm("test_vit", 32))
    out, told = tmp_path / "run", "positions of 10 x 10 patches resampled to 2 x 2 (bicubic, antialiased)"
    pretrain(replace(run, init=published(tmp_path)), images, out, replace(QUIET, quiet=False))
    assert told in next(line for line in capsys.readouterr().err.splitlines() if line.startswith("starts from 78 "))
    assert json.loads((out / "run.json").read_text())["resampled"] == told
    assert f"| started from | published.pth; {told} |" in (out / "export/README.md").read_text()
    exported, start = load_file(out / "export/backbone-student.safetensors"), load_file(out / "start.safetensors")
    assert exported["pos_embed"].shape == start["body.pos_embed"].shape == (1, 5, 64)
    again = replace(run, init=str(out / "export/backbone-teacher.safetensors"))
    pretrain(again, images, tmp_path / "again", QUIET)
    assert "resampled" not in json.loads((tmp_path / "again/run.json").read_text())


@pytest.mark.usefixtures("typed")
def test_pixels_that_the_network_does_not_see_are_told(images: Data, tmp_path: Path) -> None:
    run = replace(small_run(), backbone=Timm("vit_tiny_patch16_224", 40))
    run = replace(run, policy=replace(run.policy, views=tuple(replace(v, size=40) for v in run.policy.views)))
    told = (
        "does not see the last 8 pixels of each side of a view, which make no whole patch of 16; --image-size 32 or 48"
    )
    assert told in summary(prepare(run, images, CPU), RunDir(tmp_path / "run"))
    with pytest.raises(ConfigError, match=r"test_vit does not take views of side 40: .* --image-size 32 or 48$"):
        prepare(replace(run, backbone=Timm("test_vit", 40)), images, CPU)  # which timm has take none but whole ones
    whole = sized(dino_run(), 32, 16, Timm("test_vit", 32))
    assert "does not see" not in summary(prepare(whole, images, CPU), RunDir(tmp_path / "run"))


def test_student_and_teacher_start_with_the_same_positions(images: Data, tmp_path: Path) -> None:
    run = replace(sized(dino_run(), 32, 16, Timm("test_vit", 32)), init=published(tmp_path))
    method: Any = prepare(run, images, CPU).state.method
    assert torch.equal(method.student.backbone.body.pos_embed, method.teacher.backbone.body.pos_embed)
    fresh: Any = build_backbone(Timm("test_vit", 32))
    assert not torch.equal(method.student.backbone.body.pos_embed, fresh.body.pos_embed)


@pytest.mark.usefixtures("typed")
@pytest.mark.usefixtures("small_transformers")
@pytest.mark.parametrize(
    ("there", "here", "words"),
    [
        (MoCoViT("tiny", 64, 16), MoCoViT("tiny", 32, 16), r"never resampled: use --image-size 64$"),
        (
            DinoViT("tiny", 64, 8),
            DinoViT("tiny", 32, 16),
            r"patches have side 8, .* set --backbone.patch 8 .*multiple of it$",
        ),
    ],
)
def test_what_is_not_resampled_ends_before_anything_is_written(
    there: BackboneConfig, here: BackboneConfig, words: str, images: Data, tmp_path: Path
) -> None:
    torch.save(build_backbone(there).body.state_dict(), tmp_path / "w.pth")
    run = sized(dino_run(), 32, 16, here)
    with pytest.raises(ConfigError, match=words):
        pretrain(replace(run, init=str(tmp_path / "w.pth")), images, tmp_path / "run", QUIET)
    assert not (tmp_path / "run").exists()
