"""Published weights by their names: out of timm, into a file of ours, with what they were made for."""

import logging
import shutil
from dataclasses import replace
from pathlib import Path

import huggingface_hub
import huggingface_hub.constants
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from resmom import weights
from resmom.commands import compare, evaluate, pretrain, resume
from resmom.commands.detect import DETECT
from resmom.config import ConfigError
from resmom.jsonfiles import read_lines
from resmom.nets.backbones import ResNet, Timm
from resmom.rundir import RunDir
from resmom.runs.finetuned.tuned import Ended
from resmom.runs.initial import hub as client
from resmom.runs.initial.published import placed, weights_file, weights_folder
from resmom.runs.initial.recognise import origin_words, own_word, recognise, seen
from resmom.runs.origin import Origin
from resmom.runs.training.start import content_of, require_content
from tests.runs.crash import write_images

RESNET, VIT = "resnet18.a1_in1k", "vit_tiny_patch16_224.augreg_in21k_ft_in1k"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub's cache as a download leaves it, without a network; and a folder of ours that is empty."""
    cache = tmp_path / "hub"
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("RESMOM_WEIGHTS", str(tmp_path / "kept"))
    return cache


def publish(hub: Path, name: str) -> torch.nn.Module:
    """Put a model with its head, as timm publishes it, into the cache."""
    torch.manual_seed(0)
    model: torch.nn.Module = timm.create_model(name, pretrained=False)
    for parameter in model.parameters():  # so that no position or class token is zero
        parameter.data += 0.01
    place = hub / f"models--timm--{name}"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text("f00d")
    (place / "snapshots" / "f00d").mkdir(parents=True)
    save_file(model.state_dict(), place / "snapshots" / "f00d" / "model.safetensors")
    return model.eval()


def test_a_path_is_its_own(tmp_path: Path) -> None:
    assert weights_file(tmp_path / "w.pth") == tmp_path / "w.pth" and weights_file("w.pth") == Path("w.pth")
    assert placed("") == "" and placed("w.pth") == str(Path("w.pth").resolve()) and placed("timm:a.b") == "timm:a.b"


def test_published_weights_become_a_file_that_says_what_it_holds(hub: Path) -> None:
    model = publish(hub, RESNET)
    file = weights_file(f"timm:{RESNET}")
    assert file == weights_folder() / f"timm-{RESNET}.safetensors" and file.parent.name == "kept"
    assert own_word(file) == ResNet(18) == recognise(f"timm:{RESNET}")
    found = seen(f"timm:{RESNET}")
    assert found is not None and (found.side, found.resize, found.fixed) == (224, "bicubic", False)
    assert found.mean == timm.get_pretrained_cfg(RESNET).mean
    views = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        said = weights(f"timm:{RESNET}", device="cpu").network()(views).h
        expected = model.forward_head(model.forward_features(views), pre_logits=True)
    assert torch.allclose(said, expected, rtol=1e-5)  # ours computes channels last


def test_the_second_time_nothing_is_asked_of_the_hub(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(hub, RESNET)
    file = weights_file(f"timm:{RESNET}")
    monkeypatch.setattr(timm, "create_model", lambda *args, **more: pytest.fail("made again"))
    assert weights_file("timm:resnet18") == file  # the tag that timm takes by itself
    assert timm.get_pretrained_cfg("resnet18").tag == "a1_in1k"


def test_a_transformer_is_seen_at_a_usual_size_and_taken_at_others(hub: Path) -> None:
    model = publish(hub, VIT)
    assert own_word(weights_file(f"timm:{VIT}")) == Timm("vit_tiny_patch16_224")
    views = torch.rand(2, 3, 224, 224)
    with torch.no_grad():
        said = weights(f"timm:{VIT}", device="cpu").network()(views).h
        assert torch.allclose(said, model.forward_head(model.forward_features(views), pre_logits=True), atol=1e-5)


def test_of_a_network_for_larger_images_the_usual_size_and_where_it_is_from(hub: Path) -> None:
    name = "vit_tiny_patch16_384.augreg_in21k_ft_in1k"
    publish(hub, name)
    found = seen(f"timm:{name}")
    assert found is not None and found.side == 224
    told = " ".join(weights(f"timm:{name}", device="cpu").told)
    assert f"{name} as timm publishes it (licence apache-2.0; made for images of 384 pixels)" in told


def test_names_that_timm_does_not_have(hub: Path) -> None:
    with pytest.raises(ConfigError, match=r"timm has no model 'resnet19'.*near it: .*resnet18"):
        weights_file("timm:resnet19")
    with pytest.raises(ConfigError, match=r"no published weights of resnet18 with the tag 'mine'; there are a1_in1k"):
        weights_file("timm:resnet18.mine")
    with pytest.raises(ConfigError, match=r"timm has no model ''"):
        weights_file("timm:")
    bare = next(name for name in timm.list_models() if not timm.list_pretrained(f"{name}.*"))
    with pytest.raises(ConfigError, match=f"no published weights of {bare}$"):
        weights_file(f"timm:{bare}")


def test_a_part_of_a_name_is_told_the_names_that_have_it(hub: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        weights_file("timm:dinov2")
    told = str(refused.value)
    assert told.startswith("init: timm has no model 'dinov2'; with that in their names: vit_base_patch14_dinov2, "), (
        told
    )
    assert "vit_small_patch14_dinov2" in told and " … (" in told and "convnext" not in told
    assert told.endswith("""(python -c "import timm; print(timm.list_pretrained('*dinov2*'))" lists them)""")
    with pytest.raises(ConfigError, match=r"no model 'xyzzyq' \(python -c .*list_pretrained\(\)\)\" lists them\)$"):
        weights_file("timm:xyzzyq")


class Session:
    """In place of the client's: answers from its `good`th question on, and counts these."""

    def __init__(self, good: int) -> None:
        self.good, self.asked = good, 0

    def head(self, url: str, timeout: float) -> object:
        assert url.startswith("https://") and timeout == client.PATIENCE
        self.asked += 1
        if self.asked < self.good:
            raise OSError("Name or service not known")
        return object()


@pytest.fixture
def online(hub: Path, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A client that would use the network, and the pauses that are made."""
    paused: list[float] = []
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(client.time, "sleep", paused.append)
    return paused


def test_a_hub_that_does_not_answer_is_asked_three_times_and_its_client_not_at_all(
    hub: Path, online: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    session = Session(good=99)
    monkeypatch.setattr(huggingface_hub, "get_session", lambda: session)
    with pytest.raises(
        ConfigError, match=r"\(https://huggingface.co does not answer: Name or service not known\)\. Wh"
    ):
        weights_file(f"timm:{RESNET}")
    assert session.asked == 3 and online == [0.0, 1.0, 2.0]
    assert huggingface_hub.constants.HF_HUB_OFFLINE is False
    publish(hub, RESNET)  # what its client has kept needs no network
    assert weights_file(f"timm:{RESNET}").exists()


def test_a_hub_that_answers_late_is_downloaded_from_by_its_client(
    hub: Path, online: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    session, logger = Session(good=2), logging.getLogger("huggingface_hub")
    level = logger.level
    monkeypatch.setattr(huggingface_hub, "get_session", lambda: session)

    def create(*args: object, **more: object) -> None:
        assert huggingface_hub.constants.HF_HUB_OFFLINE is False
        assert not logging.getLogger("huggingface_hub.utils._http").isEnabledFor(logging.WARNING)
        raise OSError("cut off")

    monkeypatch.setattr(timm, "create_model", create)
    with pytest.raises(ConfigError, match=r"nor could they be downloaded \(cut off\)"):
        weights_file(f"timm:{RESNET}")
    assert session.asked == 2 and logger.level == level


@pytest.mark.usefixtures("typed")
def test_without_a_network_what_to_do_is_said_and_nothing_is_left(hub: Path) -> None:
    with pytest.raises(ConfigError, match=r"neither in .*kept nor could they be downloaded .*--out FOLDER"):
        weights_file(f"timm:{RESNET}")
    assert not weights_folder().exists()
    with pytest.raises(ConfigError, match="could they be downloaded"):
        evaluate.main(["--init", f"timm:{RESNET}", "--data", "x"])


@pytest.mark.slow
def test_a_run_starts_from_them_by_name_and_goes_on_without_them(
    hub: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = publish(hub, VIT)
    images, out = write_images(tmp_path / "images.npz", 64), tmp_path / "run"
    call = ["--data", str(images), "--out", str(out), "--init", f"timm:{VIT}", "--train.steps", "2"]
    call += ["--train.batch", "8", "--device", "cpu"]
    assert pretrain.main([*call, "--image-size", "32"]) == 0
    assert "(licence apache-2.0; made for images of 224 pixels)" in capsys.readouterr().err
    written = RunDir(out).written()
    assert written["run"]["init"] == f"timm:{VIT}" and written["init"]
    assert written["run"]["backbone"] == {"kind": "Timm", "name": "vit_tiny_patch16_224", "image": 32}
    assert written["run"]["policy"]["mean"] == list(timm.get_pretrained_cfg(VIT).mean)
    start = load_file(RunDir(out).start)
    assert torch.equal(start["body.blocks.3.mlp.fc1.weight"], model.state_dict()["blocks.3.mlp.fc1.weight"])
    assert pretrain.main([*call, "--image-size", "32", "--or-resume"]) == 0  # it is finished
    shutil.rmtree(weights_folder())
    shutil.rmtree(hub)
    assert evaluate.main([str(out), "--data", str(images), "--device", "cpu"]) == 0
    assert resume.main([str(out), "--device", "cpu"]) == 0


@pytest.mark.slow
def test_arms_of_a_comparison_may_start_from_them(hub: Path, tmp_path: Path) -> None:
    publish(hub, RESNET)
    images, out = write_images(tmp_path / "images.npz"), tmp_path / "grid"
    call = ["mocov3_cifar100_r18", "--data", str(images), "--out", str(out), "--seeds", "0", "--init"]
    call += [f"timm:{RESNET}", "--backbone.stem", "imagenet", "--vary", "residual.weight=0,1", "--device", "cpu"]
    assert compare.main([*call, "--train.epochs", "1", "--train.warmup-epochs", "0", "--train.batch", "8"]) == 0
    lines = read_lines(out / "cells.jsonl")
    assert [line["run"]["init"] for line in lines] == [f"timm:{RESNET}"] * 2
    assert lines[0]["init"] == lines[1]["init"] != ""


def test_what_is_fine_tuned_may_be_named_by_its_weights_alone(hub: Path, tmp_path: Path) -> None:
    publish(hub, RESNET)
    asked: list[Origin] = []

    def train(settings: object, origin: Origin, *more: object) -> Ended:
        asked.append(origin)
        return Ended(tmp_path, [], None)

    call = ["train", "--init", f"timm:{RESNET}", "--data", "x", "--out", str(tmp_path / "out"), "--quiet"]
    detect = replace(DETECT, work=lambda: replace(DETECT.work(), train=train))
    assert detect.main(call) == 0
    assert asked[0].backbone == ResNet(18) and asked[0].init == f"timm:{RESNET}" and asked[0].run is None


def test_a_run_past_its_start_asks_for_no_weights(hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = RunDir(tmp_path / "run")
    folder.last.parent.mkdir(parents=True)
    folder.last.touch()
    monkeypatch.setattr("resmom.runs.training.start.weights_file", lambda init: pytest.fail("asked for"))
    require_content(folder, {"run": {"init": f"timm:{RESNET}"}, "init": "0" * 16})


def test_the_hash_of_published_weights_is_of_their_tensors(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(hub, VIT)
    before = content_of(f"timm:{VIT}")
    weights_file(f"timm:{VIT}").unlink()
    monkeypatch.setattr("resmom.export.weights.VERSION", "99.0")
    assert content_of(f"timm:{VIT}") == before != ""
    assert b'"resmom_version":"99.0"' in weights_file(f"timm:{VIT}").read_bytes()


def test_whatever_the_hub_raises_is_a_sentence(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Odd(Exception):
        pass

    def broken(*args: object, **more: object) -> None:
        raise Odd("403 Forbidden")

    monkeypatch.setattr(timm, "create_model", broken)
    with pytest.raises(ConfigError, match=r"nor could they be downloaded \(403 Forbidden\)"):
        weights_file(f"timm:{RESNET}")


def test_a_name_that_ends_in_a_dot_has_no_tag(hub: Path) -> None:
    publish(hub, RESNET)
    assert weights_file("timm:resnet18.") == weights_file("timm:resnet18")


def test_an_export_of_them_keeps_their_licence_and_takes_any_size(hub: Path, tmp_path: Path) -> None:
    publish(hub, RESNET)
    weights(f"timm:{RESNET}", device="cpu").export(tmp_path / "out")
    file = str(tmp_path / "out" / "backbone-init.safetensors")
    found = seen(file)
    assert found is not None and not found.fixed and "licence apache-2.0" in origin_words(file)
