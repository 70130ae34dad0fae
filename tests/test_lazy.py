"""The names of the package: there when asked for, and torch not before."""

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
