"""The command line: help without torch, suggestions, one-line errors that leave nothing behind, options that arrive."""

import errno
import json
import os
import re
import subprocess
import sys
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from resmom import cli, dist
from resmom.commands import report as commands_report
from resmom.commands import say, tell_end
from resmom.config import from_json
from resmom.errors import UserError
from resmom.nets.backbones import MoCoViT
from resmom.recipes import names
from resmom.runs.training.interrupt import Finished
from resmom.version import VERSION
from tests.conftest import Call
from tests.data.test_folder import draw

TINY = """
    --backbone.widths 4 8 --train.batch 8 --train.epochs 1 --train.warmup-epochs 0 --method.hidden 8 --method.out 4
    --policy.views.0.size 16 --policy.views.1.size 16 --log.knn-epochs 1 --quiet --device cpu
""".split()  # noqa: SIM905  as one would type it


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty labelled images of 16 x 16."""
    path = tmp_path_factory.mktemp("data") / "images.npz"
    random = np.random.default_rng(0)
    images = random.integers(0, 256, size=(20, 16, 16, 3)).astype(np.uint8)
    np.savez(path, train_images=images, train_labels=np.arange(20) % 2)
    return path


def test_help_names_all_verbs_withruntorch() -> None:
    """In a process of its own, since this one has torch already."""
    script = (
        "import sys\n"
        "from resmom.cli import main\n"
        "sys.argv = ['resmom', '--help']\n"
        "try:\n    main()\n"
        "except SystemExit as end:\n    print('status', end.code)\n"
        "print('heavy', [n for n in ('torch', 'numpy', 'timm', 'tyro', 'sklearn') if n in sys.modules])\n"
    )
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert told.stderr == ""
    assert "status 0" in told.stdout and "heavy []" in told.stdout
    for verb in cli.VERBS:
        assert f"\n  {verb} " in told.stdout


def test_lines_of_results_and_of_messages_keep_their_order_in_one_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with `> log 2>&1`: standard output to a file is written in large blocks by default, standard error at once."""

    def verb(arguments: list[str]) -> int:
        print("a result")
        say("a message")
        print("another result")
        raise UserError("the end")

    monkeypatch.setattr(commands_report, "main", verb)
    monkeypatch.setattr(sys, "argv", ["resmom", "report"])
    log = tmp_path / "log"
    with log.open("a") as out, log.open("a", buffering=1) as err, monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", out)
        patched.setattr(sys, "stderr", err)
        with pytest.raises(SystemExit):
            cli.main()
    assert log.read_text() == "a result\na message\nanother result\nresmom report: the end\n"


def test_no_verb_is_a_wish_for_help(call: Call) -> None:
    assert call() == call("--help") == call("-h")


def test_version(call: Call) -> None:
    assert call("--version") == (0, f"resmom {VERSION}\n", "")


def test_an_unknown_verb_gets_a_suggestion(call: Call) -> None:
    status, out, err = call("pretrian", "x")
    assert (status, out) == (2, "")
    assert "there is no verb 'pretrian'" in err and "Did you mean 'pretrain'?" in err and err.count("\n") == 1


@pytest.mark.parametrize(
    ("verb", "meant"), [("train", "pretrain"), ("finetune", "evaluate RUN --finetune"), ("version", "--version")]
)
def test_verbs_of_other_tools_lead_to_ours(call: Call, verb: str, meant: str) -> None:
    status, _, err = call(verb)
    assert status == 2 and f"Did you mean '{meant}'?" in err


def test_what_a_verb_may_mean_begins_with_one_of_ours() -> None:
    assert {meant.split()[0] for meant in cli.OTHERWISE.values()} <= {*cli.VERBS, "--version", "--help"}
    assert not set(cli.OTHERWISE) & set(cli.VERBS)


@pytest.fixture
def second(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process is the second of three that torchrun has started."""
    for name, value in {"RANK": "1", "WORLD_SIZE": "3"}.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("verb", sorted(set(cli.VERBS) - {"pretrain", "resume"}))
def test_what_one_process_does_is_refused_to_several(
    call: Call, second: None, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    """Each would measure and write the same; one of them says so."""
    assert call(verb, "there") == (2, "", "")
    monkeypatch.setenv("RANK", "0")
    status, out, err = call(verb, "there")
    assert (status, out) == (2, "") and err.count("\n") == 1
    assert "torchrun has started 3" in err and "only pretrain and resume" in err


def test_of_several_processes_each_says_which_one_it_is(call: Call, second: None) -> None:
    status, out, err = call("pretrain", "nothing", "--data", "x", "--out", "y")
    assert (status, out) == (2, "")
    assert err.startswith("resmom pretrain (process 1 of 3, counted from 0): there is no recipe 'nothing'")


@pytest.mark.parametrize(
    ("world", "words"), [(1, "\n  resmom resume x"), (8, "\n  torchrun --nproc-per-node 4 -m resmom resume x")]
)
def test_a_stopped_run_says_how_it_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], world: int, words: str
) -> None:
    """With as many processes on each machine as before."""
    monkeypatch.setattr(dist, "world", lambda: world)
    for name, value in {"RANK": 0, "WORLD_SIZE": world, "LOCAL_WORLD_SIZE": min(world, 4)}.items():
        monkeypatch.setenv(name, str(value))
    assert tell_end(Finished(Path("x"), 3, 9, 15), as_json=False) == 143
    assert words in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("verb", list(cli.VERBS))
def test_help_of_each_verb(call: Call, verb: str) -> None:
    status, out, err = call(verb, "--help")
    assert (status, err) == (0, "")
    assert f"usage: resmom {verb}" in out


def test_help_of_a_recipe_lists_its_fields_with_their_values(call: Call) -> None:
    status, out, _ = call("pretrain", "mocov3_digits", "--help")
    assert status == 0
    for option in ("--data", "--out", "--train.epochs", "--residual.weight", "--policy.views.0.blur", "--device"):
        assert option in out
    assert "--method.temperature FLOAT" in out and "(default: 0.2)" in out
    assert "--run." not in out and "--recipe" not in out


def test_pretrain_without_anything_tells_both_ways(call: Call) -> None:
    status, out, err = call("pretrain")
    assert (status, out) == (2, "")
    assert "name at least --data and --out" in err and "`resmom recipes` lists the recipes" in err


def test_every_option_in_the_usage_of_pretrain_exists(call: Call) -> None:
    _, usage, _ = call("pretrain", "--help")
    _, whole, _ = call("pretrain", "mocov3_digits", "--help")
    named = set(re.findall(r"--[a-z][a-z0-9.-]+", usage)) - {
        "--time",
        "--backbone",
        "--method",
        "--image-size",
    }  # these are not fields
    assert len(named) > 15 and [option for option in sorted(named) if not re.search(rf"{option}\b", whole)] == []


def test_an_unknown_recipe_gets_a_suggestion(call: Call, tmp_path: Path) -> None:
    status, _, err = call("pretrain", "mocov3_digit", "--data", "x", "--out", tmp_path / "run")
    assert status == 2 and "there is no recipe 'mocov3_digit'" in err and "did you mean mocov3_digits" in err
    assert err.count("\n") == 1


def test_recipes_lists_and_shows(call: Call) -> None:
    status, out, _ = call("recipes")
    assert status == 0 and all(name.removesuffix("_residual") in out for name in names())
    status, out, _ = call("recipes", "show", "byol_cifar100_r18_residual")
    assert status == 0 and "# Source: solo-learn" in out
    shown = from_json(json.loads(out[out.index("{") :]))
    assert shown.recipe == "byol_cifar100_r18_residual" and shown.residual.weight == 1.0
    status, plain, _ = call("recipes", "show", "byol_cifar100_r18_residual", "--json")
    assert status == 0 and from_json(json.loads(plain)) == shown
    status, listed, _ = call("recipes", "--json")
    assert status == 0 and json.loads(listed)["byol_cifar100_r18"].startswith("BYOL on CIFAR-100")
    status, out, err = call("recipes", "show", "--help")
    assert (status, err) == (0, "") and out.startswith("usage: resmom recipes")


@pytest.mark.parametrize(
    "verb", [["pretrain"], ["compare", "--vary", "residual.weight=0,1"]], ids=["pretrain", "compare"]
)
def test_defaults_that_a_named_backbone_brings_are_told(call: Call, tmp_path: Path, verb: list[str]) -> None:
    rest = ["mocov3_cifar100_r18", "--data", "nowhere", "--out", tmp_path / "run", *verb[1:], "--backbone", "resnet50"]
    told = "--backbone brings its own defaults: backbone.stem imagenet instead of small_pad2"
    assert told in call(verb[0], *rest)[2]
    assert "brings" not in call(verb[0], *rest, "--backbone.stem", "small_pad2")[2]


@pytest.mark.parametrize(
    "verb", [["pretrain"], ["compare", "--vary", "residual.weight=0,1"]], ids=["pretrain", "compare"]
)
def test_the_patches_of_a_named_transformer_are_told(call: Call, tmp_path: Path, verb: list[str]) -> None:
    rest = ["mocov3_cifar100_r18", "--data", "nowhere", "--out", tmp_path / "run", *verb[1:], "--backbone", "vit-tiny"]
    assert "backbone: ViT-tiny/4 at 32 pixels: patches by the size of the views" in call(verb[0], *rest)[2]
    assert "backbone: ViT-tiny/8 at 64 pixels" in call(verb[0], *rest, "--image-size", "64")[2]
    err = call(verb[0], *rest, "--backbone.patch", "8")[2]
    assert "patches by" not in err and "nowhere does not exist" in err
    rest[0] = "mocov3_imagenet_vits"
    err = call(verb[0], *rest, "--image-size", "64")[2]
    assert err.count("ViT-tiny/8 at 64 pixels") == 1 and "brings its own" not in err


@pytest.mark.slow
def test_a_transformer_by_name_is_derived_for_small_images(call: Call, tmp_path: Path) -> None:
    data, out = tmp_path / "x.npz", tmp_path / "run"
    images = np.random.default_rng(0).integers(0, 256, (64, 32, 32, 3), dtype=np.uint8)
    np.savez(data, train_images=images)
    short = ["--train.steps", "1", "--train.batch", "32", "--train.precision", "fp32"]
    status, _, err = call("pretrain", "--data", data, "--out", out, "--backbone", "vit-micro", *short)
    assert status == 0, err
    assert from_json(json.loads((out / "run.json").read_text())["run"]).backbone == MoCoViT("micro", image=32, patch=4)


def test_patches_of_arms_are_told(call: Call, tmp_path: Path) -> None:
    rest = ["mocov3_cifar100_r18", "--data", "nowhere", "--out", tmp_path / "run"]
    err = call("compare", *rest, "--vary", "backbone=resnet18,vit-micro")[2]
    assert "arm backbone=vit-micro: backbone: ViT-micro/4 at 32 pixels: patches by the size of the views" in err
    err = call("compare", *rest, "--vary", "image_size=32,64", "--backbone", "vit-micro")[2]
    assert (
        "arm image_size=64: ViT-micro/4 at 64 pixels, with the patches that all arms have; --vary backbone=vit-mi"
        in err
    )


def test_unknown_data_is_told_in_one_line(call: Call, tmp_path: Path) -> None:
    for spec, words in (("nowhere", "nowhere does not exist"), ("cifar1", "Did you mean cifar10")):
        status, _, err = call("pretrain", "mocov3_digits", "--data", spec, "--out", tmp_path / "run", *TINY)
        assert status == 2 and words in err and err.count("\n") == 1
        assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("verb", ["resume", "evaluate", "gap"])
def test_a_folder_withruna_run_is_told(call: Call, tmp_path: Path, verb: str) -> None:
    status, _, err = call(verb, tmp_path)
    assert status == 2 and "is not a run folder" in err and err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_options_reach_the_run_and_the_verbs_read_it(call: Call, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    overrides = ["--residual.weight", "0.5", "--policy.views.0.blur", "0.3", "--train.seed", "7"]
    status, told, _ = call("pretrain", "mocov3_digits", "--data", data, "--out", out, *TINY, *overrides, "--json")
    assert status == 0
    assert json.loads(told) == {"path": str(out), "step": 2, "steps": 2, "interrupted_by": None}
    written = json.loads((out / "run.json").read_text())
    run = from_json(written["run"])
    assert written["data"] == str(data)
    assert (run.recipe, run.train.epochs, run.train.seed) == ("mocov3_digits", 1, 7)
    assert (run.residual.weight, run.policy.views[0].blur, run.policy.views[1].blur) == (0.5, 0.3, 0.0)

    status, _, err = call("pretrain", "mocov3_digits", "--data", data, "--out", out, *TINY)
    assert status == 2 and f"resmom resume {out}" in err and err.count("\n") == 1

    status, told, _ = call("gap", out, "--json")
    assert status == 0 and [row["site"] for row in json.loads(told)["checkpoints"][-1]["rows"]] == ["h", "z", "p"]
    status, told, _ = call("evaluate", out, "--protocols", "knn", "--json")
    assert status == 0 and [row["network"] for row in json.loads(told)] == ["student", "teacher"]
    status, told, _ = call("resume", out, "--quiet")
    assert status == 0 and "finished" in told


class TestData:
    """resmom data check and pack."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        for number in range(6):
            draw(tmp_path / f"photos/{'ab'[number % 2]}/{number}.png", number, 40, 50)
        (tmp_path / "photos/a/broken.jpg").write_text("no image")
        return tmp_path / "photos"

    def test_check(self, call: Call, folder: Path) -> None:
        status, out, _ = call("data", "check", folder)
        assert status == 1
        assert "train: 6 images, shorter sides 40 to 40 pixels" in out and "2 classes of 3 to 3 images" in out
        assert "1 cannot be read:\n    'a/broken.jpg': not an image" in out
        (folder / "a/broken.jpg").unlink()
        status, out, _ = call("data", "check", folder, "--json")
        (found,) = json.loads(out)
        assert (status, found["images"], found["per_class"], found["damaged"]) == (0, 6, [3, 3], [])
        assert found["passed_over"] == "" and "passed over" not in out.replace("passed_over", "")
        (folder / "camera.dng").write_bytes(b"x")
        status, out, _ = call("data", "check", folder)
        assert status == 0 and "passed over: pictures of formats that are not read (1 .dng)" in out
        status, _, err = call("data", "check", "")
        assert status == 2 and "the name of the data is empty" in err

    @pytest.mark.parametrize("form", ["folder", "list", "archive"])
    def test_of_data_of_which_nothing_can_be_read_every_file_is_named(
        self, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
    ) -> None:
        """The call is right, and its status is that of data which is not all readable."""
        monkeypatch.chdir(tmp_path)
        names = ["a.jpg", "b.jpg", "c.jpg"]
        for name in names:
            Path("photos", name).parent.mkdir(exist_ok=True)
            Path("photos", name).write_text("" if name == "c.jpg" else "no image")
        Path("list.csv").write_text("path;split\n" + "".join(f"photos/{name};train\n" for name in names))
        with tarfile.open("photos.tar", "w") as tar:
            for name in names:
                tar.add(f"photos/{name}")
        data, where = {
            "folder": ("photos", tmp_path / "photos"),
            "list": ("list.csv", tmp_path),
            "archive": ("photos.tar", tmp_path / "photos.tar"),
        }[form]
        named = names if form == "folder" else [f"photos/{name}" for name in names]
        status, out, err = call("data", "check", data)
        assert (status, err) == (1, "")
        first, *files, advice, rest = out.splitlines()
        assert first == "train: none of 3 images can be read:"
        assert [line.partition(": ")[0] for line in files] == [f"    '{name}'" for name in named]
        assert "not an image of the formats JPEG" in files[0] and files[2].endswith("': the file is empty")
        assert advice == (
            f"Check that these images are there and whole, and that you may read them; they are looked for in {where}"
        )
        assert rest == "nothing else was looked at, neither another split nor classes"
        status, out, _ = call("data", "check", data, "--json")
        (found,) = json.loads(out)
        assert (status, found["split"], found["images"], found["sides"]) == (1, "train", 0, None)
        assert [name for name, _ in found["damaged"]] == named and found["notes"] == [advice, rest]

        status, _, err = call("pretrain", "--data", data, "--out", "run")
        assert status == 2 and err.count("\n") == 1 and not Path("run").exists()
        assert err.startswith(
            f"resmom pretrain: none of the 3 images of {data} can be read, such as {named[0]}: not an"
        )
        assert f"; {named[2]}: the file is empty. {advice}; `resmom data check` names all of them\n" in err
        assert named[1] not in err, "which has the same reason as the first"

    def test_a_test_split_alone_of_which_nothing_can_be_read(self, call: Call, folder: Path) -> None:
        for split in ("train", "val"):
            (folder / split).mkdir()
        (folder / "a").rename(folder / "train/a")
        (folder / "b").rename(folder / "train/b")
        (folder / "val/x.jpg").write_text("no image")
        status, out, _ = call("data", "check", folder)
        assert status == 1 and out.startswith("test: none of 1 images can be read:\n    'x.jpg': not an image")
        assert f"looked for in {folder / 'val'}\n" in out
        (folder / "val/y.jpg").write_text("no image")  # a folder that is only called so
        assert call("data", "check", folder / "val")[1].startswith("train: none of 2 images can be read:\n")

    @pytest.mark.parametrize("name", ["x.tar", "x.npz", "pack"])
    def test_data_that_is_damaged_as_a_whole(self, call: Call, tmp_path: Path, name: str) -> None:
        if name == "pack":
            (tmp_path / name).mkdir()
            (tmp_path / name / "pack.json").write_text("{")
        else:
            (tmp_path / name).write_bytes(b"x" * 700)
        status, out, err = call("data", "check", tmp_path / name)
        assert (status, out, err.count("\n")) == (1, "", 1)
        assert err.startswith(f"resmom data check: {tmp_path / name}") and "cannot be read" in err
        assert call("data", "check", tmp_path / "nowhere.tar")[0] == 2

    def test_threads_are_as_many_as_are_asked_for(
        self, call: Call, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Those that decode, and torch's: on a shared machine all other cores are left alone."""
        asked: list[int | None] = []

        class Pool(ThreadPoolExecutor):
            def __init__(self, workers: int | None = None) -> None:
                asked.append(workers)
                super().__init__(workers)

        monkeypatch.setattr("resmom.data.files.ThreadPoolExecutor", Pool)
        monkeypatch.setattr("torch.set_num_threads", lambda number: asked.append(-number))
        assert call("data", "check", folder, "--threads", "3")[0] == 1
        assert asked == [-3, 3, 3], "torch's, those that read the headers, those that decode"
        asked.clear()
        call("data", "check", folder)
        assert set(asked) == {None}
        monkeypatch.setattr("resmom.data.packing.pack", lambda *given: asked.append(given[4]) or 1 / 0)
        monkeypatch.setattr("resmom.data.loader.workers_here", lambda: 7)
        for options, expected in (([], 7), (["--workers", "2"], 2)):
            with pytest.raises(ZeroDivisionError):
                call("data", "pack", folder, "--out", tmp_path / "p", "--threads", "5", *options)
            assert asked[-2:] == [-5, expected]
        assert "threads is -1" in call("data", "check", folder, "--threads", "-1")[2]
        call("export", tmp_path / "no-run", "--threads", "6")
        assert asked[-1] == -6

    @pytest.mark.slow
    def test_pack_and_train(self, call: Call, folder: Path, tmp_path: Path) -> None:
        pack = tmp_path / "new" / "pack"
        status, out, err = call("data", "pack", folder, "--out", pack, "--side", 20)
        assert status == 0 and "packed: train 6 images" in out and "'a/broken.jpg': not an image" in out
        assert f"resmom pretrain --data {pack} --out RUN" in out and "train: 6 of 6 images" in err
        assert call("data", "check", pack)[0] == 0
        run = tmp_path / "run"
        status, _, err = call(
            "pretrain", "mocov3_digits", "--data", pack, "--out", run, *TINY, "--train.batch", "4",
            "--policy.mean", "0.5", "0.5", "0.5", "--policy.std", "0.2", "0.2", "0.2", "--backbone.channels", "3",
        )  # fmt: skip
        assert status == 0, err
        assert call("resume", run)[0] == 0

    def test_mistakes(self, call: Call, folder: Path, tmp_path: Path) -> None:
        for arguments, words in (
            (("data", "pck", folder), "there is no 'pck'"),
            (("data", "pack", tmp_path / "nowhere", "--out", tmp_path / "p"), "does not exist"),
            (("data", "pack", folder, "--out", folder), "holds other files"),
        ):
            status, _, err = call(*arguments)
            assert status == 2 and words in err
        assert call("data")[0] == 0


@pytest.mark.parametrize("option", ["--train.epochs", "--time", "--residual.weight=1", "--optim.lr"])
def test_whoever_wants_a_run_otherwise_is_told_how(option: str, call: Call) -> None:
    status, _, err = call("resume", "run", option, "2")
    assert status == 2 and err.count("\n") == 1
    assert f"which {option.partition('=')[0]} would change; begin another one from its weights: resmom pretrain" in err


def test_resume_goes_on_with_the_threads_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their number decides the last bits of a sum."""
    from resmom.commands import resume

    given = []
    monkeypatch.setattr(resume, "set_process", lambda machine: given.append(machine.threads))
    monkeypatch.setattr("resmom.runs.pretrain.resume", lambda run, machine, data: None)
    monkeypatch.setattr(resume, "tell_end", lambda finished, as_json: 0)
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    lines = tmp_path / "environment.jsonl"
    for began, asked, expected in ((3, [], 3), (3, ["--threads", "2"], 2), (8, [], 0), (None, [], 0)):
        lines.unlink(missing_ok=True)
        if began is not None:
            lines.write_text(json.dumps({"threads": began}) + "\n" + json.dumps({"threads": 1}) + "\n")
        assert resume.main([str(tmp_path), *asked]) == 0
        assert given[-1] == expected


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EACCES, "choose a place that you may read and write"),
        (errno.EROFS, "choose a place that you may read and write"),
        (errno.ENOSPC, "make room, or choose a place on another disk"),
        (errno.ENAMETOOLONG, "choose a shorter one"),
    ],
)
def test_what_the_system_refuses_is_one_line(
    call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, number: int, words: str
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number), "/closed/run.json")

    monkeypatch.setattr("resmom.runs.ready.open_data", refused)
    status, _, err = call("pretrain", "mocov3_digits", "--data", "photos", "--out", tmp_path / "run")
    assert status == 2 and err.startswith("resmom pretrain: /closed/run.json: ") and words in err
    assert err.count("\n") == 1
    monkeypatch.setattr("resmom.runs.ready.open_data", lambda *_, **__: Path("/nowhere/at/all").stat())
    with pytest.raises(FileNotFoundError):  # what is no refusal is a fault of ours, and shows itself
        call("pretrain", "mocov3_digits", "--data", "photos", "--out", tmp_path / "run")


def test_ctrl_c_outside_of_training_is_one_line(call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Such as while images are loaded, or in the trial of a run."""

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("resmom.runs.ready.open_data", interrupted)
    status, _, err = call("pretrain", "mocov3_digits", "--data", "photos", "--out", tmp_path / "run")
    assert status == 130 and err == "resmom pretrain: interrupted; what is written is whole, the rest is not done\n"


@pytest.mark.parametrize("fails", [False, True])
def test_a_process_ends_at_once_when_its_work_is_done(fails: bool) -> None:
    """Not by looking for cycles in all that torch has made, but after its threads, its handlers and its last words."""
    script = (
        "import atexit, os, sys, threading, time, types\n"
        "from resmom.__main__ import run\n"
        "class Cycle:\n"
        "    def __del__(self, write=os.write):\n"
        "        write(2, b'looked for\\n')\n"
        "def late():\n"
        "    time.sleep(0.1)\n"
        "    print('thread')\n"
        "def verb(arguments):\n"
        "    cycle = Cycle()\n"
        "    cycle.itself = cycle\n"
        "    atexit.register(print, 'handler')\n"
        "    threading.Thread(target=late).start()\n"
        f"    return 1 / 0 if {fails} else 3\n"
        "sys.modules['resmom.commands.gap'] = types.SimpleNamespace(main=verb)\n"
        "sys.argv = ['resmom', 'gap', 'run']\n"
        "run()\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert ended.stdout == "thread\nhandler\n"
    if fails:
        assert ended.returncode == 1 and "ZeroDivisionError" in ended.stderr
    else:
        assert (ended.returncode, ended.stderr) == (3, "")


def test_views_of_two_sizes_are_a_mistake(call: Call, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", train_images=np.zeros((600, 28, 28, 1), dtype=np.uint8))
    status, _, err = call(
        "pretrain", "mocov3_digits", "--data", tmp_path / "x.npz", "--out", tmp_path / "run",
        "--policy.views.0.size", "64",
    )  # fmt: skip
    assert status == 2 and err.count("\n") == 1
    assert "sides of 64 and 32 pixels, and MoCo-v3 compares views of one size; set it for all with" in err
    assert "--image-size" in err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--train.steps", "4", "--train.warmup-epochs", "2"], "counts in steps; give --train.warmup-steps"),
        (["--train.warmup-steps", "9"], "counts in epochs; give --train.warmup-epochs"),
    ],
)
@pytest.mark.parametrize(
    "verb",
    [["pretrain", "mocov3_cifar100_small"], ["compare", "mocov3_cifar100_small", "--vary", "residual.weight=0,1"]],
)
def test_a_warm_up_in_the_other_unit_is_refused(
    call: Call, data: Path, tmp_path: Path, verb: list[str], options: list[str], words: str
) -> None:
    status, _, told = call(*verb, "--data", data, "--out", tmp_path / "run", *options)
    assert status == 2 and words in told and not (tmp_path / "run").exists()


def test_a_warm_up_that_does_not_hold_is_told(call: Call, data: Path, tmp_path: Path) -> None:
    first = TINY.index("--train.epochs")  # and the warm-up behind it
    options = [*TINY[:first], *TINY[first + 4 :], "--train.steps", "2"]
    options.remove("--quiet")
    status, _, told = call("pretrain", "mocov3_cifar100_small", "--data", data, "--out", tmp_path / "run", *options)
    assert status == 0 and "no warm-up" in told and "--train.warmup-steps N" in told
