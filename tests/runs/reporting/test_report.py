"""Run folders to a page: what is gathered, whatever is missing, and which pixels get into it."""

import base64
import io
import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from resmom import cli
from resmom.build import Own, build_method
from resmom.checkpoint import save_checkpoint
from resmom.config import Run, to_json
from resmom.data.open import open_data
from resmom.errors import RunDirError, UserError
from resmom.jsonfiles import read_lines
from resmom.methods.mocov3 import MoCoV3
from resmom.nets.backbones import SmallResNet
from resmom.nets.teacher import Ema
from resmom.report.page import page
from resmom.report.pagefile import ReportError
from resmom.rundir import RunDir
from resmom.runs.environment import environment
from resmom.runs.loaded import load_run
from resmom.runs.reporting.passedon import names_of
from resmom.runs.reporting.pictures import NEIGHBOURS, QUERIES, draw_images, run_pictures, view_rows
from resmom.runs.reporting.report import gather, report
from resmom.train.plan import Train
from resmom.views.policy import Policy, View

VIEW = View(size=16, scale=(0.5, 1.0))
RUN = Run(
    recipe="toy",
    method=MoCoV3(hidden=8, out=4),
    backbone=SmallResNet((4, 8)),
    policy=Policy((VIEW, VIEW), (0.5, 0.4, 0.3), (0.25, 0.2, 0.3)),
    ema=Ema(0.9, 1.0),
    train=Train(epochs=2, batch=8, warmup_epochs=0),
)
LINES = [
    {"kind": "knn", "step": 0, "epoch": 0.0, "student": 20.0, "teacher": 20.0, "protocol": "knn-v1 toy"},
    {"kind": "train", "step": 1, "epoch": 0.2, "loss": math.nan, "loss/method": math.nan, "elapsed_seconds": 1.0},
    {"kind": "train", "step": 5, "epoch": 1.0, "loss": 2.0, "loss/method": 2.0, "elapsed_seconds": 5.0},
    {"kind": "train", "step": 10, "epoch": 2.0, "loss": 1.0, "loss/method": 1.0, "elapsed_seconds": 10.0},
    {"kind": "knn", "step": 10, "epoch": 2.0, "student": 60.0, "teacher": 70.0, "protocol": "knn-v1 toy"},
]
COLOURS = ((230, 30, 30), (30, 230, 30), (30, 30, 230), (230, 230, 30))
"""Of the four classes, so that a picture tells its image's class."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty images of 16 x 16 of four colours, with labels; eight more to test on."""
    path = tmp_path_factory.mktemp("data") / "images.npz"
    random = np.random.default_rng(0)

    def images(n: int) -> tuple[np.ndarray, np.ndarray]:
        labels = np.arange(n) % 4
        noise = random.integers(-25, 26, (n, 16, 16, 3))
        return (np.array(COLOURS)[labels][:, None, None] + noise).clip(0, 255).astype(np.uint8), labels

    train, labels = images(40)
    test, test_labels = images(8)
    np.savez(path, train_images=train, train_labels=labels, test_images=test, test_labels=test_labels)
    return path


def write(path: Path, data: Path, run: Run = RUN, lines: list[dict[str, Any]] = LINES, start: bool = True) -> Path:
    """A run folder as a finished run leaves it, with untrained weights."""
    folder = RunDir(path)
    method = build_method(run.method, run.backbone, run.train.seed, Own(), (3, 16, 16))
    content = {
        "run": to_json(run),
        "epoch": 2.0,
        "steps": 10,
        "classes": [],
        "data": open_data(data).train.fingerprint(),
        "state": {"step": 10, "student": method.student.state_dict(), "teacher": method.teacher.state_dict()},
    }
    save_checkpoint(folder.last, content)
    if start:
        weights: Any = method.student.backbone
        save_file({name: value.contiguous() for name, value in weights.state_dict().items()}, folder.start)
    written = {"format": 1, "data": str(data), "images": 40, "origin": "images.npz", "run": to_json(run), "own": {}}
    folder.config.write_text(json.dumps(written))
    folder.environment.write_text(json.dumps(environment()) + "\n")
    folder.metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.mark.slow
def test_a_page_with_pictures(tmp_path: Path, data: Path) -> None:
    folder = write(tmp_path / "run", data)
    out = report(folder, tmp_path / "report.html")
    text = out.read_text()
    assert "Finished after 10 steps: kNN accuracy rose from 20.0 % to 60.0 %" in text
    assert "Nearest neighbours, before and after" in text and "Map of the images" in text
    assert text.count("data:image/jpeg") > 40
    assert f"{RUN.train.batch} images a step" in text and environment()["packages"]["torch"] in text


def test_without_images_no_pixel_of_them_is_in_the_page(tmp_path: Path, data: Path) -> None:
    folder = write(tmp_path / "run", data)
    text = report(folder, tmp_path / "report.html", images=False).read_text()
    # plotly's own script is not looked at: what it says of images are names of formats.
    own = text[: text.index("<script>")] + text[text.rindex("</script>") :]
    assert "data:image/" not in own and "<image" not in own and "base64" not in own
    assert "Made without pictures" in text and "<h2>Pictures" not in text and "Finished after 10 steps" in text


@pytest.mark.slow
@pytest.mark.parametrize("images", [False, True])
def test_no_path_and_no_home_is_in_the_page(
    images: bool, tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home" / "somebody else"
    monkeypatch.setattr(Path, "home", lambda: home)
    runs = []
    for number, place in enumerate(("My Secret/photos", "My Secret Old/photos", "My Secret/photos")):
        own = home / place / "data.npz"
        own.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(data, own)
        run = replace(RUN, init=f"{own.parent}/weights.pt", train=replace(RUN.train, seed=number % 2))
        folder = RunDir(write(home / f"{number}" / "run", own, run))
        said = {"command": ["/opt/resmom", "pretrain", "--data", str(own), "--out", f"{home}/run", str(home)]}
        folder.environment.write_text(json.dumps(environment() | said) + "\n")
        choice = {"option": "backbone", "value": "ResNet", "reason": f"the architecture found in {own}"}
        folder.config.write_text(json.dumps(json.loads(folder.config.read_text()) | {"choices": [choice]}))
        runs.append(folder.path)
    RunDir(runs[0]).last.write_bytes(b"half a checkpoint")
    (home / "My Secret Old" / "photos" / "data.npz").unlink()
    text = report(runs, tmp_path / "report.html", images=images).read_text()
    own_text = text[: text.index("<script>")] + text[text.rindex("</script>") :]
    for words in ("somebody", "else/", "Secret", str(tmp_path), "/home"):
        assert words not in own_text, words
    for words in ("0/run", "data.npz (1)", "data.npz (2)", "weights.pt (2)", "pretrain --data data.npz --out run",
                  "the architecture found in data.npz"):  # fmt: skip
        assert words in own_text, words
    assert not images or ("(last.pt is damaged" in own_text and "(data.npz does not exist" in own_text)
    # Two folders of one name are two configurations.
    assert "Three runs of two configurations, all finished" in own_text


def test_runs_of_one_name_are_told_apart_without_their_home() -> None:
    def names(*folders: str) -> list[str]:
        return names_of([Path(folder) for folder in folders])

    assert names("/data/a/run", "/data/b/run") == ["a/run", "b/run"]
    assert names("/home/me/run", "/data/run") == ["run", "data/run"]
    assert names("/home/me/run", "/home/you/run") == ["run (1)", "run (2)"]
    assert names("/home/me", "/data/run") == ["a home folder", "run"]


def test_seeds_that_were_measured_on_other_images_are_no_repetitions(tmp_path: Path, data: Path) -> None:
    runs = [replace(RUN, train=replace(RUN.train, seed=seed)) for seed in range(3)]
    folders = [RunDir(write(tmp_path / str(seed) / "run", data, run)) for seed, run in enumerate(runs)]
    for folder, test in zip(folders, ("0a", "0a", "f1"), strict=True):
        folder.config.write_text(json.dumps({**folder.written(), "test": test}))
    text = page(gather(folders, images=False))
    assert "Three runs of two configurations, all finished" in text
    assert "f1" in text and "test images" in text


def test_what_is_gathered(tmp_path: Path, data: Path) -> None:
    one = write(tmp_path / "a" / "run", data)
    other = write(tmp_path / "b" / "run", data, replace(RUN, train=replace(RUN.train, seed=3)), LINES[:3])
    found = gather([RunDir(one), RunDir(other)], images=False)
    assert [run.name for run in found.runs] == ["a/run", "b/run"] and [run.seed for run in found.runs] == [0, 3]
    assert [(run.step, run.steps, run.finished) for run in found.runs] == [(10, 10, True), (5, 10, False)]
    assert found.runs[0].config == found.runs[1].config and found.runs[0].config["train.batch"] == 8
    assert found.runs[0].config["images"] == 40 and found.runs[0].seconds == 10.0
    assert [(m.quantity, m.before, m.student, m.teacher) for m in found.runs[0].measures] == [
        ("kNN top-1 (%)", 20.0, 60.0, 70.0)
    ]
    assert "seed" not in " ".join(name for name, _ in found.runs[0].settings)


def test_pictures_show_what_the_networks_see(tmp_path: Path, data: Path) -> None:
    """Colours survive normalising and back, labels those of the images, and the same weights find the same images."""
    loaded = load_run(write(tmp_path / "run", data), "cpu")
    opened = open_data(data)
    found = run_pictures(loaded, draw_images(opened))
    assert len(found.queries) == QUERIES and found.bank == 40 and len(found.points) == 40 and found.no_map == ""
    for query in found.queries:
        assert query.before == query.after and len(query.after) == NEIGHBOURS  # these weights are those of the start
        for picture in (query.picture, *query.after):
            assert picture.label is not None
            assert np.abs(mean_colour(picture.uri) - np.array(COLOURS[picture.label])).max() < 15
    assert len({(point.column, point.row) for point in found.points}) == 40
    rows = view_rows(RUN, opened.train)
    assert [len(row.draws) for row in rows] == [3] * 6 and {len(draw) for row in rows for draw in row.draws} == {2}


def test_an_image_is_not_its_own_neighbour(tmp_path: Path, data: Path) -> None:
    """Without a test split the queries are images of the bank."""
    with np.load(data) as arrays:
        only = tmp_path / "train.npz"
        np.savez(only, train_images=arrays["train_images"])
    loaded = load_run(write(tmp_path / "run", only), "cpu")
    found = run_pictures(loaded, draw_images(open_data(only)))
    assert len(found.queries) == QUERIES and found.classes == ()
    for query in found.queries:
        assert query.picture.uri not in [picture.uri for picture in query.after]
        assert query.picture.label is None


def test_without_the_start_weights_there_is_no_before(tmp_path: Path, data: Path) -> None:
    loaded = load_run(write(tmp_path / "run", data, start=False), "cpu")
    found = run_pictures(loaded, draw_images(open_data(data)))
    assert all(query.before is None and len(query.after) == NEIGHBOURS for query in found.queries)


@pytest.mark.slow
def test_a_collapsed_network_has_no_map_but_a_reason(tmp_path: Path, data: Path) -> None:
    loaded = load_run(write(tmp_path / "run", data), "cpu")
    with torch.no_grad():
        for parameter in loaded.method.student.parameters():
            parameter.zero_()
    found = run_pictures(loaded, draw_images(open_data(data)))
    assert found.points == () and "is the same" in found.no_map
    with torch.no_grad():
        for parameter in loaded.method.student.parameters():
            parameter.fill_(math.nan)
    found = run_pictures(loaded, draw_images(open_data(data)))
    assert "not finite" in found.no_map and len(found.queries[0].after) == NEIGHBOURS


@pytest.mark.slow
def test_runs_on_the_same_images_share_one_sheet_of_views(tmp_path: Path, data: Path) -> None:
    one = write(tmp_path / "a", data)
    other = write(tmp_path / "b", data, replace(RUN, train=replace(RUN.train, seed=3)))
    wider = replace(RUN, policy=replace(RUN.policy, views=(replace(VIEW, scale=(0.9, 1.0)),) * 2))
    third = write(tmp_path / "c", data, wider)
    found = gather([RunDir(path) for path in (one, other, third)])
    assert [sheet.runs for sheet in found.sheets] == [("a", "b"), ("c",)]
    queries = [run.pictures.queries for run in found.runs if run.pictures]
    assert [query.picture for query in queries[0]] == [query.picture for query in queries[1]]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        ("no checkpoint", "it has no checkpoint"),
        ("broken checkpoint", "its networks cannot be loaded"),
        ("no data", "its images cannot be read"),
        ("given in Python", "were given in Python"),
        ("other data", "no longer those"),
    ],
)
def test_what_is_missing_is_said_and_the_rest_is_shown(tmp_path: Path, data: Path, harm: str, reason: str) -> None:
    path = write(tmp_path / "run", data)
    folder = RunDir(path)
    written = json.loads(folder.config.read_text())
    match harm:
        case "no checkpoint":
            folder.last.unlink()
        case "broken checkpoint":
            folder.last.write_bytes(b"half a")
        case "no data":
            written["data"] = str(tmp_path / "gone.npz")
        case "given in Python":
            written["data"] = "given in Python: an array"
        case _:
            other = tmp_path / "other.npz"
            np.savez(other, train_images=np.zeros((40, 16, 16, 3), np.uint8))
            written["data"] = str(other)
    folder.config.write_text(json.dumps(written))
    text = report(path, tmp_path / "report.html").read_text()
    assert "No pictures of run:" in text and reason in text and "data:image/jpeg" not in text
    assert "Finished after 10 steps" in text and 'id="chart0"' in text


def test_an_older_run_and_one_that_has_only_begun(tmp_path: Path, data: Path) -> None:
    path = write(tmp_path / "run", data, lines=[line for line in LINES if line["kind"] == "train"], start=False)
    folder = RunDir(path)
    written = json.loads(folder.config.read_text())
    for name in ("images", "origin", "own"):
        del written[name]
    del written["run"]["init"], written["run"]["train"]["steps"]
    folder.config.write_text(json.dumps(written))
    found = gather([folder], images=False).runs[0]
    assert (found.step, found.steps, found.measures) == (10, 10, [])
    folder.metrics.unlink()
    folder.environment.unlink()
    text = report(path, tmp_path / "report.html", images=False).read_text()
    assert "Not started." in text and "no starts of the process" in text


def test_a_checkpoint_stands_for_its_run_and_a_run_named_twice_is_one(tmp_path: Path, data: Path) -> None:
    path = write(tmp_path / "run", data)
    text = report([path, RunDir(path).last, f"{path}/."], str(tmp_path / "report.html"), images=False).read_text()
    assert "Finished after 10 steps" in text and "Runs compared" not in text


@pytest.mark.slow
def test_what_cannot_be_reported_or_written_is_refused(tmp_path: Path, data: Path) -> None:
    with pytest.raises(RunDirError, match="is not a run folder"):
        report(tmp_path)
    with pytest.raises(RunDirError, match="no run was given"):
        report([])
    path = write(tmp_path / "run", data)
    precious = tmp_path / "precious.html"
    precious.write_text("mine")
    with pytest.raises(ReportError, match="is no report"):
        report(path, precious)
    assert precious.read_text() == "mine" and issubclass(ReportError, UserError)
    before = {file: file.stat().st_mtime_ns for file in path.rglob("*")}
    report(path, tmp_path / "report.html")
    assert {file: file.stat().st_mtime_ns for file in path.rglob("*")} == before  # a report changes nothing of a run


@pytest.mark.slow
def test_the_command(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = write(tmp_path / "run", data), tmp_path / "r.html"

    def call(*arguments: str, says: str = "") -> str:
        monkeypatch.setattr("sys.argv", ["resmom", "report", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        assert end.value.code == 0
        printed, told = capsys.readouterr()
        assert told == says
        return printed

    told = json.loads(call(str(path), "--out", str(out), "--no-images", "--json"))
    assert told == {"report": str(out), "bytes": out.stat().st_size}
    assert "Made without pictures" in out.read_text()
    says = f"the report in {out} is replaced\npictures of run: views, neighbours, map\n"
    assert call(str(path), str(path), "--out", str(out), says=says).strip() == str(out)
    assert "Made without pictures" not in out.read_text() and len(read_lines(RunDir(path).metrics)) == 5


def mean_colour(uri: str) -> np.ndarray:
    image = Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))
    mean: np.ndarray = np.asarray(image, dtype=np.float64).mean((0, 1))
    return mean
