"""The weights a run starts from, kept so that its end can be compared with them."""

from safetensors.torch import save

from resmom.rundir import RunDir, write_whole
from resmom.runs.job import Job, backbone_of
from resmom.train.state import student_of


def save_start(job: Job, folder: RunDir) -> None:
    """Write the student's backbone; whole or not at all. Call it before the first step."""
    weights = backbone_of(student_of(job.state.method)).state_dict()
    content = save({name: value.detach().cpu().contiguous().clone() for name, value in weights.items()})
    write_whole(folder.start, content)
