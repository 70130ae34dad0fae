"""A folder of segmentation networks in a report: what is gathered, what is kept private, and photos that are gone."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resmom.errors import UserError
from resmom.evaluate.fcn import Fcn
from resmom.evaluate.patchlinear import PatchLinear
from resmom.nets.backbones import SmallResNet
from resmom.runs.finetuned.segment import WORDS, segment_evaluate, segment_train
from resmom.runs.finetuned.segmentation_record import segmentation_record
from resmom.runs.finetuned.tuned_record import TunedFolder
from resmom.runs.origin import Origin
from resmom.runs.reporting.report import report
from tests.runs.scenes import tiny_fcn, tiny_linear, write_scenes
from tests.runs.stops import MACHINE, stop_after

ORIGIN = Origin(backbone=SmallResNet((8, 16)))


def train(config: Fcn | PatchLinear, root: Path, out: Path) -> Path:
    segment_train(config, ORIGIN, [f"{root}:train"], [f"{root}:test"], out, MACHINE)
    return out


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Coloured areas; the first three test images are of one class, and all void but for a corner."""
    root = tmp_path_factory.mktemp("scenes")
    write_scenes(root, "train", 12, 0)
    write_scenes(root, "test", 16, 1)
    for number in range(3):
        mask = np.full((48, 64), 3, dtype=np.uint8)
        mask[:8, :8] = 1
        Image.fromarray(mask).save(root / f"testannot/{number:03d}.png")
    return root


@pytest.fixture(scope="module")
def fcn(scenes: Path) -> Path:
    return train(tiny_fcn(steps=20, batch=8, lr=0.1, measure_steps=10), scenes, scenes / "fcn")


@pytest.fixture(scope="module")
def linear(scenes: Path) -> Path:
    return train(tiny_linear(), scenes, scenes / "linear")


def test_what_is_gathered(fcn: Path) -> None:
    record = segmentation_record(fcn, "fcn", [], True)
    assert record.no_photos == "" and record.steps == 20
    (network,) = record.networks
    assert (network.name, network.step, network.words) == ("random", 20, "random weights, seed 0")
    (scores,) = record.measured.values()
    assert scores["random"]["step"] == 20 and set(scores["random"]["per_class"]) == {"ground", "red", "green"}
    # Of sixteen photos twelve of the thirteen with several classes, and what is drawn is judged as it is measured.
    assert len(record.photos) == 12 and all(len(photo.truth.parts) > 1 for photo in record.photos)
    for photo in record.photos:
        (said,) = photo.said
        assert photo.aspect == 64 / 48 and said.right is not None and 0 <= said.right <= 100
        assert photo.truth.right is None and photo.truth.void == pytest.approx(100 * 2 / 64) and said.void == 0
        assert sum(part.share for part in photo.truth.parts) == pytest.approx(100 - photo.truth.void)
        assert [part.share for part in said.parts] == sorted((p.share for p in said.parts), reverse=True)
        assert {part.name: part.colour for part in photo.truth.parts}.items() <= {
            "ground": 0,
            "red": 1,
            "green": 2,
        }.items()
    facts = dict(record.facts)
    assert facts["network"].startswith("FCN") and facts["tested on"].endswith(":test") and "/test" not in str(facts)
    assert facts["rate"] == "0.1, falling to 0.0001 as (1 - step / steps)^0.9" and facts["recipe"] == "custom"
    assert segmentation_record(fcn, "fcn", [], False).photos == ()


def test_the_linear_probe(linear: Path) -> None:
    record = segmentation_record(linear, "linear", [], True)
    assert record.steps == record.networks[0].step == 8 and len(record.photos) == 12
    facts = dict(record.facts)
    assert facts["network"].startswith("a linear layer") and facts["length"] == "two passes of 4 steps of 4 images"
    assert "of 0.03, 0.3 the best" in facts["rate"]


@pytest.mark.slow
def test_the_share_of_right_pixels_is_that_of_the_measurement(fcn: Path, scenes: Path, tmp_path: Path) -> None:
    """On a data set of one photo the two are the same number."""
    for part in ("test", "testannot"):
        (tmp_path / part).mkdir()
        shutil.copy(scenes / part / "005.png", tmp_path / part)
    shutil.copy(scenes / "classes.txt", tmp_path)
    segment_train(tiny_fcn(), ORIGIN, [f"{scenes}:train"], [f"{tmp_path}:test"], tmp_path / "out", MACHINE)
    record = segmentation_record(tmp_path / "out", "out", [], True)
    (photo,), (scores,) = record.photos, record.measured.values()
    assert photo.said[0].right == pytest.approx(scores["random"]["pixel_accuracy"])


@pytest.mark.slow
def test_the_page_holds_no_path_no_file_name_and_no_pixel_if_so_wanted(
    fcn: Path, linear: Path, scenes: Path, tmp_path: Path
) -> None:
    text = report([fcn, linear, fcn], tmp_path / "r.html").read_text()
    assert text.count('class="plate"') == 2 * 12 * 3 and "Two folders of segmentation networks." in text
    bare = report([fcn], tmp_path / "bare.html", images=False).read_text()
    assert "mIoU on the test images after 20 steps: random " in bare and 'class="plate"' not in bare
    body = bare[: bare.index("<script>")]
    assert "data:image/" not in body and "Made without pictures" in body
    for page in (text[: text.index("<script>")], body):
        assert str(scenes) not in page and str(scenes.parent) not in page and ".png" not in page


@pytest.mark.slow
def test_a_page_without_enough_photos_of_several_classes_shows_others(fcn: Path, scenes: Path, tmp_path: Path) -> None:
    """Eleven of several classes, one of one class; one that is all void never."""
    write_scenes(tmp_path, "test", 13, 1)
    for number, label in ((0, 1), (1, 3)):
        Image.fromarray(np.full((48, 64), label, dtype=np.uint8)).save(tmp_path / f"testannot/{number:03d}.png")
    segment_train(tiny_fcn(steps=1), ORIGIN, [f"{scenes}:train"], [f"{tmp_path}:test"], tmp_path / "out", MACHINE)
    photos = segmentation_record(tmp_path / "out", "out", [], True).photos
    assert [len(photo.truth.parts) > 1 for photo in photos] == [False] + [True] * 11
    assert [photo.truth.parts[0].name for photo in photos[:1]] == ["red"]


@pytest.mark.slow
def test_photos_that_are_others_are_not_shown(fcn: Path, scenes: Path, tmp_path: Path) -> None:
    """A photo of another length, a mask that changed, one that is gone, another checkpoint; then none says why."""
    out, data = tmp_path / "out", tmp_path / "data"
    shutil.copytree(fcn, out)
    data.mkdir()
    for name in ("test", "testannot"):
        shutil.copytree(scenes / name, data / name)
    shutil.copy(scenes / "classes.txt", data)
    text = (out / "segment.json").read_text().replace(f"{scenes}:test", f"{data}:test")
    (out / "segment.json").write_text(text)

    def why() -> str:
        record = segmentation_record(out, "out", [], True)
        assert record.measured and bool(record.photos) == (record.no_photos == "")
        return record.no_photos

    assert why() == ""  # a copy is the same
    gone = (
        "No photos of out: the test images in data:test, or their masks, are no longer those that it was measured on."
    )
    for place in (data / "test/003.png", data / "testannot/003.png"):
        before = place.read_bytes()
        place.write_bytes((place.parent / "004.png").read_bytes())
        assert why() == gone
        place.write_bytes(b"half a")
        assert "gone or cannot be read; `resmom segment evaluate` says what" in why() and "003" not in why()
        place.unlink()
        assert why() != "" and "003" not in why()
        place.write_bytes(before)
    assert why() == ""
    checkpoint = out / "random/checkpoints/last.pt"
    weights = checkpoint.read_bytes()
    checkpoint.write_bytes(b"half a")
    assert "last.pt" in why() and str(tmp_path) not in why()
    checkpoint.unlink()
    assert why() == "No photos of out: random has no checkpoint."
    assert why() in report(out, tmp_path / "r.html").read_text()
    checkpoint.write_bytes(weights)
    (out / "segment.json").write_text(json.dumps({k: v for k, v in json.loads(text).items() if k != "test_digest"}))
    assert "does not say which test images it was measured on" in why()
    (out / "segment.json").write_text(json.dumps({**json.loads(text), "test": [], "test_digest": None}))
    assert why() == "No photos of out: it has no test images."


@pytest.mark.slow
def test_a_probe_that_has_not_chosen_yet(scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stop_after(2, monkeypatch)
    out = train(tiny_linear(), scenes, tmp_path / "out")
    record = segmentation_record(out, "out", [], True)
    assert record.measured == {} and "before a learning rate was chosen; continue it with `resume`" in record.no_photos
    assert "not measured yet; not finished: random" in report(out, tmp_path / "r.html").read_text()


def test_what_was_measured_elsewhere_has_a_table_of_its_own(fcn: Path, scenes: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(fcn, out)
    segment_evaluate(out, [f"{scenes}:train"], MACHINE)
    record = segmentation_record(out, "out", [], False)
    assert [protocol.rpartition(":")[2] for protocol in record.measured] == ["test, 16 images", "train, 12 images"]


def test_what_networks_began_as_is_told_without_folders(tmp_path: Path) -> None:
    networks = {
        "student": "student of /home/me too/My Secret/runs/my run at step 20",
        "init": "12 tensors of the backbone from /home/me too/My Secret/a b.pt under 'm.'; not used: head (2)",
        "random": "random weights, seed 0",
    }
    (tmp_path / "segment.json").write_text(json.dumps({"networks": networks}))
    assert [network.words for network in TunedFolder(tmp_path, WORDS).networks()] == [
        "student of my run at step 20",
        "12 tensors of the backbone from a b.pt under 'm.'; not used: head (2)",
        "random weights, seed 0",
    ]
    (tmp_path / "segment.json").write_text("{")
    with pytest.raises(UserError, match=r"segment.json is damaged"):
        TunedFolder(tmp_path, WORDS)


def test_a_folder_of_neither_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a run folder"):
        report(tmp_path, tmp_path / "r.html")
