"""The probes at work: on this machine, and on folders and files made ill."""

import errno
import fcntl
import json
import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from resmom.rundir import RunDir
from resmom.runs.doctor import step
from resmom.runs.doctor.devices import device, devices
from resmom.runs.doctor.fast import compiled, jpeg
from resmom.runs.doctor.finding import Answer
from resmom.runs.doctor.folder import folder
from resmom.runs.doctor.images import SAMPLE, images
from resmom.runs.doctor.images_of import images_of
from resmom.runs.doctor.place import place
from resmom.runs.doctor.resources import cores, memory, threads
from resmom.runs.doctor.system import system
from resmom.runs.doctor.versions import IMPORTED, imported, installed
from resmom.runs.pretrain import pretrain
from tests.data.test_folder import draw
from tests.runs.crash import QUIET, small_run, write_images


def states(told: Answer) -> list[str]:
    json.dumps(told.facts)  # plain values, which travel
    return [finding.state for finding in told.findings]


class TestThisMachine:
    def test_packages(self) -> None:
        assert states(system()) == ["ok"]
        facts = installed().facts
        assert facts["versions"]["torch"] and "mypy" in facts["versions"]
        for name in IMPORTED:
            told = imported(name)
            assert states(told) == ["ok"] and told.facts["version"] and Path(told.facts["file"]).exists()

    def test_fast(self) -> None:
        assert states(jpeg()) == ["ok"] and jpeg().facts["difference"] == 0
        told = compiled()
        assert states(told) == ["ok"] and 0 <= told.facts["difference"] < 1e-5

    def test_resources(self) -> None:
        assert cores().facts["machine"] == os.cpu_count() and cores().facts["allowed"] >= 1
        assert 0 < memory().facts["free"] <= memory().facts["machine"]
        facts = threads().facts
        assert facts["threads"] == torch.get_num_threads() and facts["kept"] is (platform.system() == "Linux")

    def test_devices(self) -> None:
        assert devices().facts["devices"][0] == "cpu"
        told = device("cpu")
        assert set(states(told)) <= {"ok", "note"}
        assert told.facts["loss"] < 1e-5 and told.facts["move"] < 1e-3

    def test_the_step_is_a_step(self) -> None:
        cpu = torch.device("cpu")
        one, two, half = step.small_step(cpu), step.small_step(cpu), step.small_step(cpu, "bf16")
        assert one.apart(two) == (0.0, 0.0) and one.move.norm() > 0
        assert 0 < (half.apart(one)[0] or 0) < 0.05
        broken = replace(one, loss=float("nan"), move=one.move * float("inf"))
        assert broken.apart(one) == (None, None)


def test_a_jpeg_library_gone_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resmom.data.jpeg.decode_jpeg", lambda content, most: None)
    assert states(jpeg()) == ["problem"]
    monkeypatch.setattr("resmom.data.jpeg.decode_jpeg", lambda content, most: np.zeros((40, 56, 3), np.uint8))
    assert states(jpeg()) == ["problem"] and jpeg().facts["difference"] > 100


def test_a_device_that_computes_nonsense(monkeypatch: pytest.MonkeyPatch) -> None:
    right = step.small_step

    def wrong(where: torch.device, precision: str = "fp32", double: bool = False) -> step.Step:
        found = right(where, "fp32", double)
        return found if double else replace(found, move=-found.move)

    monkeypatch.setattr(step, "small_step", wrong)
    assert states(device("cpu")) == ["problem"]


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert states(jpeg()) == states(compiled()) == ["note"]


class TestPlace:
    def test_one_to_be_leaves_nothing_behind(self, tmp_path: Path) -> None:
        told = place(str(tmp_path / "runs" / "a"))
        assert told.facts["refused"] == told.facts["unlocked"] == "" and told.facts["exclusive"]
        assert told.facts["there"] == str(tmp_path) and list(tmp_path.iterdir()) == []

    def test_a_file_is_no_place(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        told = place(str(tmp_path / "file"))
        assert states(told) == ["problem"] and "Not a directory" in told.facts["refused"]

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
    def test_one_that_may_not_be_written_to(self, tmp_path: Path) -> None:
        tmp_path.chmod(0o500)
        told = place(str(tmp_path))
        assert states(told) == ["problem"] and "Permission denied" in told.facts["refused"]

    def test_a_disk_without_locks(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        def refuse(*_: object) -> None:
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

        monkeypatch.setattr(fcntl, "flock", refuse)
        told = place(str(tmp_path))
        assert told.facts["unlocked"] == os.strerror(errno.ENOLCK) and "problem" in states(told)
        monkeypatch.setattr(fcntl, "flock", lambda *_: None)  # as some network disks do: all is granted to all
        told = place(str(tmp_path))
        assert not told.facts["exclusive"] and "problem" in states(told)


class TestImages:
    @pytest.fixture
    def photos(self, tmp_path: Path) -> Path:
        for number in range(70):
            draw(tmp_path / f"photos/{'ab'[number % 2]}/{number}.png", number, 40, 50)
        return tmp_path / "photos"

    def test_sound(self, photos: Path) -> None:
        told = images(str(photos))
        assert states(told) == ["ok"]
        assert [told.facts[name] for name in ("images", "classes", "side", "read")] == [70, 2, 40, SAMPLE]

    def test_some_damaged(self, photos: Path) -> None:
        (photos / "a/broken.jpg").write_text("no image")
        told = images(str(photos))
        assert states(told) == ["note"] and "broken.jpg" in told.findings[0].words
        for number in range(0, 70, 3):  # their headers are sound still
            (file,) = photos.rglob(f"{number}.png")
            file.write_bytes(file.read_bytes()[:80])
        told = images(str(photos))
        assert states(told) == ["problem"] and told.facts["unopened"] == 1 and told.facts["undecoded"] > 1
        for file in photos.rglob("*.png"):
            file.write_bytes(file.read_bytes()[:80])
        assert states(images(str(photos))) == ["problem"]

    def test_nowhere(self, tmp_path: Path) -> None:
        told = images(str(tmp_path / "none"))
        assert states(told) == ["problem"] and "does not exist" in told.findings[0].words

    @pytest.mark.parametrize("spec", ["cifar10", "cifar100", "stl10", "cifar10@held-out=0.1"])
    def test_nothing_is_downloaded(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, spec: str) -> None:
        monkeypatch.setenv("RESMOM_DATA", str(tmp_path))
        told = images(spec)
        assert states(told) == ["note"] and told.facts["absent"] and list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with kept checkpoints beside its images."""
    place = tmp_path_factory.mktemp("made")
    run = small_run(epochs=2)
    data = str(write_images(place / "images.npz"))
    pretrain(replace(run, log=replace(run.log, keep_epochs=1)), data, place / "run", QUIET)
    RunDir(place / "run").metrics.write_text("")  # so small a network is not healthy, and would be told of
    return place


class TestFolder:
    @pytest.fixture
    def run(self, made: Path, tmp_path: Path) -> Iterator[Path]:
        """A copy of it, stopped in the middle."""
        shutil.copytree(made / "run", tmp_path / "run")
        copy = RunDir(tmp_path / "run")
        shutil.copy(copy.all_kept()[0], copy.last)
        yield copy.path

    def test_finished(self, made: Path) -> None:
        told = folder(str(made / "run"))
        assert states(told) == ["ok"] and "is finished" in told.findings[0].words
        assert states(folder(str(RunDir(made / "run").all_kept()[0]))) == ["ok"]

    def test_stopped_on_this_machine(self, run: Path) -> None:
        told = folder(str(run))
        assert states(told) == ["ok"] and "at step 5 of 10" in told.findings[0].words

    def test_made_with_other_versions(self, run: Path) -> None:
        file = RunDir(run).environment
        line = json.loads(file.read_text())
        file.write_text(json.dumps({**line, "packages": {**line["packages"], "torch": "2.0.0"}}) + "\n")
        told = folder(str(run))
        assert states(told) == ["note"] and "torch 2.0.0 (now" in told.findings[0].words

    def test_in_use(self, run: Path) -> None:
        with RunDir(run).locked():
            told = folder(str(run))
        assert states(told) == ["note", "ok"] and "another process" in told.findings[0].words

    def test_on_a_disk_for_reading(self, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(file: object) -> str:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))

        with RunDir(run).locked():
            pass  # which leaves the file
        monkeypatch.setattr("resmom.rundir.lock", refuse)
        told = folder(str(run))
        assert states(told) == ["problem", "ok"] and os.strerror(errno.EROFS) in told.findings[0].words

    def test_damaged(self, run: Path) -> None:
        last = RunDir(run).last
        last.write_bytes(last.read_bytes()[:1000])
        told = folder(str(run))
        assert states(told) == ["problem"] and "damaged" in told.findings[0].words
        remedy = told.findings[0].remedy.partition(",")[0].split()  # as it is told, it helps
        shutil.copy(remedy[1], remedy[2])
        assert states(folder(str(run))) == ["ok"] and remedy[0] == "cp"

    def test_of_another_configuration(self, run: Path) -> None:
        last = RunDir(run).last
        content = torch.load(last, weights_only=True)
        content["run"]["backbone"]["widths"] = [4, 16]
        torch.save(content, last)
        told = folder(str(run))
        assert states(told) == ["problem"] and "does not fit" in told.findings[0].words

    def test_no_run(self, run: Path, tmp_path: Path) -> None:
        assert states(folder(str(tmp_path))) == ["problem"]
        for file in (RunDir(run).last, *RunDir(run).all_kept()):
            file.unlink()
        assert states(folder(str(run))) == ["note"] and "begins it anew" in folder(str(run)).findings[0].remedy

    @pytest.mark.parametrize("stopped", ["before its first step", "later"])
    def test_damaged_words(self, run: Path, stopped: str) -> None:
        if stopped == "before its first step":
            for file in (RunDir(run).last, *RunDir(run).all_kept()):
                file.unlink()
        RunDir(run).metrics.write_text("{}\n{\n{}\n")
        assert states(folder(str(run))) == ["problem"]
        assert "metrics.jsonl is damaged in line 2" in folder(str(run)).findings[0].words
        content = json.loads(RunDir(run).config.read_text())
        for text, words in (
            ("{", "run.json is damaged"),
            (json.dumps({**content, "run": {**content["run"], "colour": 1}}), "the configuration cannot be used"),
        ):
            RunDir(run).config.write_text(text)
            assert states(folder(str(run))) == ["problem"] and words in folder(str(run)).findings[0].words

    def test_the_last_checkpoint_is_gone(self, run: Path) -> None:
        last = RunDir(run).last
        last.unlink()
        told = folder(str(run))
        assert states(told) == ["problem"] and "last.pt is missing" in told.findings[0].words
        remedy = told.findings[0].remedy.partition(",")[0].split()
        shutil.copy(remedy[1], remedy[2])
        assert remedy[0] == "cp" and states(folder(str(run))) == ["ok"]
        for file in (last, *RunDir(run).all_kept()):
            file.unlink()
        RunDir(run).metrics.write_text(json.dumps({"kind": "train", "step": 3, "epoch": 0.6}) + "\n")
        told = folder(str(run))
        assert states(told) == ["problem"] and "has been at step 3" in told.findings[0].words
        assert "start anew" in told.findings[0].remedy

    def test_with_modules_of_its_own(self, run: Path) -> None:
        config = RunDir(run).config
        config.write_text(json.dumps({**json.loads(config.read_text()), "own": {"backbone": "mine.Net"}}))
        assert states(folder(str(run))) == ["note"] and "mine.Net" in folder(str(run)).findings[0].words
        RunDir(run).last.write_bytes(b"torn")
        assert states(folder(str(run))) == ["problem"]

    def test_an_ill_training_is_told_of(self, run: Path) -> None:
        lines = [{"kind": "train", "step": n, "epoch": 1.0, "loss": 1.0, "skipped": 1.0} for n in range(1, 6)]
        RunDir(run).metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))
        told = folder(str(run))
        assert states(told) == ["ok", "note"] and told.findings[1].words.startswith("diverging: ")

    def test_its_images(self, made: Path, run: Path) -> None:
        config = RunDir(run).config
        written = json.loads(config.read_text())
        assert states(images_of(str(run))) == ["ok"]
        for data, state, words in (
            (str(write_images(run / "fewer.npz", n=30)), "problem", "is not what the run was trained on"),
            (str(run / "none.npz"), "problem", "does not exist"),
            ("given in Python: an array", "note", "given in Python"),
        ):
            config.write_text(json.dumps({**written, "data": data}))
            told = images_of(str(run))
            assert states(told) == [state] and words in told.findings[0].words
