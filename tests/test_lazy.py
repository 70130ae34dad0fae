"""The names of the package: there when asked for, and torch not before."""

import importlib
import inspect
import subprocess
import sys

import pytest

import resmom
from resmom.diagnose.gap import gap
from resmom.losses.residual import residual


def test_the_names_are_the_functions() -> None:
    assert resmom.gap is gap and resmom.residual is residual
    assert set(resmom.__all__) <= set(dir(resmom))
    assert all(getattr(resmom, name) is not None for name in resmom.__all__)


def test_an_unknown_name_is_an_attribute_error_that_tells_the_known_ones() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'gaps'; it has .*residual"):
        _ = resmom.gaps
    assert not hasattr(resmom, "residul")


def test_a_room_does_not_take_the_name_of_a_function() -> None:
    room = importlib.import_module("resmom.report.page")
    assert inspect.isfunction(resmom.report) and room.page is importlib.import_module("resmom.report.page").page
    importlib.reload(importlib.import_module("resmom.report"))  # which puts it into the package anew
    assert inspect.isfunction(resmom.report)
    assert inspect.ismodule(resmom.runs)  # of another name than any function, it is where Python puts it


@pytest.mark.slow
def test_a_room_that_comes_first_does_not_either() -> None:
    code = "import resmom, resmom.report.page; print(resmom.report.__name__, resmom.report.__module__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "report resmom.runs.look\n"


@pytest.mark.slow
def test_import_is_light_and_the_first_use_loads() -> None:
    code = (
        "import sys, resmom\n"
        "print(dir(resmom) and resmom.__version__, 'torch' in sys.modules, 'numpy' in sys.modules)\n"
        "from resmom import residual\n"
        "print(residual.__name__, 'torch' in sys.modules, 'torchvision' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [f"{resmom.__version__} False False", "residual True False"]
