"""Images to vectors: the rows are those of the evaluation, in the order of the images, under the names they have."""

import errno
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
import torch
from PIL import Image

import resmom.runs.exporting.embed as embedding
import resmom.runs.own as own
from resmom import cli
from resmom.data.folder import open_folder
from resmom.data.open import open_data
from resmom.errors import RunDirError, UserError
from resmom.evaluate.features import features
from resmom.evaluate.layers import layer_features
from resmom.rundir import RunDir
from resmom.runs.clean import clean_batches
from resmom.runs.exporting.embed import embed
from resmom.runs.loaded import load_run
from resmom.runs.pretrain import pretrain
from tests.conftest import Call
from tests.runs.crash import QUIET, dino_run, small_run, write_images


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("embed")
    data = write_images(folder / "images.npz", n=40)
    config = small_run(epochs=2)
    return pretrain(replace(config, log=replace(config.log, keep_epochs=1)), str(data), folder / "run", QUIET).path


def test_the_rows_are_the_representations_of_the_evaluation(run: Path, tmp_path: Path) -> None:
    found = embed(run, tmp_path / "new" / "vectors.npz", device="cpu")
    arrays = np.load(found.path, allow_pickle=False)
    loaded = load_run(run, "cpu")
    data = open_data(loaded.data)
    assert data.test is not None
    for split, source in (("train", data.train), ("test", data.test)):
        for name, network in loaded.networks("both").items():
            h = features(network, clean_batches(source, loaded.run.policy, loaded.device))
            assert torch.equal(torch.from_numpy(arrays[f"{split}_{name}"]), h)
        assert source.labels is not None and np.array_equal(arrays[f"{split}_labels"], source.labels)
        assert f"{split}_names" not in arrays  # images of an array have none
    assert not np.array_equal(arrays["train_student"], arrays["train_teacher"])
    assert str(arrays["protocol"]) == found.protocol and f"step {loaded.step}" in found.protocol
    assert found.shapes["train_student"] == (40, 8) and list(tmp_path.glob("new/*")) == [found.path]


def test_photos_without_labels_keep_their_names(run: Path, tmp_path: Path) -> None:
    place = tmp_path / "photos"
    place.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (3, 20, 30, 3), dtype=np.uint8)
    for at, name in enumerate(("b.png", "a.png", "c.png")):
        Image.fromarray(pixels[at]).save(place / name)
    found = embed(run, tmp_path / "v.npz", str(place), "student", "z")
    arrays = np.load(found.path)
    assert arrays["train_names"].tolist() == ["a.png", "b.png", "c.png"]
    assert arrays["train_student"].shape == (3, 4)
    assert not {"train_teacher", "train_labels", "test_student"} & set(arrays)


def test_an_image_that_cannot_be_decoded_has_no_row(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of images that are not held in RAM it is first seen when its row is made, of the image that stands in for it."""
    monkeypatch.setattr(own, "open_data", lambda spec: open_folder(Path(spec), ram_limit=0))
    pixels = np.random.default_rng(0).integers(0, 256, (3, 20, 30, 3), dtype=np.uint8)
    for at, name in enumerate(("x/a.jpg", "x/b.jpg", "y/c.jpg")):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels[at]).save(tmp_path / "photos" / name)
    whole = np.load(embed(run, tmp_path / "whole.npz", str(tmp_path / "photos"), "student").path)
    broken = tmp_path / "photos" / "x" / "b.jpg"
    broken.write_bytes(broken.read_bytes()[:-60])
    places = ["--data", str(tmp_path / "photos"), "--out", str(tmp_path / "some.npz")]
    monkeypatch.setattr("sys.argv", ["resmom", "embed", str(run), "--network", "student", *places])
    with pytest.raises(SystemExit):
        cli.main()
    assert "1 images could not be read and are left out" in capsys.readouterr().out
    some = np.load(tmp_path / "some.npz")
    assert some["train_names"].tolist() == ["x/a.jpg", "y/c.jpg"]
    for name in ("train_student", "train_labels"):
        assert np.array_equal(some[name], whole[name][[0, 2]])


def test_on_the_command_line(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, words in (([], "  train_teacher "), (["--json"], '"arrays"')):
        out = tmp_path / f"v{len(arguments)}.npz"
        with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as ended:
            patch.setattr("sys.argv", ["resmom", "embed", str(run), "--out", str(out), *arguments])
            cli.main()
        assert ended.value.code == 0 and words in capsys.readouterr().out and out.exists()


def test_what_cannot_be_is_refused(run: Path, tmp_path: Path) -> None:
    (tmp_path / "old.npz").write_bytes(b"mine")
    with pytest.raises(RunDirError, match="there already"):
        embed(run, tmp_path / "old.npz")
    assert (tmp_path / "old.npz").read_bytes() == b"mine"
    with pytest.raises(RunDirError, match=r"must end in \.npz"):
        embed(run, tmp_path / "vectors")
    with pytest.raises(UserError, match="only the student has a predictor"):
        embed(run, tmp_path / "v.npz", site="p")
    assert embed(run, tmp_path / "p.npz", network="student", site="p").shapes["train_student"] == (40, 4)


def test_a_file_that_cannot_be_written_is_named_before_anything_is_computed(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    with monkeypatch.context() as patch:
        patch.setattr("resmom.ondisk.tempfile.TemporaryFile", refused)
        patch.setattr(embedding, "features", lambda *_: pytest.fail("asked too late"))
        with pytest.raises(OSError, match=r"Read-only file system: '.*/v\.npz'"):
            embed(run, tmp_path / "v.npz")

    def full(file: BinaryIO, **_: object) -> None:
        file.write(b"half of it")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*/v\.npz'"):
        embed(run, tmp_path / "v.npz")
    assert list(tmp_path.iterdir()) == []


def test_similarities_to_prototypes_of_methods_that_have_them(run: Path, tmp_path: Path) -> None:
    data = write_images(tmp_path / "images.npz", n=16)
    trained = replace(dino_run(), train=replace(dino_run().train, epochs=1, warmup_epochs=0))
    dino = pretrain(trained, str(data), tmp_path / "dino", QUIET).path
    found = embed(dino, tmp_path / "logits.npz", site="logits", device="cpu")
    assert found.shapes["train_student"] == found.shapes["train_teacher"] == (16, 12)
    with pytest.raises(UserError, match=r"has no prototypes, so there are no logits; use another site: h, z, p"):
        embed(run, tmp_path / "v.npz", site="logits")
    with pytest.raises(UserError, match=r"has no predictor, so there is no p; use another site: h, z, logits"):
        embed(dino, tmp_path / "v.npz", network="student", site="p")
    assert not (tmp_path / "v.npz").exists()


def test_a_file_that_cannot_be_read_counts_once(run: Path, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    for split in ("train", "test"):
        for at in range(8):
            place = tmp_path / "photos" / split / "ab"[at % 2] / f"{at}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(place)
        (tmp_path / "photos" / split / "a" / "0.png").write_bytes(b"no image")
    parts = embed(run, tmp_path / "v.npz", f"{tmp_path / 'photos' / 'train'}@held-out=0.5", "student")
    assert parts.unreadable == 1  # held-out images and the rest are parts of one folder
    assert embed(run, tmp_path / "w.npz", str(tmp_path / "photos"), "student").unreadable == 2  # two of one name


@pytest.mark.usefixtures("typed")
def test_the_features_of_a_layer_are_those_that_the_sweep_measures(run: Path, tmp_path: Path) -> None:
    found = embed(run, tmp_path / "v.npz", device="cpu", layer="stage1, mean")
    assert found.protocol.startswith("embed-v1 (stage1, mean, eval mode, float32, clean images at 16 pixels, step")
    arrays, loaded = np.load(found.path), load_run(run, "cpu")
    data = open_data(loaded.data)
    for name, network in loaded.networks("both").items():
        expected = layer_features(network, loaded.clean(data.train))["stage1, mean"]
        assert expected.shape == (40, 4) and np.array_equal(arrays[f"train_{name}"], expected.numpy())
    plain = embed(run, tmp_path / "h.npz", device="cpu", network="student", layer="h")
    assert plain.protocol.startswith("embed-v1 (h, ")
    for layer, site, words in (
        ("stage1", "h", "no features 'stage1'; it has 'h', 'stage1, mean', 'stage2, mean'"),
        ("stage1, mean", "z", "--layer is of the backbone, and --site z of what stands behind it; leave one of them"),
        ("chosen", "h", "nothing was chosen in "),
    ):
        with pytest.raises(UserError) as refused:
            embed(run, tmp_path / "no.npz", site=site, layer=layer)  # type: ignore[arg-type]
        assert words in str(refused.value) and not (tmp_path / "no.npz").exists()


def choose(folder: RunDir, **values: object) -> None:
    """A choice as `resmom evaluate --all` writes it, as far as anybody reads it here."""
    usual = {"format": 1, "network": "teacher", "step": 5, "features": "stage1, mean", "last_step": 10}
    folder.choice.write_text(json.dumps(usual | values))


def test_what_was_chosen_is_embedded(run: Path, tmp_path: Path, call: Call) -> None:
    folder = RunDir(tmp_path / "run")
    shutil.copytree(run, folder.path)
    choose(folder)
    line = ("embed", folder.path, "--layer", "chosen", "--device", "cpu", "--out")
    status, out, err = call(*line, tmp_path / "v.npz")
    assert status == 0, err
    assert "embed-v1 (stage1, mean, eval mode, float32, clean images at 16 pixels, step 5)" in out
    arrays, loaded = np.load(tmp_path / "v.npz"), load_run(folder.kept(5), "cpu")
    expected = layer_features(loaded.networks("both")["teacher"], loaded.clean(open_data(loaded.data).train))
    assert np.array_equal(arrays["train_teacher"], expected["stage1, mean"].numpy())
    assert "train_student" not in arrays

    def refused(words: str, *options: object, place: Path = folder.path) -> None:
        status, _, err = call("embed", place, "--layer", "chosen", "--out", tmp_path / "w.npz", *options)
        assert status == 2 and words in err and err.count("\n") == 1, err
        assert not (tmp_path / "w.npz").exists()

    refused("the teacher of step 5 was chosen, not the student; leave --network out", "--network", "student")
    refused("step 5 was chosen, and", place=folder.last)
    choose(folder, last_step=7)
    refused("was made at step 7, and the run is at step 10 now; `resmom evaluate")
    choose(folder)
    folder.kept(5).unlink()
    refused("step-00000005.pt, which was chosen, is gone; `resmom evaluate")
    choose(folder, step=10, network="student", features="h")
    named = embed(folder.last, tmp_path / "last.npz", device="cpu", layer="chosen")
    assert "(h, " in named.protocol and "step 10" in named.protocol and "train_teacher" not in named.shapes
