"""The weights a run starts from: which they were, and kept so that its end can be compared with them."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from resmom.config import ConfigError
from resmom.errors import RunDirError
from resmom.norun import PUBLISHED
from resmom.ondisk import write_whole
from resmom.rundir import RunDir
from resmom.runs.initial.published import weights_file
from resmom.runs.training.job import Job, backbone_of
from resmom.train.state import student_of


def content_of(file: str) -> str:
    """The beginning of the SHA-256 of a file of weights; empty where it cannot be read, or none is named.

    Of published weights that of the tensors alone: the head of their file says which version of ours has made it.
    """
    try:
        with weights_file(file).open("rb") as opened:
            if file.startswith(PUBLISHED):
                opened.seek(8 + int.from_bytes(opened.read(8), "little"))
            return hashlib.file_digest(opened, "sha256").hexdigest()[:16]
    except (OSError, ConfigError):
        return ""


def require_content(folder: RunDir, written: Mapping[str, Any]) -> None:
    """Raise RunDirError if a run that has no checkpoint yet would start from other weights than it was begun with.

    `written`: what its run.json says. Later the file is not looked at, and may change or go.
    """
    if folder.last.exists():
        return
    file, before = str(written["run"].get("init") or ""), written.get("init")  # older versions did not write the latter
    now = content_of(file)
    if before and now and now != before:
        raise RunDirError(
            f"{file} holds other weights than when the run in {folder.path} was begun, which has not taken a step yet; "
            "put the file back, or start a new run in another folder"
        )


def save_start(job: Job, folder: RunDir) -> None:
    """Write the student's backbone; whole or not at all. Call it before the first step."""
    weights = backbone_of(student_of(job.state.method)).state_dict()
    content = save({name: value.detach().cpu().contiguous().clone() for name, value in weights.items()})
    write_whole(folder.start, content)


def put_start(path: Path, network: nn.Module) -> bool:
    """Put those weights into the backbone of a network; False where the file is cut short, or of another version.

    Then the comparison is left out: nothing else depends on it.
    """
    try:
        backbone_of(network).load_state_dict(load_file(path), strict=True)
    except (SafetensorError, RuntimeError):
        return False
    return True
