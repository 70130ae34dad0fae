"""Grids: which runs they are, what they are called, and what is refused before anything is trained."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from resmom.called import called_by
from resmom.config import ConfigError, from_json, to_json
from resmom.errors import RunDirError
from resmom.losses.residual import Residual
from resmom.methods.byol import Byol
from resmom.methods.densecl import DenseCL
from resmom.methods.mocov2 import MoCoV2
from resmom.methods.mocov3 import MoCoV3
from resmom.nets.backbones import MoCoViT, SmallResNet
from resmom.recipes import recipe
from resmom.runs.comparisons.agree import require_same
from resmom.runs.comparisons.combine import combinations, varied
from resmom.runs.comparisons.grid import Grid, digest_of, grid_of, part_of, read_grid, seeds_of
from resmom.runs.options import changed, differing, patch_told, taken_back
from resmom.train.optim import AdamW

BASE = recipe("mocov3_digits")
FILE = {
    "name": "tiny",
    "recipe": "mocov3_digits",
    "set": {"train.epochs": 3, "policy.mean": [0.4, 0.5, 0.6]},
    "arms": {"mocov3": {}, "residual": {"residual.weight": 1}},
    "seeds": [0, 7],
}


def test_cells_go_seed_by_seed_with_their_settings() -> None:
    cells = grid_of(FILE).cells()
    assert [(c.arm, c.seed, c.place) for c in cells] == [
        ("mocov3", 0, 0), ("residual", 0, 1), ("mocov3", 7, 0), ("residual", 7, 1),
    ]  # fmt: skip
    assert [c.run.train.seed for c in cells] == [0, 0, 7, 7]
    assert [c.run.residual.weight for c in cells] == [0, 1, 0, 1]
    assert all(c.run.policy.mean == (0.4, 0.5, 0.6) and c.run.train.epochs == 3 for c in cells)
    assert cells[1].run.recipe == "tiny: residual, from mocov3_digits" and cells[1].folder(Path("o")) == Path(
        "o/residual/seed-0"
    )
    assert grid_of(FILE).held_out == 0.0 and grid_of({**FILE, "held_out": 0.1}).held_out == 0.1


def test_combinations_and_their_names() -> None:
    arms = varied(BASE, ["residual.weight=0,0.25,1", "--residual.site=p,z"])
    assert list(arms) == ["weight=0", "weight=0.25,site=p", "weight=0.25,site=z", "weight=1,site=p", "weight=1,site=z"]
    assert arms["weight=0.25,site=z"] == {"residual.weight": 0.25, "residual.site": "z"}
    assert list(varied(BASE, ["train.warmup-epochs=0,1.5"])) == ["warmup_epochs=0", "warmup_epochs=1.5"]
    assert list(varied(BASE, ["backbone.widths=[4,8],[8,16]"])) == ["widths=[4,8]", "widths=[8,16]"]
    two = combinations(BASE, {"policy.views.0.blur": [0.1], "policy.views.1.blur": [0.2]})
    assert list(two) == ["policy.views.0.blur=0.1,policy.views.1.blur=0.2"]


def test_weights_to_start_from_have_names_without_their_folders() -> None:
    """An arm's name is that of a folder."""
    named = varied(BASE, ["init=a/one.pt,b c/two of them.safetensors,timm:resnet18.a1_in1k"])
    assert list(named) == ["init=one.pt", "init=two_of_them.safetensors", "init=timm:resnet18.a1_in1k"]
    assert named["init=one.pt"] == {"init": "a/one.pt"}
    assert len(grid_of({"recipe": "mocov3_digits", "vary": {"init": ["", "a/one.pt"]}, "seeds": [0]}).arms) == 2
    with pytest.raises(ConfigError, match=r"two arms would be called init=last\.pt"):
        varied(BASE, ["init=a/last.pt,b/last.pt"])


def test_all_settings_hold_at_once_and_parts_have_names() -> None:
    # Neither epochs 1 with the warm-up of 1 nor an optimiser's decay without its kind would do by itself.
    run = changed(BASE, {"train.epochs": 1, "train.warmup_epochs": 0})
    assert (run.train.epochs, run.train.warmup_epochs) == (1, 0.0)
    run = changed(BASE, {"optim": {"kind": "AdamW", "lr": 0.001}, "optim.weight_decay": 0.5})
    assert run.optim == replace(AdamW(), lr=0.001, weight_decay=0.5)
    run = changed(BASE, {"method": "byol", "method.hidden": 7, "backbone": "small"})
    assert run.method == Byol(hidden=7) and run.backbone == SmallResNet()
    run = changed(BASE, {"policy.views.1.size": 16})
    assert [view.size for view in run.policy.views] == [32, 16]
    sizes = varied(BASE, ["--image-size=16,40"])
    assert list(sizes) == ["image_size=16", "image_size=40"]
    turned = varied(BASE, ["orientation=upright,any"])
    assert list(turned) == ["orientation=upright", "orientation=any"]
    assert [view.quarter_turns for view in changed(BASE, turned["orientation=any"]).policy.views] == [1.0, 1.0]
    run = changed(BASE, {"policy.views.1.blur": 0.3, **sizes["image_size=40"]})
    assert [(view.size, view.blur) for view in run.policy.views] == [(40, BASE.policy.views[0].blur), (40, 0.3)]
    assert changed(BASE, {}) == BASE


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["residul.weight=0,1"], "no option 'residul.weight'; did you mean residual.weight?"),
        (["weight=0,1"], "did you mean residual.weight?"),
        (["train.epoch=3"], "did you mean train.epochs"),
        (["train.epochs.more=3"], "no option 'train.epochs.more'"),
        (["policy.views.2.size=3"], "no option 'policy.views.2.size'"),
        (["train.epochs=many"], "train.epochs cannot be 'many'; it is 16 in this run"),
        (["train.epochs=1.5"], "expected int, got 1.5"),
        (["residual.weight=-1"], "residual.weight is -1.0; it must be 0 (off) or positive"),
        (["residual.weight=1", "residual.site=q"], "arm weight=1,site=q"),
        (["residual.site=p,z"], "residual.site changes nothing while residual.weight is 0"),
        (["optim.lr=0.1,0.1"], "optim.lr has the same value twice"),
        (["optim.lr"], "varies nothing; write --vary residual.weight=0,1"),
        (["optim.lr=0.1", "optim.lr=0.2"], "varied twice"),
        ([], "nothing is varied"),
        (["train.seed=0,1"], "every arm has the grid's seeds"),
        (["method=bjol"], "did you mean byol"),
        (["optim.lr=0"], "optim.lr is 0.0; it must be above 0"),
        (["knn.k=20,20.0"], "knn.k has the same value twice"),
        (["optim.lr=0.3,3e-1"], "same value twice"),
    ],
)
def test_what_no_run_has_is_refused(options: list[str], words: str) -> None:
    with pytest.raises(ConfigError) as error:
        Grid("x", BASE, varied(BASE, options)).cells()
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"arms": {"a": {}, "b": {}}}, "the arms a and b are the same run"),
        ({"arms": {"a b": {}}}, "an arm cannot be called 'a b'"),
        ({"arms": {"../a": {}}}, "an arm cannot be called '../a'"),
        ({"arms": {}}, "at least one arm"),
        ({"arms": {"a": 3}}, "arms are objects"),
        ({"vary": {"optim.lr": [1]}}, "either 'arms' or 'vary'"),
        ({"seeds": [0, 0]}, "each once"),
        ({"seeds": "0,1"}, "whole numbers"),
        ({"held_out": "a"}, "held_out is a share"),
        ({"armes": {}}, "unknown 'armes'; a grid has name"),
        ({"recipe": "mocov3_digit"}, "did you mean mocov3_digits"),
        ({"set": {"train.epoch": 1}}, "did you mean train.epochs"),
        ({"set": [1]}, "set is an object"),
    ],
)
def test_a_grid_file_with_a_mistake_is_refused(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    file = tmp_path / "grid.json"
    file.write_text(json.dumps(FILE | change))
    with pytest.raises(ConfigError) as error:
        read_grid(file).cells()
    assert words in str(error.value)


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_grid(tmp_path / "none.json")
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(ConfigError, match="is not JSON"):
        read_grid(tmp_path / "a.json")
    (tmp_path / "a.json").write_text("[]")
    with pytest.raises(ConfigError, match="a grid is an object"):
        read_grid(tmp_path / "a.json")


@pytest.mark.parametrize("parts", range(1, 9))
def test_parts_are_all_cells_once_and_keep_most_pairs_together(parts: int) -> None:
    cells = replace(grid_of(FILE), seeds=(0, 1, 2)).cells()
    shares = [part_of(cells, f"{number}/{parts}") for number in range(1, parts + 1)]
    assert [cell for share in shares for cell in share] == cells
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    if parts == 3:
        assert [{cell.seed for cell in share} for share in shares] == [{0}, {1}, {2}]


@pytest.mark.parametrize("part", ["0/2", "3/2", "1", "a/b", "1/0", "-1/2"])
def test_a_part_that_is_none_is_refused(part: str) -> None:
    with pytest.raises(ConfigError, match="write 1/3"):
        part_of([], part)


def test_seeds_as_typed() -> None:
    assert seeds_of("0,1,5") == (0, 1, 5)
    with pytest.raises(ConfigError, match="with commas between"):
        seeds_of("0 1")


def test_the_digest_tells_configurations_apart_and_not_names() -> None:
    again = from_json(to_json(replace(BASE, recipe="another name")))
    assert digest_of(again) == digest_of(BASE) and differing(again, BASE) == []
    other = changed(BASE, {"log.line_steps": 11})
    assert digest_of(other) != digest_of(BASE) and differing(other, BASE) == ["log.line_steps"]
    assert "method.kind" in differing(changed(BASE, {"method": "byol"}), BASE)


def test_a_name_that_stands_twice_is_refused(tmp_path: Path) -> None:
    """JSON would keep the last, and a baseline would silently be another arm."""
    file = tmp_path / "twice.json"
    file.write_text('{"recipe": "mocov3_digits", "arms": {"plain": {}, "x": {}, "plain": {"residual.weight": 2}}}')
    with pytest.raises(ConfigError, match=r"twice\.json: 'plain' stands twice in one object; give each arm"):
        read_grid(file)


def test_a_transformer_by_name_suits_the_views() -> None:
    run = recipe("mocov3_cifar100_tiny")
    vit = changed(run, {"backbone": "vit-micro"})
    assert vit.backbone == MoCoViT("micro", image=32, patch=4)
    assert changed(run, {"backbone": "vit-micro", "image_size": 64}).backbone == MoCoViT("micro", image=64, patch=8)
    assert changed(run, {"image_size": 64, "backbone": "vit-micro"}).backbone == MoCoViT("micro", image=64, patch=8)
    assert changed(run, {"backbone": "vit-micro", "backbone.patch": 8}).backbone == MoCoViT("micro", 32, 8)
    started = changed(run, {"backbone": "vit-micro", "init": "v.pth"}).backbone
    assert started == MoCoViT("micro", image=32, patch=16)  # that of other people's weights
    after = {"backbone": "vit-micro", "policy.views.0.size": 64, "policy.views.1.size": 64}
    assert changed(run, after).backbone == MoCoViT("micro", image=64, patch=8)
    views = {"policy.views": [{"scale": [0.2, 1]}, {"scale": [0.2, 1]}], "backbone": "resnet18"}
    assert changed(run, views).policy.views[1].size == 224
    for broken in ({"policy.views": []}, {"policy": 3}):
        with pytest.raises(ConfigError, match="policy"):
            changed(run, {**broken, "backbone": "vit-micro"})
    with pytest.raises(ConfigError, match="image_size is '64'; it takes a whole number"):
        changed(run, {"backbone": "vit-micro", "image_size": "64"})
    told = "backbone: ViT-micro/4 at 32 pixels: patches by the size of the views"
    assert patch_told("vit-micro", vit) == f"{told} (backbone.patch=16 has the usual)"
    with called_by("options"):
        assert patch_told("vit-micro", vit) == f"{told} (--backbone.patch 16 has the usual)"
    assert patch_told("vit-micro", vit, ["--backbone.patch", "8"]) == ""
    assert patch_told("vit-micro", vit, ["--init=v.pth"]) == "" == patch_told("vit-micro", replace(vit, init="v.pth"))
    assert patch_told("vit-micro", changed(run, {"image_size": 128, "backbone": "vit-micro"})) == ""


def test_what_a_part_named_anew_takes_back_is_told() -> None:
    run = recipe("mocov3_cifar100_r18")
    again = changed(run, {"method": "mocov3", "backbone": "resnet50"})
    with called_by("options"):
        told = taken_back(run, again)
    assert "--method brings its own defaults: method.temperature 1.0 instead of 0.2" in told
    assert "backbone.stem imagenet instead of small_pad2 (--backbone.stem small_pad2 keeps what was)" in told
    assert "depth" not in told  # was asked for
    assert "method" not in taken_back(run, again, ["--method.temperature", "0.5"])
    assert taken_back(run, again, ["--method.temperature=0.5", "--backbone.stem", "small"]) == ""
    assert taken_back(run, changed(run, {"method": "byol", "backbone": "small"})) == ""
    assert taken_back(run, run) == ""
    tiny = recipe("mocov3_cifar100_tiny")
    with called_by("options"):
        assert "--backbone.widths 16 32 64 128 keeps" in taken_back(tiny, changed(tiny, {"backbone": "small"}))
    assert "(change with backbone.widths=[16, 32, 64, 128] keeps" in taken_back(
        tiny, changed(tiny, {"backbone": "small"})
    )


@pytest.mark.parametrize(
    ("steps", "settings", "words"),
    [
        (30, {"train.epochs": 2}, "counts in steps; set train.steps, or train.steps to 0 beside it"),
        (30, {"train.warmup_epochs": 1}, "counts in steps; set train.warmup_steps"),
        (0, {"train.warmup_steps": 5}, "counts in epochs; set train.warmup_epochs, or train.steps"),
    ],
)
def test_a_length_in_the_other_unit_is_refused(steps: int, settings: dict[str, Any], words: str) -> None:
    base = changed(recipe("mocov3_digits"), {"train.steps": steps})
    with pytest.raises(ConfigError, match=f"arm b: .* has no effect in a run whose length {words}"):
        Grid("g", base, {"a": {}, "b": settings}, (0,)).cells()
    assert len(Grid("g", base, {"a": {}, "b": {**settings, "train.steps": 0 if steps else 50}}, (0,)).cells()) == 2


def test_a_length_that_the_arms_give_a_unit_is_taken() -> None:
    content = {"recipe": "mocov3_digits", "set": {"train.warmup_steps": 2}, "arms": {"a": {"train.steps": 9}}}
    assert grid_of(content).cells()[0].run.train.warmup_steps == 2


@pytest.mark.parametrize("more", [{}, {"vary": {"residual.weight": [0, 1]}}])
def test_a_length_for_all_arms_in_a_unit_of_none_is_refused(more: dict[str, Any]) -> None:
    content = {"recipe": "mocov3_digits", **(more or {"arms": {"a": {}, "b": {"residual.weight": 1}}})}
    for settings, words in (
        (
            {"train.steps": 30, "train.epochs": 2},
            "set: train.epochs has no effect in a run whose length counts in steps",
        ),
        ({"train.warmup_steps": 5}, "set: train.warmup_steps has no effect in a run whose length counts in epochs"),
    ):
        with pytest.raises(ConfigError, match=words):
            grid_of({**content, "set": settings})
    assert grid_of({**content, "set": {"train.steps": 30, "train.warmup_epochs": 0}}).base.train.steps == 30


def test_options_of_the_term_are_judged_by_the_base_that_the_call_makes() -> None:
    grid = grid_of({"recipe": "mocov3_digits", "vary": {"residual.site": ["p", "z"]}})
    assert list(grid.arms) == ["site=p", "site=z"]
    with pytest.raises(ConfigError, match=r"residual.site changes nothing while residual.weight is 0"):
        grid.cells()
    cells = replace(grid, base=changed(grid.base, {"residual.weight": 1.0}), seeds=(0,)).cells()
    assert [(cell.run.residual.weight, cell.run.residual.site) for cell in cells] == [(1.0, "p"), (1.0, "z")]
    none = grid_of({"recipe": "mocov3_digits", "vary": {"residual.weight": [0], "residual.site": ["p", "z"]}})
    with pytest.raises(ConfigError, match=r"residual.site changes nothing while"):
        none.cells()


def test_a_cell_of_other_test_images_is_refused(tmp_path: Path) -> None:
    cell = Grid("g", recipe("mocov3_digits"), {"a": {}, "b": {"residual.weight": 1}}, (0,)).cells()[0]
    images = {"name": "x", "origin": "its split", "fingerprint": "f", "test": "t"}
    line = {"arm": "a", "seed": 0, "run": to_json(cell.run), "data": images}
    require_same(cell, tmp_path, line, images)
    require_same(cell, tmp_path, {**line, "data": {k: v for k, v in images.items() if k != "test"}}, images)
    for other in ({"test": "u"}, {"test": None}, {"fingerprint": "g"}):
        with pytest.raises(RunDirError, match="was measured on other images"):
            require_same(cell, tmp_path, line, {**images, **other})


def test_an_arm_whose_term_can_never_be_is_refused_while_it_is_off() -> None:
    base = replace(BASE, method=MoCoV3(predictor_layers=0), residual=Residual())
    arms: dict[str, dict[str, Any]] = {
        "plain": {},
        "p": {"residual.site": "p"},
        "z": {"residual.site": "z", "residual.weight": 1},
    }
    with pytest.raises(ConfigError, match=r"arm p: MoCo-v3 as it is set has no site p; residual.site is one of h, z"):
        Grid("g", base, arms).cells()
    assert len(Grid("g", base, {name: arms[name] for name in ("plain", "z")}).cells()) == 6


def test_an_arm_whose_method_is_named_has_the_term_where_it_can() -> None:
    """As twins do: MoCo-v3's site p is none of MoCo-v2's, whose teacher does not see the student's view by itself."""
    arms = varied(BASE, ["method=mocov3,byol,mocov2,densecl", "residual.weight=0,1"])
    runs = {cell.arm: cell.run for cell in Grid("g", BASE, arms, (0,)).cells()}
    sites = {name: run.residual.site for name, run in runs.items() if run.residual.weight}
    assert sites == {
        "method=mocov3,weight=1": "p",
        "method=byol,weight=1": "p",
        "method=mocov2,weight=1": "z",
        "method=densecl,weight=1": "z",
    }
    seen = {name: run.method.same_view for name, run in runs.items() if isinstance(run.method, MoCoV2 | DenseCL)}
    assert seen == {name: name.endswith("weight=1") for name in seen} and len(seen) == 4
    own = {"method": "mocov2", "residual.weight": 1, "residual.site": "p"}
    with pytest.raises(ConfigError, match="arm a: MoCo-v2 as it is set has no site p"):
        Grid("g", BASE, {"a": own}, (0,)).cells()
    with pytest.raises(ConfigError, match="arm a: SimSiam has no teacher"):
        Grid("g", BASE, {"a": {"method": "simsiam", "residual.weight": 1}}, (0,)).cells()
