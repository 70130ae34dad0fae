"""The same mistakes from Python and on the command line: each refusal names what its reader can set."""

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

import resmom
from resmom.errors import UserError
from resmom.evaluate.fcn import Fcn
from resmom.evaluate.settings import Linear, OtherKnn
from resmom.methods.mocov3 import MoCoV3
from resmom.nets.backbones import DinoViT, ResNet, SmallResNet, build_backbone
from resmom.rundir import RunDir
from resmom.runs.finetuned.detect import detect_train
from resmom.runs.finetuned.segment import segment_train
from resmom.runs.loggers.eventfiles import export_events
from resmom.runs.machine import Machine
from resmom.runs.origin import Origin
from resmom.runs.predicting.predict import predict
from tests.conftest import Call
from tests.runs.crash import small_run, write_images
from tests.runs.rectangles import tiny

OPTION = re.compile(r"(?<![\w-])--[a-z]")


@dataclass(frozen=True)
class There:
    """A finished run, its images, weights of another network, and a folder that is not there yet."""

    run: Path
    data: Path
    weights: Path
    free: Path

    @property
    def result(self) -> resmom.Result:
        return resmom.result(self.run)


@dataclass(frozen=True)
class Mistake:
    """`python` makes it, and `typed` on the command line, where it can be made; the words that both are told with."""

    python: Callable[[There], object]
    words: str
    typed: str = ""
    told: str = ""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[There]:
    root = tmp_path_factory.mktemp("refusals")
    data = write_images(root / "images.npz", n=80)
    resmom.pretrain(str(data), root / "run", small_run(epochs=2), device="cpu", quiet=True)
    torch.save(build_backbone(ResNet(18)).body.state_dict(), root / "resnet.pth")
    yield There(root / "run", data, root / "resnet.pth", root / "new")
    shutil.rmtree(root)


def pretrain(there: There, change: Callable[[Any], Any] = lambda run: run, **given: Any) -> object:
    return resmom.pretrain(str(there.data), there.free, small_run(), change=change, device="cpu", quiet=True, **given)


def derived(there: There, **given: Any) -> object:
    return resmom.pretrain(str(there.data), there.free, device="cpu", quiet=True, **given)


def sides(run: Any) -> Any:
    first, second = run.policy.views
    return replace(run, policy=replace(run.policy, views=(first, replace(second, size=24))))


EVALUATE, PRETRAIN = "evaluate RUN --device cpu", "pretrain RUN --out NEW --device cpu"
DERIVED = "pretrain --data DATA --out NEW --device cpu"
WEIGHTS = "evaluate --data DATA --device cpu"
DETECT, SEGMENT = (f"{verb} train --backbone resnet18 --data DATA --out NEW" for verb in ("detect", "segment"))
NO_ROOM = "is there already; give another"

MISTAKES = {
    # what is measured
    "seed": Mistake(
        lambda t: t.result.evaluate(seed=1),
        "^seed has no effect .* it goes with low_shot or a share as labels, .* linear.seed",
        f"{EVALUATE} --seed 1",
        "--seed has no effect on what this call measures; it goes with --low-shot or --labels SHARE, .* --linear.seed",
    ),
    "knn": Mistake(
        lambda t: t.result.evaluate("linear", knn=OtherKnn(temperature=0.5)),
        "^knn.temperature has no effect .* goes with protocols='knn' or low_shot",
        f"{EVALUATE} --protocols linear --knn.temperature 0.5",
        "--knn.temperature has no effect .* goes with --protocols knn or --low-shot",
    ),
    "linear": Mistake(
        lambda t: t.result.evaluate("knn", linear=Linear(weight_decays=(0.0,))),
        "^linear.weight_decays has no effect .* goes with protocols='linear', sweep or keep$",
        f"{EVALUATE} --protocols knn --linear.weight-decays 0",
        "--linear.weight-decays has no effect .* goes with --protocols linear, --sweep or --all$",
    ),
    "keep": Mistake(lambda t: t.result.keep(seed=1), "^seed has", f"{EVALUATE} --all --seed 1", "--seed has"),
    "protocols": Mistake(
        lambda t: t.result.evaluate(()), "^protocols needs", f"{EVALUATE} --protocols", "--protocols needs"
    ),
    "no shots": Mistake(
        lambda t: t.result.evaluate(low_shot=0),
        "^low_shot needs numbers of images per class, of at least 1; got 0$",
        f"{EVALUATE} --low-shot 0",
        "--low-shot needs numbers of images per class, of at least 1; got 0$",
    ),
    "labels in a folder": Mistake(
        lambda t: t.result.evaluate("knn", labels=t.run),
        "^labels must be a share .*run' is neither: it is a folder$",
        f"{EVALUATE} --protocols knn --labels RUN",
        "--labels must be a share .*run' is neither: it is a folder$",
    ),
    "labels in no text": Mistake(
        lambda t: t.result.evaluate("knn", labels=t.data),
        "^labels must be a share .*npz' is neither: it is no text$",
        f"{EVALUATE} --protocols knn --labels DATA",
        "--labels must be a share .*npz' is neither: it is no text$",
    ),
    "draws": Mistake(
        lambda t: t.result.evaluate("knn", draws=3),
        "^draws=3 would give one number .* smaller share as labels or low_shot",
        f"{EVALUATE} --protocols knn --draws 3",
        "--draws 3 would give one number .* smaller --labels SHARE or --low-shot",
    ),
    "no draws": Mistake(
        lambda t: t.result.evaluate("linear", draws=0),
        "^draws must be 1 or more",
        f"{EVALUATE} --protocols linear --draws 0",
        "--draws must be 1 or more",
    ),
    "labels": Mistake(
        lambda t: t.result.evaluate("knn", labels="few.txt"),
        "^labels must be a share",
        f"{EVALUATE} --protocols knn --labels few.txt",
        "--labels must be a share",
    ),
    "both draw": Mistake(
        lambda t: t.result.evaluate(low_shot=1, labels=0.5),
        "^low_shot and labels, where they are a share, both draw",
        f"{EVALUATE} --low-shot 1 --labels 0.5",
        "--low-shot and --labels SHARE both draw",
    ),
    "image size": Mistake(
        lambda t: t.result.evaluate(image_size=4),
        "^image_size is 4;",
        f"{EVALUATE} --image-size 4",
        "--image-size is 4;",
    ),
    "crops of another size": Mistake(
        lambda t: t.result.evaluate(image_size=24, linear_crop=True),
        "^linear_crop and finetune train .* leave image_size out, .* protocols='linear', sweep",
        f"{EVALUATE} --image-size 24 --linear-crop",
        "--linear-crop and --finetune train .* leave --image-size out, .* --protocols linear, --sweep",
    ),
    "save classifier": Mistake(
        lambda t: t.result.evaluate("linear", save_classifier=t.free),
        "^save_classifier keeps one .* network='student' or teacher, one of protocols='linear', linear_crop and",
        f"{EVALUATE} --protocols linear --save-classifier NEW",
        "--save-classifier keeps one .* --network student or teacher, one of --protocols linear, --linear-crop and",
    ),
    "form of a classifier": Mistake(
        lambda t: t.result.evaluate("linear", network="student", save_classifier=t.free),
        r"^save_classifier .* must end in \.safetensors",
        f"{EVALUATE} --protocols linear --network student --save-classifier NEW",
        r"--save-classifier .* must end in \.safetensors",
    ),
    "no classifier": Mistake(
        lambda t: resmom.load_classifier(t.run / "export/backbone-student.safetensors"),
        r"evaluate\('linear', network='student', save_classifier=FILE\) of a result, or finetune=True in place",
        "predict RUN/export/backbone-student.safetensors --data DATA --out NEW.csv",
        "--protocols linear --save-classifier FILE`, or --finetune in place of --protocols linear",
    ),
    "gap": Mistake(
        lambda t: t.result.gap(images=1), "^images is 1;", "gap RUN --device cpu --images 1", "--images is 1;"
    ),
    "device": Mistake(
        lambda t: t.result.evaluate(device="gpu"),
        "use device='cpu' or 'auto'$",
        "evaluate RUN --device gpu",
        "use --device cpu or auto$",
    ),
    # what is handed on
    "layer and site": Mistake(
        lambda t: t.result.embed(t.free.with_suffix(".npz"), layer="stage1, mean", site="z"),
        "^layer is of the backbone, and site='z' of",
        "embed RUN --out NEW.npz --layer stage1 --site z",
        "--layer is of the backbone, and --site z of",
    ),
    "predictions of both": Mistake(
        lambda t: t.result.embed(t.free.with_suffix(".npz"), site="p"),
        "give network='student', or site 'z' or 'h'$",
        "embed RUN --out NEW.npz --site p --device cpu",
        "give --network student with --site p, or --site z or h$",
    ),
    "nothing chosen": Mistake(
        lambda t: t.result.embed(t.free.with_suffix(".npz"), layer="chosen"),
        r"resmom\.result\('.*run'\)\.keep\(\) chooses network",
        "embed RUN --out NEW.npz --layer chosen",
        "`resmom evaluate .*run --all` chooses network",
    ),
    "a file there": Mistake(
        lambda t: t.result.embed(shutil.copy(t.data, t.data.with_name("old.npz"))),
        f"{NO_ROOM} out, or",
        "embed RUN --out DATA",
        f"{NO_ROOM} --out, or",
    ),
    "form of an export": Mistake(
        lambda t: t.result.export(t.free, to="detectron2"),
        "export it with to='safetensors', or",
        "export RUN --to detectron2 --out NEW",
        "export it with --to safetensors, or",
    ),
    "an export into a file": Mistake(
        lambda t: t.result.export(t.data),
        "is a file; out must be a folder",
        "export RUN --to safetensors --out DATA",
        "is a file; --out must be a folder",
    ),
    "an export into a run": Mistake(
        lambda t: t.result.export(t.run),
        r"\(resmom\.resume continues it\); give another out$",
        "export RUN --to safetensors --out RUN",
        r"\(`resmom resume` continues it\); give another --out$",
    ),
    "threshold": Mistake(
        lambda t: predict(t.run, str(t.data), t.free, threshold=2.0),
        "^threshold is 2;",
        "predict RUN --data DATA --out NEW --threshold 2",
        "--threshold is 2;",
    ),
    "nothing that names classes": Mistake(
        lambda t: predict(t.run, str(t.data), t.free),
        r"evaluate\('linear', data=LABELLED, network='student', save_classifier='FILE\.safetensors'\) of its result",
        "predict RUN --data DATA --out NEW",
        "--data LABELLED --network student --protocols linear --save-classifier FILE.safetensors`",
    ),
    "a page of another format": Mistake(
        lambda t: t.result.report(t.free.with_suffix(".pdf"), images=False),
        r"^a report is a page in HTML: out must be named so, such as .*new\.html",
        "report RUN --no-images --out NEW.pdf",
        r"a report is a page in HTML: --out must be named so, such as .*new\.html",
    ),
    # what is no run, and what is no weights
    "weights as a run": Mistake(
        lambda t: resmom.load(t.weights),
        r"is weights, not a run: resmom\.weights\('.*resnet\.pth'\) measures, embeds and exports them, and pretrain",
        "embed WEIGHTS --out NEW.npz",
        r"is weights, not a run: name them by --init .*resnet\.pth, which pretrain, compare, evaluate, embed",
    ),
    "weights of a run as a run": Mistake(
        lambda t: resmom.report(t.run / "export/backbone-student.safetensors", t.free),
        "not a run, and a page is about what was measured in a run: resmom.weights.*; the run in whose folder they",
        "report RUN/export/backbone-student.safetensors --out NEW",
        "not a run, and a page is about what was measured in a run: name them by --init .*run$",
    ),
    "weights to go on from": Mistake(
        lambda t: resmom.resume(t.weights, quiet=True),
        "not a run, and a run goes on with its other networks and its optimiser, too: resmom.weights",
        "resume WEIGHTS",
        "not a run, and a run goes on with its other networks and its optimiser, too: name them by --init",
    ),
    "weights to begin from": Mistake(
        lambda t: resmom.pretrain(str(t.data), t.free, str(t.weights), quiet=True),
        r"^there is no recipe '.*pth': .* is weights, not a run: .* starts from them with init='",
        "pretrain WEIGHTS --data DATA --out NEW",
        "there is no recipe '.*pth': .* is weights, not a run: name them by --init",
    ),
    "measurements of weights": Mistake(
        lambda t: export_events(t.weights),
        "not a run, and measurements are those of a run: resmom.weights",
        "export WEIGHTS --to tensorboard",
        "is weights, not a run: name them by --init",
    ),
    "images as a run": Mistake(
        lambda t: resmom.result(t.data),
        r"images\.npz looks like images, not a run; images are named with data='",
        "gap DATA",
        r"images\.npz looks like images, not a run; images are named with --data ",
    ),
    "a run as weights": Mistake(
        lambda t: resmom.pretrain(str(t.data), t.free, small_run(), init=t.run, quiet=True),
        "run is a run folder; name a file of its weights: .*backbone-student.safetensors, .*-teacher.safetensors$",
        f"{PRETRAIN} --init RUN",
        "run is a run folder; name a file of its weights: .*backbone-student.safetensors, .*-teacher.safetensors$",
    ),
    "a run as a classifier": Mistake(
        lambda t: resmom.load_classifier(t.run),
        r"run is a folder, and a classifier is a file, which ends in \.safetens",
    ),
    "a run as images": Mistake(
        lambda t: t.result.embed(t.free.with_suffix(".npz"), str(t.run)),
        r"run is the folder of a run, and holds no images; its own are those that its run\.json names as data$",
        "embed RUN --data RUN --out NEW.npz",
        r"run is the folder of a run, and holds no images; its own are those that its run\.json names as data$",
    ),
    "a method as a recipe": Mistake(
        lambda t: resmom.recipe("byol"),
        "^there is no recipe 'byol'; a method is named by method='byol'; did you mean byol_",
        "recipes show byol",
        "there is no recipe 'byol'; a method is named by --method byol; did you mean byol_",
    ),
    "a backbone as a recipe": Mistake(
        lambda t: resmom.recipe("resnet18"),
        r"^there is no recipe 'resnet18'; a backbone is named by backbone='resnet18' \(",
    ),
    # how runs are trained
    "time": Mistake(
        lambda t: derived(t, time="soon"),
        "^the time is 'soon'",
        f"{DERIVED} --time soon",
        r"the time \(--time\) is 'so",
    ),
    "compile": Mistake(
        lambda t: pretrain(t, compile="graphs"),
        "^compile='graphs' records",
        f"{PRETRAIN} --compile graphs",
        "--compile graphs records",
    ),
    "views of two sides": Mistake(
        lambda t: pretrain(t, sides),
        r"set it for all with with_side of resmom\.recipes\.side, or policy\.views\.0\.size",
        f"{PRETRAIN} --policy.views.1.size 24",
        r"set it for all with --image-size, or --policy\.views\.0\.size",
    ),
    "patches that do not divide": Mistake(
        lambda t: pretrain(t, lambda run: replace(run, backbone=DinoViT("tiny", image=20, patch=16))),
        r"set the side \(with_side of resmom\.recipes\.side\) to 16 or 32, or another backbone\.patch$",
        f"{PRETRAIN} --backbone dino-vit-tiny --backbone.image 20 --backbone.patch 16",
        r"set --image-size to 16 or 32, or another --backbone\.patch$",
    ),
    "weights of another backbone": Mistake(
        lambda t: pretrain(t, init=t.weights),
        r"^init: .*use backbone='resnet18', without settings of its own beside it \(backbone\.widths and",
        f"{PRETRAIN} --init WEIGHTS",
        r"--init: .*use --backbone resnet18, without settings of its own beside it \(--backbone\.widths and",
    ),
    "nothing like it": Mistake(
        lambda t: resmom.weights(t.run / "export/backbone-student.safetensors", backbone="resnet18"),
        "leave backbone out, or say backbone='small'$",
        f"{WEIGHTS} --init RUN/export/backbone-student.safetensors --backbone resnet18",
        "leave --backbone out, or say --backbone small$",
    ),
    "hidden patches": Mistake(
        lambda t: derived(t, method="ibot", backbone="small"),
        r"set backbone to a DinoViT, a MoCoViT or .* Timm\('vit_small_patch16_224'\)$",
        f"{DERIVED} --method ibot --backbone small",
        "set --backbone dino-vit-small .*timm:vit_small_patch16_224$",
    ),
    "another run": Mistake(
        lambda t: resmom.pretrain(
            str(t.data),
            t.run,
            small_run(epochs=2),
            device="cpu",
            quiet=True,
            or_resume=True,
            change=lambda run: replace(run, method=replace(run.method, hidden=16)),
        ),
        r"give another folder \(out\)$",
    ),
    "profile": Mistake(
        lambda t: resmom.profile(run=t.run, seconds=0, quiet=True),
        "^seconds is 0;",
        "profile RUN --device cpu --seconds 0",
        "--seconds is 0;",
    ),
    # weights without a run
    "no weights": Mistake(lambda t: resmom.weights(), r"^name weights: init='w\.pth', or backbone='resnet18' for"),
    "stem": Mistake(
        lambda t: resmom.weights(backbone="small", stem="small"),
        "^stem goes with",
        f"{WEIGHTS} --backbone small --stem small",
        "--stem goes with",
    ),
    "stem of a module": Mistake(
        lambda t: resmom.weights(backbone=torch.nn.Conv2d(3, 4, 3), stem="small"), "^stem is of the backbones that"
    ),
    "mean": Mistake(
        lambda t: resmom.weights(backbone="resnet18", mean=(0.5,)),
        "^mean and std go together",
        f"{WEIGHTS} --backbone resnet18 --mean 0.5",
        "--mean and --std go together",
    ),
    "chosen of weights": Mistake(
        lambda t: resmom.weights(backbone="small").embed(t.free.with_suffix(".npz"), str(t.data), "chosen"),
        r"^layer='chosen' is what keep\(\) of a result .* evaluate\(data, sweep=True\) has",
        "embed --backbone small --data DATA --out NEW.npz --layer chosen",
        "--layer chosen is what `resmom evaluate RUN --all` chose .*`resmom evaluate --sweep` prints",
    ),
    "rows into a file": Mistake(
        lambda t: resmom.weights(backbone="small").evaluate(str(t.data), out=t.data),
        "is a file; out must be a folder",
        f"{WEIGHTS} --backbone small --out DATA",
        "is a file; --out must be a folder",
    ),
    # what is fine-tuned
    "steps of a detector": Mistake(
        lambda t: detect_train(tiny(steps=0), ORIGIN, [str(t.data)], [], t.free, Machine()),
        "^steps, batch and line_steps must be 1 or more, .* precise_bn 0 or more",
        f"{DETECT} --steps 0",
        "--steps, --batch and --line-steps must be 1 or more, .* --precise-bn 0 or more",
    ),
    "decay by layer": Mistake(
        lambda t: detect_train(tiny(layer_decay=0.5), ORIGIN, [str(t.data)], [], t.free, Machine()),
        "^layer_decay must be in .* it goes with optim='adamw'",
        f"{DETECT} --layer-decay 0.5 --optim sgd",
        "--layer-decay must be in .* it goes with --optim adamw",
    ),
    "steps of a segmentation network": Mistake(
        lambda t: segment_train(Fcn(steps=0), ORIGIN, [str(t.data)], [], t.free, Machine()),
        "^steps, batch and line_steps must be 1 or more, save_steps",
        f"{SEGMENT} --recipe segment_small --steps 0",
        "--steps, --batch and --line-steps must be 1 or more, --save-steps",
    ),
}

ORIGIN = Origin(backbone=SmallResNet((8, 16)))


@pytest.mark.usefixtures("small_transformers")
@pytest.mark.parametrize("name", MISTAKES)
def test_a_refusal_names_what_its_reader_can_set(name: str, made: There, call: Call) -> None:
    mistake = MISTAKES[name]
    with pytest.raises(UserError) as refused:
        mistake.python(made)
    assert re.search(mistake.words, str(refused.value), re.S) and not OPTION.search(str(refused.value))
    assert not made.free.exists()
    if mistake.typed:
        places = {"RUN": made.run, "DATA": made.data, "NEW": made.free, "WEIGHTS": made.weights}
        words = [
            re.sub(r"^(RUN|DATA|NEW|WEIGHTS)(?![A-Z])", lambda m: str(places[m[1]]), w) for w in mistake.typed.split()
        ]
        status, _, err = call(*words)
        assert status == 2 and re.search(mistake.told, err.splitlines()[-1]), err
        assert not made.free.exists()


def test_what_a_run_says_of_itself_is_in_the_words_of_its_reader(
    made: There, capsys: pytest.CaptureFixture[str]
) -> None:
    """Short runs cannot be judged, and networks that trained weights start from want a lower rate."""
    assert "Train longer (train.steps or train.epochs, whichever" in str(made.result)
    run = replace(small_run(epochs=2), method=MoCoV3(hidden=8, out=4))
    again = made.run.with_name("again")
    resmom.pretrain(str(made.data), again, run, device="cpu", init=RunDir(made.run).last)
    told = capsys.readouterr().err
    assert "usually want a tenth of what random ones do (optim.lr)" in told and not OPTION.search(told)
