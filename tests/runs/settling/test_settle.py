"""From what was asked to a complete run, with made-up costs: what is derived, what the user gives, what is told."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from resmom.build import Own
from resmom.config import ConfigError, Run
from resmom.data.packing import pack
from resmom.errors import RunDirError
from resmom.losses.residual import Residual
from resmom.methodconfig import MethodConfig
from resmom.methods.byol import Byol
from resmom.methods.ressl import ReSSL
from resmom.methods.simsiam import SimSiam
from resmom.nets.backbones import MoCoViT, ResNet
from resmom.recipes import recipe
from resmom.recipes.automatic import Choice
from resmom.recipes.pace import MEASURES
from resmom.runs.announce import settings_words
from resmom.runs.machine import Machine
from resmom.runs.options import changed
from resmom.runs.pretrain import pretrain
from resmom.runs.settling import budget, estimate, settle
from resmom.runs.settling.budget import MEASURING
from resmom.runs.settling.offer import Asked
from resmom.train.optim import AdamW, Sgd
from resmom.train.plan import Train
from resmom.types import Site
from tests.data.test_folder import draw
from tests.halflife import half_life
from tests.runs.settling import priced
from tests.runs.settling.derived import COST, MIB, Settle, reasons, tiny, train_with


class TestDerived:
    """Nothing asked but data and place."""

    def test_everything_is_derived_and_estimated(self, settled: Settle, tried: list[Run]) -> None:
        found = settled()
        train = found.run.train
        assert (train.batch, train.steps, train.micro_batch) == (128, 7_813, 0)
        assert len(found.choices) == 13 and len(tried) == 1
        # 7,813 steps at .1 s and 22 measurements at 2 s; the last checkpoint, six kept ones, backbones, lines.
        assert found.estimate.words == (
            "about 14 min (0.1 s a step on this machine now), 36 MiB of disk with six kept checkpoints, 2148 MiB of "
            "memory for a step"
        )

    def test_where_the_disk_has_little_room_fewer_checkpoints_are_kept(
        self, settled: Settle, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for free, words in ((199 * MIB, "with three kept checkpoints"), (49 * MIB, "with no kept checkpoints")):
            monkeypatch.setattr(budget, "free_disk", lambda place, free=free: free)
            monkeypatch.setattr(estimate, "require_disk", lambda *_: None)
            assert words in settled().estimate.words  # a tenth of what is free, at 5 MiB each

    def test_dear_measurements_are_made_less_often(self, settled: Settle, monkeypatch: pytest.MonkeyPatch) -> None:
        few = replace(COST, knn_seconds=15.0, health_seconds=5.0)
        monkeypatch.setattr(settle, "trial", lambda *arguments: few)
        run = settled().run
        whole = run.train.steps * run.train.batch / 5_000
        made = round(whole / run.log.save_epochs)
        assert made == 3 < MEASURES  # a tenth of 781 s
        assert made * few.measure_seconds <= MEASURING * run.train.steps * few.step_seconds

    def test_a_full_disk(self, settled: Settle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        full = replace(COST, checkpoint_bytes=2**60)
        monkeypatch.setattr(settle, "trial", lambda *arguments: full)
        with pytest.raises(RunDirError, match="GiB free; free some"):
            settled()
        assert list(tmp_path.iterdir()) == []

    def test_without_a_folder_no_disk_is_asked(self, settled: Settle, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(budget, "free_disk", lambda place: 0)
        for base in (None, priced.RUN):
            with pytest.raises(RunDirError, match="has 0 MiB free"):
                settled(base=base, priced=True)
            assert settled(base=base, priced=True, placed=False).estimate is not None
        assert "with six kept checkpoints" in settled(placed=False).estimate.words

    def test_a_crowded_machine_is_told_beside_the_estimate(
        self, settled: Settle, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert "attention" not in settings_words(settled(), "photos")
        monkeypatch.setattr(settle, "trial", lambda *_: replace(COST, crowd="others are here"))
        assert "\nattention: others are here; stop here" in settings_words(settled(), "photos")


class TestAsked:
    """What the user gives wins, and what depends on it follows."""

    def test_single_settings(self, settled: Settle) -> None:
        derived = settled()
        found = settled(lambda run: replace(run, optim=Sgd(lr=1.5), residual=replace(run.residual, weight=2.0)))
        assert (found.run.optim.lr, found.run.residual.weight) == (1.5, 2.0)
        assert replace(found.run, optim=derived.run.optim, residual=derived.run.residual) == derived.run
        told = {choice.option: choice for choice in found.choices}
        assert told["optim.lr"] == Choice("optim.lr", "1.5", "asked for; derived: 0.3")
        assert told["residual.weight"] == Choice("residual.weight", "2", "asked for; derived: 1")
        kept = set(reasons(derived)) - {"optim.lr", "residual.weight"}
        assert all(reasons(found)[option] == reasons(derived)[option] for option in kept)

    def test_a_longer_run_has_a_longer_memory(self, settled: Settle) -> None:
        found = settled(train_with(steps=50_000), backbone=ResNet(18)).run
        assert (found.train.steps, found.train.warmup_steps) == (50_000, 1_000)
        assert half_life(found.ema.momentum) == pytest.approx(500)

    @pytest.mark.parametrize(
        ("steps", "told"),
        [(2, "0.05 of a pass"), (30, "0.8 of a pass"), (40, "1 pass"), (52, "1.3 passes"), (100, "2.6 passes")],
    )
    def test_a_length_is_told_in_passes(self, settled: Settle, steps: int, told: str) -> None:
        (length,) = (c.value for c in settled(train_with(steps=steps)).choices if c.option == "train.steps")
        assert length == f"{steps} ({told} over the images)"  # 5,000 images in batches of 128

    def test_a_shorter_run_than_the_derived_warm_up(self, settled: Settle) -> None:
        found = settled(train_with(steps=200), backbone=ResNet(18))
        assert (found.run.train.steps, found.run.train.warmup_steps) == (200, 10)
        assert half_life(found.run.ema.momentum) == pytest.approx(20)
        assert reasons(found)["train.steps"].startswith("asked for; derived: ")
        told = next(choice.value for choice in found.choices if choice.option == "train.steps")
        assert told == "200 (5 passes over the images)"
        # As often as in a longer run, where the measurements are not too dear: here a tenth of 20 s is one.
        assert found.run.log.save_epochs == pytest.approx(200 / (5_000 // 128))

    def test_a_batch_of_ones_own_sees_as_many_images(self, settled: Settle) -> None:
        found = settled(train_with(batch=32))
        assert found.run.train.batch == 32 and found.run.train.steps == 1_000_000 // 32
        assert reasons(found)["train.batch"].startswith("asked for; derived: ")
        assert "million images" in reasons(found)["train.steps"]

    def test_a_length_in_passes(self, settled: Settle) -> None:
        found = settled(train_with(epochs=10))
        assert found.run.train.steps == 10 * (5_000 // 128) and found.run.train.warmup_steps == 19
        # Also where it is what a run in epochs has anyway.
        assert settled(train_with(epochs=100)).run.train.steps == 100 * (5_000 // 128)
        assert settled(train_with(epochs=10, batch=50)).run.train.steps == 10 * 100

    def test_a_whole_train_in_epochs(self, settled: Settle) -> None:
        train = Train(epochs=50, batch=64, warmup_epochs=2)
        found = settled(lambda run: replace(run, train=train), backbone=ResNet(18))
        assert found.run.train == Train(epochs=50, batch=64, warmup_epochs=2)
        assert half_life(found.run.ema.momentum) == pytest.approx(50 * 78 / 100)

    def test_a_relative_change_is_made_once(self, settled: Settle) -> None:
        def change(run: Run) -> Run:
            train = replace(run.train, batch=2 * run.train.batch, steps=run.train.steps // 2)
            return replace(run, train=train, optim=Sgd(lr=3 * run.optim.lr))

        found = settled(change, backbone=ResNet(18)).run
        assert (found.train.batch, found.train.steps) == (256, 7_813 // 2)
        assert found.optim.lr == pytest.approx(0.9)
        assert half_life(found.ema.momentum) == pytest.approx(39.06)

    def test_warm_up_and_momentum_of_ones_own(self, settled: Settle) -> None:
        found = settled(
            lambda run: replace(
                run,
                train=replace(run.train, steps=300, warmup_steps=299),
                ema=replace(run.ema, momentum=0.8),
            )
        )
        assert (found.run.train.steps, found.run.train.warmup_steps, found.run.ema.momentum) == (300, 299, 0.8)
        derived = 0.9
        assert reasons(found)["ema.momentum"] == f"asked for; derived: {derived:g}"
        assert reasons(found)["train.warmup_steps"] == "asked for; derived: 15"
        assert reasons(found)["train.steps"].startswith("asked for; derived: ")

    @pytest.mark.parametrize("method", [Byol(64, 32, 64), SimSiam(64, 32)])
    def test_another_method_has_not_what_was_measured_of_the_derived_one(
        self, settled: Settle, method: MethodConfig
    ) -> None:
        found = settled(lambda run: replace(run, method=method, train=replace(run.train, steps=2_000)))
        assert found.run.method == method
        assert found.run.residual.weight == 0
        assert half_life(found.run.ema.momentum) == pytest.approx(20)
        assert "the published method" in reasons(found)["residual.weight"]
        assert settled().run.residual.weight == 1

    def test_a_module_of_ones_own_has_not_either(self, settled: Settle) -> None:
        assert settled(own=Own(backbone=nn.Identity())).run.residual.weight == 0
        assert settled(own=Own(method=lambda backbone: None)).run.residual.weight == 0  # type: ignore[arg-type,return-value]

    def test_the_term_can_be_left_out(self, settled: Settle) -> None:
        found = settled(lambda run: replace(run, residual=replace(run.residual, weight=0.0)))
        assert found.run.residual.weight == 0 and found.run.ema.momentum == 0.9
        assert reasons(found)["residual.weight"] == "asked for; derived: 1"

    def test_a_backbone_brings_its_heads_and_optimiser(self, settled: Settle) -> None:
        found = settled(backbone=MoCoViT("tiny", image=32, patch=8))
        assert isinstance(found.run.optim, AdamW)
        assert [view.size for view in found.run.policy.views] == [32, 32]
        assert reasons(found)["backbone"] == "the one asked for; image and patch by the size of the views"

    def test_modules_of_ones_own_are_told_as_such(self, settled: Settle) -> None:
        body = nn.Sequential(nn.Flatten(), nn.LazyLinear(8))
        found = settled(own=Own(backbone=body))
        assert [c for c in found.choices if c.option == "backbone"] == [
            Choice("backbone", "your own", "given from Python")
        ]
        assert reasons(found)["method"].startswith("contrastive")

    def test_another_method(self, settled: Settle) -> None:
        found = settled(lambda run: replace(run, method=Byol(8, 4, 8)))
        assert found.run.method == Byol(8, 4, 8)
        (told,) = [choice for choice in found.choices if choice.option.startswith("method")]
        assert told == Choice(
            "method", "BYOL, heads 8/4", "asked for; derived: MoCo-v3, temperature 0.2, heads 512/128"
        )

    def test_a_part_of_which_something_is_asked_for_says_so(self, settled: Settle) -> None:
        wish = {
            "method.temperature": 0.3,
            "backbone.blocks": 2,
            "policy.views.0.flip": 0,
            "policy.std": [0.5, 0.5, 0.5],
        }
        found = settled(lambda run: changed(run, wish))
        told = {choice.option: (choice.value, choice.reason) for choice in found.choices}
        assert told["method"] == (
            "MoCo-v3, temperature 0.3, heads 512/128, no predictor",
            "with method.temperature 0.3 as asked for",
        )
        assert told["backbone"] == (
            "SmallResNet 16-32-64-128, 2 blocks a stage",
            "with backbone.blocks 2 as asked for",
        )
        assert told["policy.views"][1] == "with policy.views.0.flip 0 as asked for"
        assert told["policy.mean"][0].endswith(", std (0.500, 0.500, 0.500)")
        assert told["policy.mean"][1] == "with policy.std [0.5, 0.5, 0.5] as asked for"
        assert told["method.temperature"] == ("0.3", "asked for; derived: 0.1")
        assert [*told][-4:] == [*wish] and len(told) == len(found.choices)
        heads = {"method.temperature": 0.3, "method.hidden": 8, "method.out": 4, "method.predictor_layers": 3}
        assert reasons(settled(lambda run: changed(run, heads)))["method"] == (
            "with method.temperature 0.3, method.hidden 8, method.out 4 and 1 more as asked for"
        )

    def test_a_term_that_can_never_be_is_refused_where_it_is_asked_for(self, settled: Settle, tried: list[Run]) -> None:
        def at(site: Site) -> Callable[[Run], Run]:
            return lambda run: replace(run, residual=replace(run.residual, weight=0.0, site=site))

        for base, method in ((None, ReSSL()), (replace(recipe("mocov3_digits"), method=ReSSL(queue=64)), None)):
            with pytest.raises(
                ConfigError, match=r"ReSSL as it is set has no site logits; residual.site is one of h, z"
            ):
                settled(at("logits"), base=base, method=method)
            assert settled(at("h"), base=base, method=method).run.residual.site == "h"
        tried.clear()
        with pytest.raises(ConfigError, match="ReSSL as it is set has no site p"):
            settled(at("p"), method=ReSSL())
        stated = replace(recipe("mocov3_digits"), method=Byol(), residual=Residual(0.0, "logits"))
        with pytest.raises(ConfigError, match="BYOL as it is set has no site logits"):
            settled(base=stated)
        assert not tried
        silent = replace(
            recipe("mocov3_digits"), method=ReSSL(queue=64), residual=Residual()
        )  # as published: p is nobody's word
        assert settled(base=silent).run.residual == Residual()

    def test_what_cannot_be_used_is_refused_before_a_trial(self, settled: Settle, tried: list[Run]) -> None:
        with pytest.raises(ConfigError, match=r"optim\.lr is -1"):
            settled(lambda run: replace(run, optim=Sgd(lr=-1.0)))
        assert tried == []


@pytest.mark.slow
def test_a_file_of_another_backbone_is_recognised(settled: Settle, tmp_path: Path) -> None:
    """torchvision's ResNet-18 as torch saves it: no word of ours in the file."""
    from torchvision.models import resnet18

    with torch.random.fork_rng(devices=[]):
        torch.save(resnet18().state_dict(), tmp_path / "r18.pt")
    found = settled(n=100, init=str(tmp_path / "r18.pt"))
    assert found.run.backbone == ResNet(18) and found.run.optim == Sgd(lr=0.03)


@pytest.mark.usefixtures("typed")
@pytest.mark.slow
def test_packing_is_told_where_it_pays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On the command that would do it, before the run starts."""
    for number in range(80):
        draw(tmp_path / f"photos/{number}.png", number, 130, 140)
    monkeypatch.setattr(settle, "trial", lambda *_: replace(COST, decode_share=0.5))
    monkeypatch.setattr("resmom.runs.pretrain._work", stop)
    with pytest.raises(Stopped):
        pretrain(Asked(change=tiny), str(tmp_path / "photos"), tmp_path / "run", Machine(device="cpu"))
    told = capsys.readouterr().err
    photos = (tmp_path / "photos").resolve()
    assert f"resmom data pack {photos} --out {photos}.pack --side 32" in told and f"--data {photos}.pack" in told
    assert f"--data {photos}@shorter-side=32\n" in told
    pack(photos, tmp_path / "pack")
    with pytest.raises(Stopped):
        pretrain(Asked(change=tiny), str(tmp_path / "pack"), tmp_path / "run", Machine(device="cpu"))
    told = capsys.readouterr().err
    assert "data pack" in told and "@shorter-side" not in told  # a pack's images have the sizes they were packed with


class Stopped(Exception):
    """The run would start here."""


def stop(*_: object) -> None:
    raise Stopped


def test_weights_to_start_from_are_those_of_a_recipe_too(settled: Settle) -> None:
    assert settled(base=tiny(Run()), init="there.safetensors").run.init == "there.safetensors"


def test_the_cost_of_a_recipe_is_estimated_where_it_is_asked_for(tried: list[Run], settled: Settle) -> None:
    base = tiny(Run())
    assert settled(base=base).estimate is None and not tried
    found = settled(base=base, priced=True)
    assert found.run == base and found.choices == ()
    assert found.estimate.seconds > 0 and len(tried) == 1
