"""Side and orientation of the views of a settled run: of the images, of a file of weights, or asked for."""

from pathlib import Path

import pytest
import torch

from resmom.checkpoint import save_checkpoint
from resmom.config import ConfigError, part_to_json, to_json
from resmom.export.weights import About, save_weights
from resmom.nets.backbones import DinoViT, MoCoViT, SmallResNet, build_backbone
from resmom.recipes.automatic import automatic
from resmom.recipes.orientation import orientation_of
from resmom.recipes.side import with_side
from resmom.runs.options import changed
from resmom.runs.settling.facts import gather
from tests.runs.settling.derived import CPU, Settle, images, reasons, tiny


class TestSize:
    """The side of the views, and what follows from it."""

    def exported(self, folder: Path, side: int) -> str:
        """A file as `resmom export` writes it, of a run that saw views of that side."""
        config = SmallResNet((4, 8))
        about = About("student", part_to_json(config) | {"kind": "SmallResNet"}, 100, (0.5,) * 3, (0.2,) * 3, side)
        weights = {name: value.clone() for name, value in build_backbone(config).body.state_dict().items()}
        save_weights(folder / "student.safetensors", weights, about)
        return str(folder / "student.safetensors")

    @pytest.mark.parametrize("side", [24, 64, 72])
    def test_follows_what_a_file_says_of_itself(self, settled: Settle, tmp_path: Path, side: int) -> None:
        found = settled(n=100, init=self.exported(tmp_path, side))  # images of 32 pixels
        assert [view.size for view in found.run.policy.views] == [side, side]
        assert found.run.policy.views[0].blur == (0.5 if side > 64 else 0.0)
        assert reasons(found)["image_size"].endswith("was trained at, as the file says")
        assert found.run.policy.mean == (0.5,) * 3 and found.run.backbone == SmallResNet((4, 8))

    def test_follows_a_checkpoint_too(self, settled: Settle, tmp_path: Path) -> None:
        run = with_side(tiny(automatic(gather(images(), CPU)).run), 40)
        assert run.policy.views[0].size == 40
        save_checkpoint(tmp_path / "last.pt", {"run": to_json(run)})
        assert settled(n=100, init=str(tmp_path / "last.pt")).run.policy.views[1].size == 40

    def test_the_users_own_goes_before_the_files(self, settled: Settle, tmp_path: Path) -> None:
        found = settled(lambda run: with_side(run, 96), n=100, init=self.exported(tmp_path, 64))
        assert [view.size for view in found.run.policy.views] == [96, 96]
        assert found.run.policy.views[0].blur == 0.5  # which follows
        assert reasons(found)["image_size"] == "asked for; derived: 64"

    def test_a_relative_change_is_made_once(self, settled: Settle) -> None:
        found = settled(lambda run: with_side(run, 3 * run.policy.views[0].size), n=100)
        assert [view.size for view in found.run.policy.views] == [96, 96]

    @pytest.mark.usefixtures("typed")
    def test_of_one_view_alone_is_refused(self, settled: Settle) -> None:
        with pytest.raises(ConfigError, match=r"sides of 24 and 32 pixels.*--image-size"):
            settled(lambda run: changed(run, {"policy.views.0.size": 24}), n=100)

    def test_of_a_transformer(self, settled: Settle) -> None:
        found = settled(lambda run: with_side(run, 48), n=100, backbone=MoCoViT("tiny"))
        assert found.run.backbone == MoCoViT("tiny", image=48, patch=4)
        assert reasons(found)["image_size"] == "asked for; derived: 32"

    @pytest.mark.parametrize("n", [100, 5_000])
    def test_of_a_transformer_by_name_is_the_images(self, settled: Settle, n: int) -> None:
        found = settled(n=n, backbone=DinoViT("tiny"))
        assert found.run.backbone == DinoViT("tiny", image=32, patch=4)
        assert {view.size for view in found.run.policy.views} == {32}
        assert reasons(found)["backbone"] == "the one asked for; image and patch by the size of the views"

    def test_of_a_transformer_by_name_follows_what_is_asked(self, settled: Settle) -> None:
        found = settled(lambda run: with_side(run, 96), n=100, backbone=MoCoViT("tiny"))
        assert found.run.backbone == MoCoViT("tiny", image=96, patch=8)
        own = settled(lambda run: changed(run, {"backbone.patch": 16}), n=100, backbone=MoCoViT("tiny"))
        assert own.run.backbone == MoCoViT("tiny", image=32, patch=16)
        assert reasons(own)["backbone.patch"] == "asked for; derived: 4"

    @pytest.mark.usefixtures("small_transformers")
    @pytest.mark.parametrize("backbone", [None, DinoViT("tiny", 128, 4)])
    def test_of_a_transformer_in_a_file_of_others_is_the_images(
        self, settled: Settle, tmp_path: Path, backbone: DinoViT | None
    ) -> None:
        """Whatever it was made for: its positions are resampled."""
        path = str(tmp_path / "w.pth")
        torch.save(build_backbone(DinoViT("tiny", 128, 4)).body.state_dict(), path)
        found = settled(n=100, init=path, backbone=backbone)  # images of 32 pixels
        assert found.run.backbone == DinoViT("tiny", 32, 4) and {v.size for v in found.run.policy.views} == {32}
        assert reasons(found)["image_size"].endswith("its positions, for 32 x 32, are resampled to these")
        asked = settled(lambda run: with_side(run, 64), n=100, init=path, backbone=backbone)
        assert asked.run.backbone == DinoViT("tiny", 64, 4)
        assert reasons(asked)["image_size"] == "asked for; derived: 32"

    def test_of_a_transformer_with_weights_is_its_own(self, settled: Settle, tmp_path: Path) -> None:
        found = settled(n=100, backbone=MoCoViT("tiny", 64), init=self.exported(tmp_path, 48))
        assert found.run.backbone == MoCoViT("tiny", 64)


class TestOrientation:
    """Whether images have an up is the user's to say."""

    @pytest.mark.usefixtures("typed")
    def test_is_upright_unless_asked(self, settled: Settle) -> None:
        found = settled(n=100)
        assert orientation_of(found.run.policy) == "upright"
        assert "--orientation any" in reasons(found)["orientation"]

    def test_that_is_asked_for_is_one_choice_with_its_reason(self, settled: Settle) -> None:
        found = settled(lambda run: changed(run, {"orientation": "any", "image_size": 96}), n=100)
        assert [(v.size, v.flip_vertical, v.quarter_turns) for v in found.run.policy.views] == [(96, 0.5, 1.0)] * 2
        told = {choice.option: choice for choice in found.choices}
        assert (told["orientation"].value, told["orientation"].reason) == ("any", "asked for; derived: upright")
        assert "policy.views" in told and not [option for option in told if option.startswith("policy.views.")]
        plain = settled(lambda run: changed(run, {"image_size": 96}), n=100)
        assert changed(found.run, {"orientation": "upright"}) == plain.run

    def test_of_ones_own_is_told_field_by_field(self, settled: Settle) -> None:
        found = settled(lambda run: changed(run, {"orientation": "any", "policy.views.1.quarter_turns": 0.5}), n=100)
        told = reasons(found)
        assert "orientation" not in told and told["policy.views.1.quarter_turns"] == "asked for; derived: 0"
        assert [view.quarter_turns for view in found.run.policy.views] == [1.0, 0.5]
