"""resmom: self-supervised pretraining with momentum teachers and residual momentum."""

from resmom.version import VERSION as __version__

__all__ = ["__version__"]
