"""Segmentation end to end: mIoU that rises, a restart that changes no bit, both networks, and the words of refusals."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from resmom.checkpoint import load_checkpoint
from resmom.cli import main
from resmom.config import ConfigError
from resmom.data.errors import DataError
from resmom.errors import UserError
from resmom.evaluate import patchlinear
from resmom.evaluate.fcn import Fcn
from resmom.evaluate.patchlinear import PatchLinear
from resmom.jsonfiles import read_lines
from resmom.nets.backbones import MoCoViT, SmallResNet
from resmom.nets.segmenter import Segmenter
from resmom.runs.finetuned.segment import segment_evaluate, segment_resume, segment_train
from resmom.runs.finetuned.segment_tasks import told
from resmom.runs.finetuned.tuned import Ended
from resmom.runs.finetuned.tuning import Diverged
from resmom.runs.origin import Origin
from resmom.runs.pretrain import pretrain
from tests.runs.crash import QUIET, small_run, write_images
from tests.runs.scenes import tiny_fcn, tiny_linear, write_scenes
from tests.runs.stops import MACHINE, restart_changes_no_bit, state, stop_after

RANDOM = Origin(backbone=SmallResNet((8, 16)))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("scenes")
    write_scenes(root, "train", 16, 0)
    write_scenes(root, "test", 6, 1)
    return root


def train(config: Fcn | PatchLinear, place: Path, out: Path, origin: Origin = RANDOM) -> Ended:
    return segment_train(config, origin, [f"{place}:train"], [f"{place}:test"], out, MACHINE)


def weights(out: Path, name: str = "random") -> dict[str, torch.Tensor]:
    found = state(out, name)["model"]
    assert isinstance(found, dict)
    return found


@pytest.mark.slow
def test_the_fcn_learns(place: Path, tmp_path: Path) -> None:
    config = tiny_fcn(steps=60, batch=8, lr=0.1, measure_steps=30, segmenter=Segmenter(dilated=1, width=16))
    ended = train(config, place, tmp_path / "out", Origin(backbone=SmallResNet((8, 16, 32))))
    lines = [x for x in read_lines(tmp_path / "out/random/metrics.jsonl") if x["kind"] == "segmentation"]
    assert [line["step"] for line in lines] == [30, 60]
    assert lines[-1]["miou"] == ended.rows[0].scores["miou"] > 60
    assert ended.rows[0].protocol.startswith("segment-v1: head fcn") and "6 images" in ended.rows[0].protocol


@pytest.mark.slow
@pytest.mark.parametrize("backbone", [SmallResNet((8, 16)), MoCoViT("tiny", 32, 8)])
def test_the_linear_probe_learns(backbone: SmallResNet | MoCoViT, place: Path, tmp_path: Path) -> None:
    ended = train(tiny_linear(steps=12), place, tmp_path / "out", Origin(backbone=backbone))
    (row,) = ended.rows
    assert row.scores["miou"] > 40 and row.step == 24
    judged = row.scores["held_out_miou"]
    assert max(judged, key=judged.get) == f"{row.scores['lr']:g}" and row.scores["at_edge"]
    assert f"lr {row.scores['lr']:g} chosen at the edge of the grid by mIoU on 0.2" in row.protocol
    # The backbone has not moved, nor have the heads that were tried after the choice.
    lines = [x for x in read_lines(tmp_path / "out/random/metrics.jsonl") if x["kind"] == "train"]
    assert {"loss/tried", "loss/chosen"} <= {key for line in lines for key in line}


@pytest.mark.slow
@pytest.mark.parametrize("config", [tiny_fcn(steps=7, measure_steps=3), tiny_linear()], ids=["fcn", "linear"])
def test_a_restart_changes_no_bit(
    config: Fcn | PatchLinear, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped between two checkpoints (a kill) and by a signal; weights, optimiser and metrics end the same."""
    restart_changes_no_bit(lambda out: train(config, place, out), segment_resume, tmp_path, monkeypatch)


@pytest.mark.slow
def test_features_are_the_same_whether_kept_or_not(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(tiny_linear(), place, tmp_path / "kept")
    monkeypatch.setattr(patchlinear, "KEPT_BYTES", 0)
    train(tiny_linear(), place, tmp_path / "anew")
    one, other = weights(tmp_path / "kept"), weights(tmp_path / "anew")
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_a_probe_is_not_measured_before_its_choice(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_after(2, monkeypatch)
    assert train(tiny_linear(), place, tmp_path / "out").interrupted_by == 15
    with pytest.raises(UserError, match="before a learning rate was chosen; continue it"):
        segment_evaluate(tmp_path / "out", [], MACHINE)


@pytest.mark.slow
def test_student_and_teacher_of_a_run(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command line, on a run: both networks and random weights, each begun from what it says."""
    images = write_images(tmp_path / "images.npz")
    pretrain(small_run(epochs=2), str(images), tmp_path / "run", QUIET)
    out = tmp_path / "out"
    call = ["segment", "train", str(tmp_path / "run"), "--data", f"{place}:train", "--test", f"{place}:test"]
    call += ["--out", str(out), "--random", "--device", "cpu", "--quiet", "--workers", "0"]
    settings = ["--steps", "1", "--batch", "4", "--crop", "40", "--side", "0", "--lr", "1e-12", "--min-lr", "0"]
    assert run_cli([*call, *settings, "--segmenter.width", "8"]) == 0
    said = capsys.readouterr().out
    assert [line.split()[0] for line in said.splitlines()[:3]] == ["student", "teacher", "random"]
    assert "IoU by class" in said and "segment-v1: head fcn" in said
    run = load_checkpoint(tmp_path / "run/checkpoints/last.pt")["state"]
    for name in ("student", "teacher"):
        there = weights(out, name)["body.stem.0.weight"]
        torch.testing.assert_close(there, run[name]["backbone.body.layers.0.weight"], rtol=0, atol=1e-9)
    assert not torch.equal(weights(out, "student")["body.stem.0.weight"], weights(out)["body.stem.0.weight"])
    # All begin with the same new layers.
    head = "head.classifier.weight"
    torch.testing.assert_close(weights(out, "student")[head], weights(out)[head], rtol=0, atol=1e-9)

    assert run_cli(["segment", "evaluate", str(out), "--json", "--device", "cpu"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["network"] for row in rows] == ["student", "teacher", "random"]
    last = [x for x in read_lines(out / "student/metrics.jsonl") if x["kind"] == "segmentation"][-1]
    assert rows[0]["miou"] == last["miou"] and set(rows[0]["per_class"]) == {"ground", "red", "green"}
    assert len(read_lines(out / "evaluations.jsonl")) == 3

    call[call.index(str(out))] = str(tmp_path / "linear")
    linear = ["--recipe", "patch_linear", "--network", "student", "--lrs", "0.1", "--steps", "2", "--batch", "4"]
    assert run_cli([*call, *linear]) == 0
    said = capsys.readouterr().out
    assert "patch-linear-v1" in said and [line.split()[0] for line in said.splitlines()[:2]] == ["student", "random"]
    kept = weights(tmp_path / "linear", "student")["backbone.body.layers.0.weight"]
    assert torch.equal(kept, run["student"]["backbone.body.layers.0.weight"])
    assert run_cli(["segment", "resume", str(tmp_path / "linear"), "--quiet"]) == 0


def run_cli(arguments: list[str]) -> int:
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as ended:
        patch.setattr("sys.argv", ["resmom", *arguments])
        main()
    return int(ended.value.code or 0)


@pytest.mark.usefixtures("typed")
@pytest.mark.slow
def test_refusals(place: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"

    def refused(words: str, config: Fcn | PatchLinear, origin: Origin = RANDOM) -> None:
        with pytest.raises(UserError, match=words):
            train(config, place, out, origin)
        assert not out.exists()

    refused("give a RUN, or --init FILE for weights", tiny_fcn(), Origin())
    refused("only ResNets have here.*--recipe patch_linear", tiny_fcn(), Origin(backbone=MoCoViT("tiny", 32)))
    refused("--segmenter.dilated can be 0 to 1", tiny_fcn(segmenter=Segmenter(dilated=2)))
    refused("16 images cannot fill a batch of 17", tiny_fcn(batch=17))
    refused("13 images cannot fill a batch of 14", tiny_linear(batch=14))
    refused("--lrs must be one or more rates above 0", tiny_linear(lrs=()))
    refused("--crop must be 32 pixels or more", tiny_fcn(crop=8))
    refused("--side must be 32 pixels or more", tiny_fcn(side=9))
    refused("--min-lr in 0 … lr", tiny_fcn(lr=1e-5))
    train(tiny_fcn(steps=1), place, out)
    with pytest.raises(UserError, match="already holds segmentation networks; continue with `resmom segment resume"):
        train(tiny_fcn(steps=1), place, out)
    with pytest.raises(UserError, match=r"no segment\.json"):
        segment_evaluate(place)


@pytest.mark.usefixtures("typed")
@pytest.mark.parametrize(
    ("words", "config"),
    [
        (r"--seed must be in \[0, 2\^32\); got -1", tiny_fcn(seed=-1)),
        (r"--seed must be in \[0, 2\^32\); got 4294967296", tiny_linear(seed=2**32)),
        ("--weight-decay, --clip and --measure-steps must be 0 or more; got -1, 10, 0", tiny_fcn(weight_decay=-1.0)),
        ("--weight-decay, --clip and --measure-steps must be 0 or more", tiny_fcn(clip=-1.0)),
        ("--weight-decay, --clip and --measure-steps must be 0 or more", tiny_fcn(measure_steps=-5)),
        (r"--flip and --distort must be in \[0, 1\]", tiny_fcn(flip=2.0)),
        (r"--flip and --distort must be in \[0, 1\]", tiny_fcn(distort=-0.5)),
    ],
)
def test_numbers_that_cannot_train(words: str, config: Fcn | PatchLinear, place: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=words):
        train(config, place, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("typed")
def test_one_place_of_one_image_is_too_little_for_batch_norm(place: Path, tmp_path: Path) -> None:
    deep = Origin(backbone=SmallResNet((4,) * 5))  # stride 32
    config = tiny_fcn(steps=1, batch=1, crop=32, segmenter=Segmenter(dilated=0, width=8))
    with pytest.raises(ConfigError, match=r"a crop of 32 pixels its last map has one place.*take --crop above 32"):
        train(config, place, tmp_path / "out", deep)
    assert not (tmp_path / "out").exists()
    assert train(replace(config, crop=40), place, tmp_path / "wider", deep).rows[0].step == 1


def test_classes_that_nothing_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = write_scenes(tmp_path, "train", 4, 0)
    (tmp_path / "classes.txt").unlink()
    for quiet, said in ((True, ""), (False, "nothing names the 4 classes, so that every number of the masks but 255")):
        machine = replace(MACHINE, quiet=quiet)
        segment_train(tiny_fcn(steps=1), RANDOM, [place], [], tmp_path / f"out-{quiet}", machine)
        assert capsys.readouterr().err.startswith(said) and quiet == (said == "")


def test_changed_masks_are_noticed(tmp_path: Path) -> None:
    places = [write_scenes(tmp_path, "train", 5, 0)]
    segment_train(tiny_fcn(steps=1), RANDOM, places, [], tmp_path / "out", MACHINE)
    with pytest.raises(DataError, match="without test images"):
        segment_evaluate(tmp_path / "out", [], MACHINE)
    masks = tmp_path / "trainannot"
    (masks / "000.png").write_bytes((masks / "001.png").read_bytes())
    with pytest.raises(DataError, match="images or masks are not those"):
        segment_resume(tmp_path / "out", MACHINE)


@pytest.mark.usefixtures("typed")
def test_changed_test_masks_are_noticed(place: Path, tmp_path: Path) -> None:
    test = write_scenes(tmp_path, "test", 4, 1)
    segment_train(tiny_fcn(steps=1), RANDOM, [f"{place}:train"], [test], tmp_path / "out", MACHINE)
    masks = tmp_path / "testannot"
    (masks / "000.png").write_bytes((masks / "001.png").read_bytes())
    with pytest.raises(DataError, match="test images or their masks are not those"):
        segment_resume(tmp_path / "out", MACHINE)
    with pytest.raises(DataError, match="--data DATA"):
        segment_evaluate(tmp_path / "out", [], MACHINE)
    assert len(segment_evaluate(tmp_path / "out", [test], MACHINE)) == 1


def test_an_image_cut_short_is_named(tmp_path: Path) -> None:
    places = [write_scenes(tmp_path, "train", 4, 0)]
    whole = (tmp_path / "train/002.png").read_bytes()
    (tmp_path / "train/002.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"002\.png cannot be read: the file is cut short"):
        segment_train(tiny_fcn(steps=1), RANDOM, places, [], tmp_path / "out", MACHINE)


@pytest.mark.slow
def test_the_folder_can_be_moved_with_relative_data(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    segment_train(tiny_fcn(steps=1), RANDOM, ["train:./trainannot"], [".:test"], tmp_path / "out", MACHINE)
    monkeypatch.chdir(tmp_path)
    rows = segment_evaluate(Path("out"), [], MACHINE)
    assert rows[0].protocol.endswith(":test, 6 images")
    assert segment_resume(Path("out"), MACHINE).rows[0].scores == rows[0].scores


@pytest.mark.slow
def test_the_choice_is_that_of_the_best_rate(place: Path, tmp_path: Path) -> None:
    """A rate that hardly moves loses against one that learns, in whatever order they stand."""
    for lrs in ((1e-9, 0.3), (0.3, 1e-9)):
        out = tmp_path / str(lrs[0])
        row = train(tiny_linear(lrs=lrs, steps=8), place, out).rows[0]
        assert row.scores["lr"] == 0.3
    assert told(row.scores).startswith("mIoU ")


@pytest.mark.usefixtures("typed")
@pytest.mark.slow
def test_a_rate_that_is_not_finite_names_the_option_of_the_probe(place: Path, tmp_path: Path) -> None:
    with pytest.raises(
        Diverged, match=r"not been finite for 20 steps; leave the highest of --lrs out, .*--lrs 1e\+38 "
    ):
        train(tiny_linear(lrs=(1e38, 0.1), steps=40), place, tmp_path / "out")
