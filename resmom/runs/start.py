"""The weights a run starts from, kept so that its end can be compared with them."""

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from resmom.ondisk import write_whole
from resmom.rundir import RunDir
from resmom.runs.job import Job, backbone_of
from resmom.train.state import student_of


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
