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


def test_a_room_does_not_take_the_name_of_a_function(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python puts resmom/report into the package when it is first imported, which may be before anybody asks for it."""
    room = importlib.import_module("resmom.report.page")
    monkeypatch.delitem(vars(resmom), "report", raising=False)
    resmom.report = sys.modules["resmom.report"]  # type: ignore[assignment]  # as importing it does
    assert "report" not in vars(resmom) and inspect.isfunction(resmom.report)
    assert inspect.ismodule(resmom.runs)  # what no function is called is where Python puts it
    assert inspect.isfunction(room.page) and importlib.import_module("resmom.report.page") is room


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


@pytest.mark.slow
@pytest.mark.parametrize(
    "module", ["commands.pretrain", "commands.evaluate", "commands.export", "commands.compare", "runs.python"]
)
def test_what_most_calls_do_not_use_is_not_imported_by_them(module: str) -> None:
    """Each of these takes a third of a second to seconds, before the first word of a command."""
    heavy = ["torchvision", "timm", "scipy.optimize", "sklearn", "onnx", "tensorboard", "wandb", "datasets", "numba"]
    code = f"import sys, resmom.{module}\nprint([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
