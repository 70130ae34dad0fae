"""Every test runs on one thread (oversubscription is slow and changes sums) with shapes in signatures enforced."""

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator

import jaxtyping

import tests.typecheck

if importlib.util.find_spec("numba"):
    # Compiled functions cannot be wrapped; they carry no shapes to enforce either.
    importlib.import_module("resmom.views.kernels")
    importlib.import_module("resmom.views.colourkernels")
jaxtyping.jaxtyped = tests.typecheck.jaxtyped  # type: ignore[assignment]
jaxtyping.install_import_hook("resmom", "tests.typecheck.check")

import pytest  # noqa: E402
import threadpoolctl  # noqa: E402
import torch  # noqa: E402  (the hook must stand before anything imports resmom)

from resmom.called import called_by  # noqa: E402
from resmom.nets.backbones import MOCO_VIT, VIT  # noqa: E402
from tests import pretended  # noqa: E402

torch.set_num_threads(1)
if pretended.POSSIBLE:
    pretended.start()  # the first backward pass of a process counts its devices
threadpoolctl.threadpool_limits(1)  # NumPy's library is loaded already,
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # and SciPy's not yet

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Run `resmom ARGUMENTS` in this process: (exit status, standard output, standard error)."""
    from resmom import cli

    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["resmom", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        told = capsys.readouterr()
        assert "Traceback" not in told.err
        status = end.value.code
        return status if isinstance(status, int) else int(status is not None), told.out, told.err

    return run


@pytest.fixture
def small_transformers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Vision Transformers of size "tiny" have two blocks of width 24, which a test can afford."""
    for sizes in (MOCO_VIT, VIT):
        monkeypatch.setitem(sizes, "tiny", (24, 2, 2))


@pytest.fixture
def typed() -> Iterator[None]:
    """As where the call was typed: settings are called by their options."""
    with called_by("options"):
        yield
