"""What `resmom evaluate` prints, of which options it asks for more, and what it leaves in run folders and reports."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from resmom import cli
from resmom.errors import UserError
from resmom.evaluate.settings import Finetune
from resmom.jsonfiles import read_lines
from resmom.report.compare import table
from resmom.rundir import RunDir
from resmom.runs.exporting.export import export
from resmom.runs.measuring.asked import More
from resmom.runs.measuring.evaluate import evaluate
from resmom.runs.measuring.gap import gap
from resmom.runs.reporting.report import gather
from tests.conftest import Call


def command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: object
) -> tuple[int, str, str]:
    monkeypatch.setattr("sys.argv", ["resmom", "evaluate", *map(str, arguments), "--device", "cpu"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    told = capsys.readouterr()
    return int(end.value.code or 0), told.out, told.err


@pytest.mark.slow
def test_the_command_prints_mean_spread_and_number(
    trained: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path, _ = trained
    status, out, err = command(monkeypatch, capsys, path, "--low-shot", "1,3", "--draws", 2, "--threads", 1)
    assert err == "labels: 2 classes from the folders' names (a, b)\n"
    lines = out.splitlines()
    assert status == 0 and len(lines) == 14 and all(line.startswith("low-shot-v1 ") for line in lines[:12:3])
    for number, name in ((1, "student"), (2, "teacher")):  # of one measurement, under its protocol
        assert all(line.split()[0] == name and " ± " in line and "(n=2)" in line for line in lines[number:12:3])
    status, out, _ = command(monkeypatch, capsys, path, "--low-shot", "1", "--draws", 2, "--seed", 4, "--json")
    (first, *_) = json.loads(out)
    about = {"network", "top1", "top5", "protocol", "probe", "shots", "learner", "step", "data", "fingerprint"}
    assert status == 0 and set(first) == about | {"sd", "draws"}
    assert "(seed 4)" in first["protocol"]
    status, _, err = command(monkeypatch, capsys, path, "--low-shot", "one")
    assert status == 2 and "numbers of images per class, such as 1,5,10; got 'one'" in err and err.count("\n") == 1
    status, _, err = command(monkeypatch, capsys, path, "--low-shot", "1", "--draws", 0)
    assert status == 2 and "--draws must be at least 1" in err and err.count("\n") == 1
    tuning = ("--tuning.epochs", 1, "--tuning.batch", 8)
    status, out, _ = command(monkeypatch, capsys, path, "--finetune", *tuning, "--network", "teacher", "--json")
    (row,) = json.loads(out)
    assert status == 0 and row["network"] == "teacher" and "1 epochs, batch 8" in row["protocol"]
    few = ("--finetune", *tuning, "--network", "student", "--labels", "0.5")
    for more, hinted in (((), True), (("--protocols", "linear", "--linear.epochs", 1), False)):
        status, out, _ = command(monkeypatch, capsys, path, *few, *more)
        assert status == 0 and ("--protocols linear --labels 0.5 measures it on the same images" in out) == hinted
    status, out, _ = command(monkeypatch, capsys, path, "--sweep", "--linear.epochs", 1, "--network", "student")
    lines = out.splitlines()
    assert status == 0 and lines[0].startswith("sweep-v1 (chosen among 2 layers") and lines[1].startswith("  student")
    (starred,) = [line for line in lines if line.startswith("    * ")]
    assert f"({starred.split('  ')[-1]}; lr " in lines[1]  # the layer that it chose


@pytest.mark.slow
def test_few_labels_are_learned_for_longer(
    trained: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """60 epochs with 1 % of the labels, as asked for (one image of each class is more), 30 with more; or as given."""
    third = tmp_path / "third.txt"
    third.write_text("".join(f"{at:03d}.png\n" for at in range(20, 40)))
    for labels, options, epochs, said in (
        ("0.01", (), 60, "fine-tuning for 60 epochs: 60 is the default with 1 % of"),
        ("0.011", (), 30, "fine-tuning for 30 epochs: 60 is the default with 1 % of"),
        (third, (), 30, "fine-tuning for 30 epochs: 60 is the default with 1 % of"),
        ("0.01", ("--tuning.epochs", 2), 2, ""),
        (third, ("--tuning.epochs", 60, "--tuning.batch", 20), 60, ""),
    ):
        call = (trained[0], "--labels", labels, "--finetune", *options, "--network", "student", "--json")
        status, out, err = command(monkeypatch, capsys, *call)
        (row,) = json.loads(out)
        assert status == 0 and f", wd 0, {epochs} epochs, batch" in row["protocol"]
        assert err.startswith(said) and err.count("\n") == (said != "")
    more = More(finetune=Finetune(warmup_epochs=40), labels="0.5")
    with pytest.raises(UserError, match=r"a warm-up within the epochs .*; got 30, 256, 40, 0"):
        evaluate(trained[0], network="student", protocols=(), more=more)


@pytest.mark.slow
def test_scores_on_two_folders_are_told_apart(
    trained: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run, other, alike = tmp_path / "run", tmp_path / "others", tmp_path / "elsewhere" / "others"
    shutil.copytree(trained[0], run)
    RunDir(run).evaluations.unlink(missing_ok=True)
    for copied in (other, alike):
        shutil.copytree(trained[1], copied)
    for file in sorted((alike / "test" / "a").iterdir())[:3]:
        file.unlink()
    own, others, third = (
        evaluate(run, data, "student", ("knn",)) for data in (None, str(other), str(alike) + "@held-out=0.5")
    )
    assert [rows[0].data for rows in (own, others, third)] == ["images", "others", "others@held-out=0.5"]
    status, out, _ = command(monkeypatch, capsys, run, "--data", alike, "--protocols", "knn", "--network", "student")
    assert status == 0 and out.splitlines()[-1].startswith("on others, step 14; also in ")
    lines = read_lines(RunDir(run).evaluations)
    assert len({line["fingerprint"] for line in lines}) == 3  # the run's own images and their copy are the same
    assert str(tmp_path) not in json.dumps([{k: v for k, v in line.items() if k != "environment"} for line in lines])

    # Where two folders have one name, their fingerprints tell them apart: on the card, and in the columns of a report.
    names = {f"others ({lines[n]['fingerprint'][:6]})" for n in (1, 3)} | {"images", "others@held-out=0.5"}
    assert len(names) == 4
    export(run)
    card = (RunDir(run).export / "README.md").read_text()
    assert all(f"\n| {name} | " in card for name in names)
    columns = table(gather([RunDir(run)], images=False).runs).columns
    assert {protocol.rpartition("; on ")[2] for _, _, protocol in columns if "; on " in protocol} == names


@pytest.mark.slow
def test_the_command_ignores_nothing(
    trained: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path, _ = trained
    status, out, _ = command(monkeypatch, capsys, path, "--labels", "0.2", "--draws", 2, "--protocols", "knn")
    protocol, first, second, meaning, _ = out.splitlines()
    assert (
        status == 0
        and protocol.startswith("knn-v1")
        and all(" ± " in line and "(n=2)" in line for line in (first, second))
        and meaning.startswith("±: ")
    )
    for options, words in (
        (("--seed", 1), "--seed has no effect on what this call measures; it goes with --low-shot or --labels SHARE"),
        (("--probe.lr", 1), "--probe.lr has no effect on what this call measures; it goes with --linear-crop"),
        (("--tuning.epochs", 1), "--tuning.epochs has no effect on what this call measures; it goes with --finetune"),
        (
            ("--linear.epochs", 1, "--protocols", "knn"),
            "--linear.epochs has no effect",
        ),
        (("--knn.k", 5, "--all"), "--knn.k has no effect on what this call measures; it goes with --protocols knn or"),
        (("--knn.k", 0), "knn.k must be at least 1"),
        (("--protocols", "linear", "--baselines"), "it goes with --protocols knn, by which"),
        (("--protocols", "knn", "--draws", 2), "--draws 2 would give one number 2 times"),
        (("--all", "--draws", 2), "--all is a measurement of its own"),
    ):
        status, _, err = command(monkeypatch, capsys, path, *options)
        assert status == 2 and words in err and err.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "measured"),
    [
        ((), ("online", "knn", "linear")),
        (("--linear-crop",), ()),
        (("--linear-crop", "--baselines"), ("knn",)),
        (("--baselines",), ("online", "knn", "linear")),
        (("--finetune", "--protocols", "linear"), ("linear",)),
    ],
)
def test_what_is_asked_for_by_name_is_measured_alone(
    monkeypatch: pytest.MonkeyPatch, call: Call, options: tuple[str, ...], measured: tuple[str, ...]
) -> None:
    """And beside the baselines what they are measured by."""
    asked: list[tuple[str, ...]] = []

    def told(*given: Any, **more: Any) -> Any:
        asked.append(given[3])
        raise UserError("enough")

    monkeypatch.setattr("resmom.runs.measuring.evaluate.evaluate", told)
    assert call("evaluate", "run", *options)[0] == 2
    assert set(asked[0]) == set(measured)


@pytest.mark.slow
def test_the_command_says_how_its_numbers_are_read(trained: tuple[Path, Path], call: Call) -> None:
    line = f"evaluate {trained[0]} --network student --protocols linear --linear.epochs 1 --linear.weight-decays 0"
    status, out, err = call(*line.split(), "--linear.lrs", "0.01", "1", "--labels", "0.5", "--draws", "2")
    assert status == 0, err
    assert "(n=2)" in out and "±: standard deviation over n repetitions\n" in out
    assert (
        "at the edge of the grid: beyond it may lie better; it was --linear.lrs 0.01 1 --linear.weight-decays 0\n"
        in out
    )
    _, out, _ = call(*line.split(), "--linear.lrs", "0.1")
    assert "±" not in out and "edge" not in out


def test_what_has_no_room_in_the_run_folder_is_told_all_the_same(
    trained: tuple[Path, Path], tmp_path: Path, call: Call
) -> None:
    path = tmp_path / "run"
    shutil.copytree(trained[0], path)
    for file in (RunDir(path).evaluations, RunDir(path).gaps):
        file.unlink(missing_ok=True)
        file.symlink_to("/dev/full")  # which can be opened, and takes nothing
    code, out, err = call("evaluate", str(path), "--protocols", "knn", "--device", "cpu")
    assert code == 1 and out.count("top-1") == 2 and "also in" not in out
    assert err.count("evaluations.jsonl: no space left on device; this line is not in it:\n{") == 2
    code, out, err = call("gap", str(path), "--images", "8", "--device", "cpu")
    assert code == 1 and out.count("top-1 student") == 2 and "also in" not in out and err.count("this line is not") == 2
    code, out, _ = call("gap", str(path), "--images", "8", "--device", "cpu", "--no-accuracy", "--json")
    assert code == 1 and [found["step"] for found in json.loads(out)["checkpoints"]] == [
        found.step for found in gap(trained[0], images=8, device="cpu", accuracy=False).checkpoints
    ]
