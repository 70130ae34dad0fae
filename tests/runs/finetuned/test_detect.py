"""Detection end to end: AP that rises, a restart that changes no bit, both networks, and the words of refusals."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from resmom.checkpoint import load_checkpoint
from resmom.cli import main
from resmom.config import ConfigError
from resmom.data.errors import DataError
from resmom.errors import UserError
from resmom.evaluate.detection import Detect
from resmom.jsonfiles import read_lines
from resmom.nets import backbones
from resmom.nets.backbones import DinoViT, MoCoViT, ResNet, SmallResNet, Timm, build_backbone
from resmom.nets.detector import Detector
from resmom.rundir import RunDir
from resmom.runs.finetuned import detect, tuning
from resmom.runs.finetuned.detect import Detection, detect_evaluate, detect_resume, detect_train
from resmom.runs.finetuned.detection_record import detection_record
from resmom.runs.finetuned.tuned import Ended
from resmom.runs.machine import Machine
from resmom.runs.origin import Origin
from resmom.runs.pretrain import pretrain
from tests.runs.crash import QUIET, small_run, write_images
from tests.runs.rectangles import tiny, write_rectangles
from tests.runs.stops import MACHINE, restart_changes_no_bit

RANDOM = Origin(backbone=SmallResNet((8, 16)))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("rectangles")
    write_rectangles(root / "train", 24, 0)
    write_rectangles(root / "test", 10, 1)
    return root


def train(config: Detect, place: Path, out: Path, origin: Origin = RANDOM) -> Ended:
    return detect_train(config, origin, [str(place / "train")], [str(place / "test")], out, MACHINE)


def weights(out: Path, name: str = "random") -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = load_checkpoint(RunDir(out / name).last)["state"]["model"]
    return found


@pytest.mark.slow
@pytest.mark.parametrize(("form", "every", "final"), [("fpn", 40, 60), ("c4", 15, 40)])
def test_average_precision_rises(form: str, every: int, final: float, place: Path, tmp_path: Path) -> None:
    detector = replace(tiny().detector, form=form, anchor=6.0)
    pace = {"steps": 6 * every, "measure_steps": every, "save_steps": 6 * every, "warmup_steps": 10}
    config = tiny(detector=detector, batch=4, lr=0.05, **pace)
    origin = Origin(backbone=SmallResNet((16, 32, 64)))
    ended = train(config, place, tmp_path / "out", origin)
    lines = [x for x in read_lines(tmp_path / "out/random/metrics.jsonl") if x["kind"] == "detection"]
    assert [line["step"] for line in lines] == [every * n for n in range(1, 7)]
    # Processors round differently, and so early a score differs by tens of points between them; the rise does not.
    assert lines[-1]["ap50"] > lines[0]["ap50"] + 30
    assert lines[-1]["ap50"] > final
    assert ended.rows[0].scores["ap50"] == lines[-1]["ap50"]
    assert min(lines[-1]["per_class"].values()) > 10


@pytest.mark.slow
@pytest.mark.parametrize("form", ["fpn", "c4", "retina"])
def test_a_restart_changes_no_bit(form: str, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped between two checkpoints (a kill) and by a signal; weights, optimiser and metrics end the same."""
    config = tiny(detector=replace(tiny().detector, form=form), steps=7, measure_steps=3)
    restart_changes_no_bit(lambda out: train(config, place, out), detect_resume, tmp_path, monkeypatch)


@pytest.mark.slow
def test_batch_statistics_are_estimated_before_every_measurement(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At steps 3, 6 and 7, the same after a restart; a folder that was stopped at step 5 has running ones."""
    said = "BatchNorm's statistics estimated anew on 2 training batches"
    config = tiny(detector=replace(tiny().detector, form="c4"), steps=7, measure_steps=3, precise_bn=2)
    stopped = []

    def resume(out: Path, machine: Machine) -> Ended:
        stopped.extend(detect_evaluate(out, [], MACHINE))
        return detect_resume(out, machine)

    restart_changes_no_bit(lambda out: train(config, place, out), resume, tmp_path, monkeypatch)
    monkeypatch.undo()
    lines = [x for x in read_lines(tmp_path / "parts/random/metrics.jsonl") if x["kind"] == "detection"]
    assert [line["step"] for line in lines] == [3, 6, 7] and all(said in line["protocol"] for line in lines)
    assert [row.step for row in stopped[:2]] == [2, 5] and not any(said in row.protocol for row in stopped[:2])
    (row,) = detect_evaluate(tmp_path / "parts", [], MACHINE)
    assert said in row.protocol and row.scores["ap50"] == lines[-1]["ap50"]
    train(replace(config, precise_bn=0), place, tmp_path / "running")
    one, other = weights(tmp_path / "parts"), weights(tmp_path / "running")
    differ = {name.rpartition(".")[2] for name, value in one.items() if not torch.equal(value, other[name])}
    assert differ == {"running_mean", "running_var"}


VIT = Origin(backbone=DinoViT("tiny", 64, drop_path=0.1))


@pytest.mark.slow
@pytest.mark.usefixtures("small_transformers")
def test_a_restart_of_a_vision_transformer_changes_no_bit(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its paths that are dropped at random are functions of the step, too."""
    config = tiny(steps=7, measure_steps=3, optim="adamw", lr=1e-3, layer_decay=0.7)
    restart_changes_no_bit(lambda out: train(config, place, out, VIT), detect_resume, tmp_path, monkeypatch)
    (row,) = detect_evaluate(tmp_path / "parts", [], MACHINE)
    assert "fpn, LayerNorm, all layers" in row.protocol and "AdamW, layer decay 0.7, lr 0.001" in row.protocol
    facts = dict(detection_record(tmp_path / "parts", "parts", [], False).facts)
    assert facts["detector"].endswith("LayerNorm") and facts["rate"].endswith("AdamW, layer decay 0.7")


@pytest.mark.slow
def test_a_vision_transformer_learns_the_boxes_that_it_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From random weights, which need more images than this for others."""
    monkeypatch.setitem(backbones.VIT, "tiny", (64, 3, 2))  # large enough for eight images
    shown = [str(write_rectangles(tmp_path / "shown", 8, 0))]
    config = tiny(steps=100, batch=8, save_steps=100, warmup_steps=10, drops=(0.8,), flip=0.0, sides=(64,))
    config = replace(config, optim="adamw", lr=2e-3, layer_decay=0.9, weight_decay=0.05, clip=1.0)
    origin = Origin(backbone=DinoViT("tiny", 64))
    (row,) = detect_train(config, origin, shown, shown, tmp_path / "out", MACHINE).rows
    assert row.scores["ap50"] > 50


@pytest.mark.usefixtures("typed")
@pytest.mark.slow
def test_a_step_that_is_not_finite_moves_nothing(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(tiny(steps=1), place, tmp_path / "one")
    original = detect.loss_terms

    def broken(model: torch.nn.Module, *rest: object) -> dict[str, torch.Tensor]:
        terms = original(model, *rest)  # type: ignore[arg-type]
        return {name: value * float("nan") for name, value in terms.items()} if rest[-1] else terms

    monkeypatch.setattr(detect, "loss_terms", broken)
    # A schedule of three steps gives the first one the same rate: no drop before the end, warm-up of two.
    train(tiny(steps=3, drops=(1.0,)), place, tmp_path / "three")
    before, after = weights(tmp_path / "one"), weights(tmp_path / "three")
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    monkeypatch.setattr(tuning, "SKIPS", 2)
    with pytest.raises(tuning.Diverged, match="lower --lr"):
        train(tiny(steps=4), place, tmp_path / "four")


@pytest.mark.slow
def test_student_and_teacher_of_a_run(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command line, on a run: both networks and random weights, each begun from what it says."""
    images = write_images(tmp_path / "images.npz")
    pretrain(small_run(epochs=2), str(images), tmp_path / "run", QUIET)
    out = tmp_path / "out"
    options = [
        "--steps",
        "2",
        "--batch",
        "4",
        "--sides",
        "48",
        "--test-side",
        "48",
        "--save-steps",
        "1",
        "--workers",
        "0",
    ]
    options += ["--device", "cpu", "--quiet", "--detector.width", "16", "--random", "--lr", "1e-12"]
    call = ["detect", "train", str(tmp_path / "run"), "--data", str(place / "train"), "--test", str(place / "test")]
    assert run_cli([*call, "--out", str(out), *options]) == 0
    said, complaint = capsys.readouterr()
    assert complaint == ""  # --quiet, though the warm-up is longer than the training
    assert [line.split()[0] for line in said.splitlines()[:3]] == ["student", "teacher", "random"]
    assert "AP by class" in said and "VOC07 AP50 by class" in said and "detect-v1: fpn" in said
    state = load_checkpoint(tmp_path / "run/checkpoints/last.pt")["state"]
    stem = "body.stem.0.weight"
    for name in ("student", "teacher"):
        there = weights(out, name)[f"backbone.{stem}"]
        torch.testing.assert_close(there, state[name]["backbone.body.layers.0.weight"], rtol=0, atol=1e-9)
    assert not torch.equal(weights(out, "student")["backbone." + stem], weights(out, "random")["backbone." + stem])
    # A teacher's parameters come without gradients, and are trained here like any other.
    sizes = [load_checkpoint(RunDir(out / name).last)["state"]["optimizer"]["state"] for name in ("student", "teacher")]
    assert len(sizes[0]) == len(sizes[1]) > 0
    # All begin with the same new layers.
    head = "roi_heads.box_predictor.cls_score.weight"
    torch.testing.assert_close(weights(out, "student")[head], weights(out, "random")[head], rtol=0, atol=1e-9)

    assert run_cli(["detect", "evaluate", str(out), "--json", "--device", "cpu"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["network"] for row in rows] == ["student", "teacher", "random"]
    assert {row["step"] for row in rows} == {2}
    last = [x for x in read_lines(out / "student/metrics.jsonl") if x["kind"] == "detection"][-1]
    assert rows[0]["ap"] == last["ap"]
    assert len(read_lines(out / "evaluations.jsonl")) == 3
    assert run_cli(["detect", "evaluate", str(out), "--data", str(place / "train")]) == 0

    for name in ("student", "teacher", "random"):  # as an older version wrote it
        file = out / name / "metrics.jsonl"
        older = [{k: v for k, v in x.items() if k != "voc07_ap50_per_class"} for x in read_lines(file)]
        file.write_text("".join(json.dumps(x) + "\n" for x in older))
    capsys.readouterr()
    assert run_cli(["detect", "resume", str(out), "--device", "cpu", "--quiet"]) == 0
    said = capsys.readouterr().out
    assert "AP by class" in said and "VOC07 AP50 by class" not in said
    ended = f"finished: {out}\nlook at it with:\n  resmom report {out} --out report.html\n"
    assert said.endswith(f"{ended}run it on other images with:\n  resmom predict {out} --data PHOTOS --out DIR\n")
    assert run_cli(["evaluate", str(out)]) == 2
    assert f"{out} holds detectors, not a run; it is for `resmom detect resume`" in capsys.readouterr().err
    assert run_cli(["detect", "train", str(tmp_path / "run"), "--out", str(out)]) == 2
    assert "name --data (" in capsys.readouterr().err


def run_cli(arguments: list[str]) -> int:
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as ended:
        patch.setattr("sys.argv", ["resmom", *arguments])
        main()
    return int(ended.value.code or 0)


@pytest.mark.slow
def test_weights_of_a_file(place: Path, tmp_path: Path) -> None:
    backbone = build_backbone(SmallResNet())
    save_file(backbone.body.state_dict(), tmp_path / "w.safetensors")
    origin = Origin(backbone=SmallResNet(), init=str(tmp_path / "w.safetensors"), random=True)
    train(tiny(steps=1, lr=1e-12), place, tmp_path / "out", origin)
    got = weights(tmp_path / "out", "init")["backbone.body.stem.0.weight"]
    torch.testing.assert_close(got, backbone.body.state_dict()["layers.0.weight"], rtol=0, atol=1e-9)
    assert (tmp_path / "out/random/checkpoints/last.pt").exists()


@pytest.mark.usefixtures("typed")
@pytest.mark.slow
def test_refusals(place: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"

    def refused(words: str, origin: Origin = RANDOM, **changes: object) -> None:
        with pytest.raises(UserError, match=words):
            train(tiny(**changes), place, out, origin)
        assert not out.exists()

    refused("give a RUN, or --init FILE for weights", Origin())
    refused("give a RUN, or --init FILE for weights", Origin(run=tmp_path, backbone=ResNet()))
    refused(
        r"^random \(timm:vit_tiny_patch16_224\) cannot become a detector: .* this backbone is neither",
        Origin(backbone=Timm("vit_tiny_patch16_224", 32)),
    )
    refused("a Vision Transformer has no stages", Origin(backbone=MoCoViT("tiny", 32)), detector=Detector("c4"))
    refused("--layer-decay is for Vision Transformers", optim="adamw", layer_decay=0.7)
    refused("below 1 it goes with --optim adamw; got 0.7 with sgd", layer_decay=0.7)
    refused("small_pad2", Origin(backbone=ResNet(18, "small_pad2")))
    refused("random weights have no batch statistics", detector=Detector(norm="frozen"))
    vit = Origin(backbone=MoCoViT("tiny", 32))
    refused("a Vision Transformer has no BatchNorm that could stay frozen", vit, detector=Detector(norm="frozen"))
    refused("c4 needs two stages", Origin(backbone=SmallResNet((8,))), detector=Detector("c4"))
    refused("24 images cannot fill a batch of 25", batch=25)
    refused("shares of the steps", drops=(18000.0,))
    refused("--longest no less", longest=60)
    train(tiny(steps=1), place, out)
    with pytest.raises(UserError, match="continue with `resmom detect resume"):
        train(tiny(steps=1), place, out)
    with pytest.raises(UserError, match=r"no detect\.json"):
        detect_evaluate(place)


@pytest.mark.usefixtures("typed")
@pytest.mark.parametrize(
    ("words", "changes"),
    [
        (r"--seed must be in \[0, 2\^32\); got -1", {"seed": -1}),
        (r"--seed must be in \[0, 2\^32\); got 4294967296", {"seed": 2**32}),
        ("--weight-decay and --clip must be 0 or more", {"weight_decay": -1.0}),
        ("--weight-decay and --clip must be 0 or more", {"clip": -1.0}),
        (r"--flip in \[0, 1\]; got 0.0001, 10, 2$", {"flip": 2.0}),
        ("--measure-steps and --precise-bn 0 or more", {"measure_steps": -5}),
        ("--detector.width, .* must be 1 or more", {"detector": Detector(width=0)}),
        ("must be 1 or more, --detector.anchor above 0; got 256, 0, 1000, 512, 8$", {"detector": Detector(hidden=0)}),
        ("--detector.proposals and", {"detector": Detector(proposals=0)}),
        ("--detector.samples must be 1 or more", {"detector": Detector(samples=0)}),
        ("--detector.anchor above 0", {"detector": Detector(anchor=0.0)}),
        ("--detector.anchor above 0", {"detector": Detector(anchor=-1.0)}),
    ],
)
def test_numbers_that_cannot_train(words: str, changes: dict[str, object], place: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=words):
        train(tiny(steps=1, **changes), place, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_changed_boxes_are_noticed(tmp_path: Path) -> None:
    write_rectangles(tmp_path / "train", 6, 0)
    config, places = tiny(steps=1), [str(tmp_path / "train")]
    detect_train(config, RANDOM, places, [], tmp_path / "out", MACHINE)
    with pytest.raises(DataError, match="without test images"):
        detect_evaluate(tmp_path / "out", [], MACHINE)
    (tmp_path / "train/Annotations/000.xml").unlink()
    (tmp_path / "train/JPEGImages/000.png").unlink()
    with pytest.raises(DataError, match="not those"):
        detect_resume(tmp_path / "out", MACHINE)


def test_an_unreadable_test_image_is_told_before_the_first_step(place: Path, tmp_path: Path) -> None:
    test = write_rectangles(tmp_path / "test", 4, 1)
    (test / "JPEGImages/002.png").write_bytes((test / "JPEGImages/002.png").read_bytes()[:60])
    with pytest.raises(DataError, match=r"002\.png cannot be read: .*; replace it or take it out of the data$"):
        detect_train(tiny(steps=1), RANDOM, [str(place / "train")], [str(test)], tmp_path / "out", MACHINE)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("part", ["train", "test"])
def test_an_image_of_another_size_than_its_boxes_is_told_before_the_first_step(part: str, tmp_path: Path) -> None:
    places = {name: write_rectangles(tmp_path / name, 4, 0) for name in ("train", "test")}
    file = places[part] / "Annotations/002.xml"
    file.write_text(file.read_text().replace("<height>64<", "<height>66<"))
    with pytest.raises(DataError, match=r"002\.png has 64 x 64 pixels, but its boxes are for 64 x 66"):
        train(tiny(steps=1), tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_an_unreadable_training_image_costs_no_step(tmp_path: Path) -> None:
    places = [str(write_rectangles(tmp_path / "train", 6, 0))]
    whole = detect_train(tiny(steps=6, batch=2, save_steps=6), RANDOM, places, [], tmp_path / "whole", MACHINE)
    photo = tmp_path / "train/JPEGImages/003.png"
    kept = photo.read_bytes()
    photo.write_bytes(kept[:60])
    out = tmp_path / "out"
    with pytest.raises(DataError, match=r"003\.png cannot be read.* \d steps of random are saved: once it is mended, "):
        detect_train(tiny(steps=6, batch=2, save_steps=6), RANDOM, places, [], out, MACHINE)
    photo.write_bytes(kept)
    assert detect_resume(out, MACHINE).interrupted_by is whole.interrupted_by is None
    for name, value in weights(tmp_path / "whole").items():
        assert torch.equal(value, weights(out)[name]), name


def test_killed_in_the_last_measurement_only_that_is_done_again(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, out = tiny(steps=2, save_steps=0, measure_steps=0), tmp_path / "out"

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(tuning, "measured", killed)
        train(config, place, out)
    monkeypatch.setattr(tuning, "_step", killed)
    row = detect_resume(out, MACHINE).rows[0]
    assert row.step == 2
    noted = [line for line in read_lines(out / "random/metrics.jsonl") if line["kind"] == "detection"]
    assert [line["ap"] for line in noted] == [row.scores["ap"]]
    assert detect_resume(out, MACHINE).rows == [row]


@pytest.mark.slow
@pytest.mark.parametrize("what", ["measured", "settle"])
def test_a_measurement_that_did_not_come_to_its_end_is_made_by_the_restart(
    what: str, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in that of step 2, or ended in the estimate of BatchNorm's statistics before it by a bad image."""
    detector = replace(tiny().detector, form="c4")
    config = tiny(detector=detector, steps=3, measure_steps=2, save_steps=2, precise_bn=1)
    whole, out = tmp_path / "whole", tmp_path / "out"
    train(config, place, whole)
    error = KeyboardInterrupt if what == "measured" else DataError

    def ended(*_: object) -> None:
        raise error

    with monkeypatch.context() as patch, pytest.raises(error):
        patch.setattr(*((tuning, "measured", ended) if what == "measured" else (Detection, "settle", ended)))
        train(config, place, out)
    assert load_checkpoint(RunDir(out / "random").last)["state"]["step"] == 2
    detect_resume(out, MACHINE)
    one, other = (
        [x for x in read_lines(folder / "random/metrics.jsonl") if x["kind"] == "detection"] for folder in (whole, out)
    )
    assert [line["step"] for line in other] == [2, 3] and one == other
    assert all(torch.equal(value, weights(out)[name]) for name, value in weights(whole).items())


def test_a_part_stays_a_name_where_a_folder_is_called_so(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a folder that was begun when it did not can be continued."""
    data = write_rectangles(tmp_path / "data", 4, 0)
    (data / "ImageSets/Main").mkdir(parents=True)
    (data / "ImageSets/Main/some.txt").write_text("000\n001\n002\n003\n")
    (tmp_path / "here/some").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    out = tmp_path / "out"
    first = detect_train(tiny(steps=1), RANDOM, ["../data:some"], ["../data:some"], out, MACHINE).rows
    written = json.loads((out / "detect.json").read_text())
    assert written["data"] == written["test"] == [f"{data}:some"]
    older = [f"{data}:{tmp_path}/here/some"]
    (out / "detect.json").write_text(json.dumps(written | {"data": older, "test": older}))
    assert detect_resume(out, MACHINE).rows == first
    assert detect_evaluate(out, [], MACHINE)[0].scores == first[0].scores


@pytest.mark.usefixtures("typed")
def test_changed_test_photos_are_noticed(place: Path, tmp_path: Path) -> None:
    """The same names and boxes, but another file: what is finished is not mixed with what is measured now."""
    test = write_rectangles(tmp_path / "test", 4, 1)
    detect_train(tiny(steps=1), RANDOM, [str(place / "train")], [str(test)], tmp_path / "out", MACHINE)
    assert json.loads((tmp_path / "out/detect.json").read_text())["test_digest"] is not None
    photo = test / "JPEGImages/002.png"
    photo.write_bytes((place / "train/JPEGImages/002.png").read_bytes())
    with pytest.raises(DataError, match=r"test images or their boxes are not those .* start anew"):
        detect_resume(tmp_path / "out", MACHINE)
    with pytest.raises(DataError, match=r"are not those .* say that these are meant: --data DATA"):
        detect_evaluate(tmp_path / "out", [], MACHINE)
    assert len(detect_evaluate(tmp_path / "out", [str(test)], MACHINE)) == 1


@pytest.mark.slow
def test_the_detect_folder_can_be_moved_with_relative_data(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    detect_train(tiny(steps=1), RANDOM, ["train"], ["test"], tmp_path / "out", MACHINE)
    monkeypatch.chdir(tmp_path)
    rows = detect_evaluate(Path("out"), [], MACHINE)
    assert np.isfinite(rows[0].scores["ap"]) and rows[0].protocol.endswith("test, 10 images")
