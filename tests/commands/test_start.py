"""Which commands answer `--help`, and refuse what is wrong, without waiting for torch: all that can."""

import dataclasses
import json
import subprocess
import sys

import pytest
from beartype.roar import BeartypeCallHintViolation

from resmom import cli, which
from resmom.commands import detect, resume, segment, usages
from resmom.config import Run
from resmom.methodconfig import METHODS
from resmom.nets.backbones import backbone_named
from resmom.recipes.detection import DETECTION
from resmom.recipes.segmentation import SEGMENTATION
from resmom.runs.comparisons.results import RESULTS

LIGHT = (
    *("evaluate run", "gap run", "embed run --out v.npz", "export run", "report run", "resume run", "demo", "doctor"),
    *("predict trained --data x --out new", "data check x", "data pack x --out new"),
    *("detect resume out", "detect evaluate out", "segment resume out", "segment evaluate out"),
)
"""Calls whose options are no fields of a run or of a recipe."""

HEAVY = (
    *("pretrain mocov3_digits", "compare mocov3_digits", "profile mocov3_digits"),
    *("detect train", "segment train"),
)
"""Calls whose options are settings that stand beside networks and methods, and so beside torch."""

OTHERS = {
    **{f"{verb} --help": "" for verb in ("data", "detect", "segment", "recipes", "recipes show")},
    "pretrain --help": "",
    "compare --help": "",
    "data chek": "there is no 'chek'",
    "detect trian": "there is no 'trian'",
    "segment trian": "there is no 'trian'",
    "recipes shwo": "there is no 'shwo'",
    "recipes show": "name the recipe to show",
    "recipes show mocov3_digits --yaml": "leave '--yaml' out",
    "report": "no run was given",
    "report run --every 5": "--every has no effect without --watch",
    "gap": "RUN is missing",
    "gap run --images 1.5": "--images is '1.5'; it takes a whole number",
    "evaluate": "RUN is missing",
    "evaluate run --linear.epochs 0": "--linear.epochs and --linear.batch must be at least 1; got 0",
    "evaluate run --probe.epochs 3": "--probe.epochs has no effect on what this call measures; it goes with",
    "evaluate run --sweep --baselines --protocols linear": "it goes with --protocols knn",
    "evaluate --init x.pt --data x --labels 0.1 --network student": "is one of a RUN's",
    "embed --out v.npz --stem small": "--stem, --mean and --std go with --init or --backbone",
    "export run --to coreml": "--to is 'coreml'; it is one of safetensors, detectron2, onnx",
    "resume run --train.epochs 3": "a run keeps its folder, its settings and its length, which --train.epochs would ch",
}
"""Further calls that end before anything is read, and what they say."""


def test_only_where_settings_of_a_run_are_options_help_and_refusals_wait_for_torch() -> None:
    """One process for all calls: most of what each of them takes is the start of an interpreter."""
    helps = {f"{form} --help": "" for form in LIGHT}
    misspelt = {f"{form} --thraeds 1": "there is no option --thraeds; did you mean --threads?" for form in LIGHT}
    expected = helps | misspelt | OTHERS
    waiting = [f"{form} {option}" for form in HEAVY for option in ("--help", "--thraeds 1")]
    assert {line.split()[0] for line in (*expected, *waiting)} == set(cli.VERBS)
    call = [sys.executable, "-m", "tests.commands.without"]
    done = subprocess.run(call, input=json.dumps([*expected, *waiting]), capture_output=True, text=True, check=True)
    came_to = json.loads(done.stdout)
    assert {line: came for line, came in came_to.items() if isinstance(came, str)} == dict.fromkeys(waiting, "torch")
    for line, words in expected.items():
        status, said = came_to[line]
        assert (line, status) == (line, 2 if words else 0)
        assert words in said and said.count("\n") == bool(words)


def test_what_is_told_without_importing_it_is_right() -> None:
    assert tuple(METHODS) == which.METHODS
    assert f"DIR/{RESULTS}." in usages.COMPARE
    for name in which.BACKBONES.removesuffix(", timm:NAME").split(", "):
        backbone_named(name)
    assert detect.DETECT.recipes == tuple(DETECTION) and segment.SEGMENT.recipes == tuple(SEGMENTATION)
    assert {field.name for field in dataclasses.fields(Run)} - resume.KEPT == {"knn", "log"}
    assert resume.KEPT - {field.name for field in dataclasses.fields(Run)} == {"out", "time"}


def test_types_that_a_command_imports_for_the_type_checker_alone_are_checked_here() -> None:
    with pytest.raises(BeartypeCallHintViolation, match="Measured"):
        detect._three("no row", "")  # type: ignore[arg-type]
    assert "Measured" not in vars(detect)
