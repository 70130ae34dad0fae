"""resmom: self-supervised pretraining with momentum teachers and residual momentum."""

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from resmom.version import VERSION as __version__

if TYPE_CHECKING:
    from resmom.diagnose.gap import Gap as Gap
    from resmom.diagnose.gap import gap as gap
    from resmom.losses.residual import residual as residual
    from resmom.recipes import recipe as recipe
    from resmom.runs.encoder import load as load
    from resmom.runs.look import comparison as comparison
    from resmom.runs.look import profile as profile
    from resmom.runs.look import report as report
    from resmom.runs.measuring.classifierfile import load_classifier as load_classifier
    from resmom.runs.predicting.load import load_detector as load_detector
    from resmom.runs.predicting.load import load_segmenter as load_segmenter
    from resmom.runs.python import compare as compare
    from resmom.runs.python import draw_views as draw_views
    from resmom.runs.python import pretrain as pretrain
    from resmom.runs.python import result as result
    from resmom.runs.python import resume as resume
    from resmom.runs.result import Result as Result
    from resmom.runs.weights import Weights as Weights
    from resmom.runs.weights import weights as weights

_HOME = {
    "Gap": "resmom.diagnose.gap",
    "gap": "resmom.diagnose.gap",
    "residual": "resmom.losses.residual",
    "recipe": "resmom.recipes",
    "Result": "resmom.runs.result",
    "Weights": "resmom.runs.weights",
    "compare": "resmom.runs.python",
    "comparison": "resmom.runs.look",
    "draw_views": "resmom.runs.python",
    "load": "resmom.runs.encoder",
    "load_classifier": "resmom.runs.measuring.classifierfile",
    "load_detector": "resmom.runs.predicting.load",
    "load_segmenter": "resmom.runs.predicting.load",
    "pretrain": "resmom.runs.python",
    "profile": "resmom.runs.look",
    "report": "resmom.runs.look",
    "result": "resmom.runs.python",
    "resume": "resmom.runs.python",
    "weights": "resmom.runs.weights",
}
"""Where each name lives. It is imported when it is first asked for (PEP 562), so that `import resmom` stays light."""

__all__ = [
    "Gap",
    "Result",
    "Weights",
    "__version__",
    "compare",
    "comparison",
    "draw_views",
    "gap",
    "load",
    "load_classifier",
    "load_detector",
    "load_segmenter",
    "pretrain",
    "profile",
    "recipe",
    "report",
    "residual",
    "result",
    "resume",
    "weights",
]


class _Package(ModuleType):
    """A module whose names are not taken by the rooms called alike.

    Python puts a room into its package when it is first imported, and `resmom.report` would be the folder report/ from
    then on, and not the function. What is in the room is imported as ever, `from resmom.report.page import page`.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOME and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'resmom' has no attribute '{name}'; it has {', '.join(_HOME)}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
