"""Compiled backbones: the same run, nothing compiled but the steps, and what cannot be compiled is told."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import resmom
from resmom.config import ConfigError, to_json
from resmom.errors import UserError
from resmom.jsonfiles import read_lines, write_json
from resmom.methods.ibot import Ibot
from resmom.methods.mocov3 import MoCoV3
from resmom.recipes import recipe
from resmom.rundir import RunDir
from resmom.runs import pretrain as pretraining
from resmom.runs.environment import compile_asked, compile_used
from resmom.runs.machine import Machine, Trainer
from resmom.runs.training.compiling import compiled, how_to_compile, require_compilable, require_compiler
from tests.conftest import Call
from tests.runs.comparisons.grids import OPTIONS, TINY
from tests.runs.crash import ibot_run, small_run, stopped_before_the_first_step, write_images

# In a process of its own, without the checks of types that tests have and dynamo cannot follow.
MICRO = """
import sys
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

import resmom
from tests.runs.crash import small_run

torch.set_num_threads(1)
original, shapes = nn.Module.compile, []

def backend(graph, inputs):
    tensors = [given for given in inputs if isinstance(given, torch.Tensor) and given.ndim == 4]
    views = [tensor for tensor in tensors if tensor.shape[2] > 7]  # weights have 3 there
    shapes.append((len([s for s in inputs if isinstance(s, torch.SymInt)]), int(views[-1].shape[0])))
    return graph.forward

nn.Module.compile = lambda module, mode, dynamic: original(module, backend=backend, dynamic=dynamic)
run, place = small_run(epochs=2), Path(sys.argv[1])
run = replace(run, train=replace(run.train, micro_batch=run.train.batch // 2))
resmom.pretrain(place / "images.npz", place / "run", run, device="cpu", quiet=True, compile="kernels")
print(sorted(set(shapes)), run.train.batch)
"""
COMPILED = """
import sys
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn
from torch._dynamo.utils import counters

import resmom
from tests.runs.crash import small_run

torch.set_num_threads(1)
original, modes = nn.Module.compile, []

def compiling(module, mode, dynamic):
    modes.append(mode)
    original(module, backend="aot_eager", dynamic=dynamic)

nn.Module.compile = compiling
place = Path(sys.argv[1])
for how in ("no", "kernels"):
    resmom.pretrain(place / "images.npz", place / how, small_run(epochs=2), device="cpu", quiet=True, compile=how)
    print(how, modes, counters["stats"]["unique_graphs"])
"""


@pytest.mark.slow
def test_a_compiled_run_is_the_same_and_compiles_its_steps_alone(tmp_path: Path) -> None:
    """Of kNN, health, exports, with their other batches and modes, nothing is compiled: one graph of each backbone."""
    write_images(tmp_path / "images.npz")
    command = [sys.executable, "-c", COMPILED, str(tmp_path)]
    said = subprocess.run(command, capture_output=True, text=True, check=True)
    assert said.stdout.splitlines() == ["no [] 0", "kernels ['default', 'default'] 2"]
    plain, fast = (torch.load(tmp_path / how / "checkpoints" / "last.pt")["state"] for how in ("no", "kernels"))
    for network in ("student", "teacher"):
        assert plain[network].keys() == fast[network].keys()
        for name, value in plain[network].items():
            torch.testing.assert_close(fast[network][name], value, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_every_size_of_batches_has_a_form_of_its_own(tmp_path: Path) -> None:
    """The teacher sees whole batches, the student halves: no form is compiled for sizes that are left open."""
    write_images(tmp_path / "images.npz")
    said = subprocess.run([sys.executable, "-c", MICRO, str(tmp_path)], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[(0, 4), (0, 8)] 8"


@pytest.mark.usefixtures("typed")
def test_a_method_of_which_nothing_would_be_compiled_is_refused(tmp_path: Path) -> None:
    require_compilable(Ibot(), "no")
    require_compilable(MoCoV3(), "kernels")
    with pytest.raises(ConfigError, match="iBOT goes through its transformer part by part, which --compile does not"):
        require_compilable(Ibot(), "kernels")
    run = replace(recipe("ibot_imagenet_vits"), train=replace(small_run().train, batch=8))
    data = write_images(tmp_path / "images.npz")
    with pytest.raises(ConfigError, match="which --compile does not reach"):
        resmom.pretrain(data, tmp_path / "run", run, device="cpu", quiet=True, compile="kernels")
    assert not (tmp_path / "run").exists()


def test_nor_is_it_resumed_or_compared_compiled(call: Call, tmp_path: Path) -> None:
    """No arm is trained before, and no run is said to be compiled of which nothing is."""
    run = RunDir(tmp_path / "run")
    run.path.mkdir()
    write_json(run.config, {"run": to_json(ibot_run()), "data": str(tmp_path)})
    status, _, err = call("resume", run.path, "--compile", "kernels")
    assert status == 2 and "iBOT goes through its transformer part by part" in err
    grid, data = tmp_path / "grid.json", write_images(tmp_path / "images.npz", n=48, classes=3)
    arms = {"first": {}, "second": {"method": "ibot", "backbone": "dino-vit-tiny"}}
    write_json(grid, {"recipe": "mocov3_digits", "set": OPTIONS, "arms": arms})
    asked = ["compare", grid, "--data", data, "--out", tmp_path / "cells", "--device", "cpu", "--compile", "kernels"]
    for more in ([], ["--dry-run"]):
        status, _, err = call(*asked, *more)
        assert status == 2 and "arm second: iBOT goes through its transformer" in err
    assert not (tmp_path / "cells").exists()


def test_what_cannot_be_compiled_is_told_before_anything_is_written(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_images(tmp_path / "images.npz", n=48, classes=3)
    asked = ["pretrain", "mocov3_digits", "--data", data, "--out", tmp_path / "run", *TINY, "--compile"]
    status, _, err = call(*asked, "graphs")
    assert status == 2 and "--compile graphs records CUDA graphs, and the device is cpu" in err
    monkeypatch.setattr(shutil, "which", lambda name: None)
    status, _, err = call(*asked, "kernels")
    assert status == 2 and "needs a C++ compiler on a CPU" in err and not (tmp_path / "run").exists()
    require_compiler("no", torch.device("cpu"))
    require_compiler("kernels", torch.device("cuda"))
    wrong = Trainer()
    object.__setattr__(wrong, "compile", True)  # tests check the types of arguments, and users' programs do not
    with pytest.raises(UserError, match="compile is True; it is one of no, kernels, graphs"):
        wrong.__post_init__()


def test_a_resumed_run_is_compiled_as_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless it is told otherwise, or stands on another machine now."""
    asked: list[str] = []
    monkeypatch.setattr(pretraining, "compile_backbones", lambda job, how: asked.append(how))
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")  # nothing is compiled here
    data, out = str(write_images(tmp_path / "images.npz")), tmp_path / "run"
    plain = Trainer(device="cpu", quiet=True)
    pretraining.pretrain(small_run(epochs=2), data, out, replace(plain, compile="kernels"))
    for machine in (plain, replace(plain, compile="no"), plain):
        stopped_before_the_first_step(out)
        pretraining.resume(out, machine)
    assert asked == ["kernels", "kernels", "no", "no"]
    assert (compile_asked(out), compile_used(out)) == ("no", "kernels, then no")


@pytest.mark.usefixtures("typed")
def test_a_run_that_another_machine_cannot_compile_goes_on_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And is compiled again where that can be done."""
    data, out = str(write_images(tmp_path / "images.npz")), tmp_path / "run"
    pretraining.pretrain(small_run(epochs=1, warmup_epochs=0), data, out, Trainer(device="cpu", quiet=True))
    stopped_before_the_first_step(out)
    begun = read_lines(out / "environment.jsonl")[0] | {"compile": "graphs", "compile_asked": "graphs"}  # on a GPU
    (out / "environment.jsonl").write_text(json.dumps(begun) + "\n")
    pretraining.resume(out, Trainer(device="cpu"))
    assert "it goes on without compiled backbones: --compile graphs records CUDA graphs" in capsys.readouterr().err
    assert (compile_asked(out), compile_used(out)) == ("graphs", "graphs, then no")
    assert how_to_compile(Trainer(), "graphs", torch.device("cuda")) == ("graphs", "graphs", "")
    assert how_to_compile(Machine(), "no", torch.device("cpu")) == ("no", "no", "")


@pytest.mark.usefixtures("typed")
def test_a_compiler_that_fails_is_told_in_a_sentence() -> None:
    from torch._dynamo.exc import InternalTorchDynamoError

    told = r"cannot be compiled here \(no room\).*go on with --compile no"
    with pytest.raises(ConfigError, match=told), compiled("graphs"):
        raise InternalTorchDynamoError("no room\nat all")
    with pytest.raises(ValueError, match="of the run"), compiled("graphs"):
        raise ValueError("of the run")
