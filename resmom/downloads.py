"""Where what is downloaded is kept."""

import os
from pathlib import Path


def download_folder(variable: str, kind: str) -> Path:
    """The folder that an environment variable names, else ~/.cache/resmom/KIND."""
    named = os.environ.get(variable)
    return Path(named).expanduser() if named else Path.home() / ".cache" / "resmom" / kind
