"""The images that a run folder names: are they where they were, and the same?"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from resmom.rundir import find_run
from resmom.runs.doctor.finding import Answer, Finding, answer, sentence


@dataclass(frozen=True)
class Named:
    """What run.json names, and what became of it."""

    path: str
    spec: str
    given: bool = False
    """They were given in Python."""
    refused: str = ""
    """Why they cannot be opened now."""
    same: bool = False


def images_of(path: str) -> Answer:
    """The probe of the images of a run whose checkpoint loads. Nothing is downloaded."""
    from resmom.checkpoint import load_checkpoint
    from resmom.data.errors import DataError
    from resmom.data.open import open_data
    from resmom.rundir import GIVEN

    run, checkpoint = find_run(Path(path))
    spec = str(run.written()["data"])
    if spec.startswith(GIVEN):
        found = Named(path, spec.removeprefix(GIVEN), given=True)
    else:
        try:
            fingerprint = open_data(spec, download=False).train.fingerprint()
        except DataError as error:
            found = Named(path, spec, refused=str(error))
        else:
            found = Named(path, spec, same=fingerprint == load_checkpoint(checkpoint, mapped=True)["data"])
    return answer(found, judge_images_of(found))


def judge_images_of(found: Named) -> Iterator[Finding]:
    about, again = "run's data", f"resmom resume {found.path} --data PLACE"
    if found.given:
        words = f"its images were given in Python ({found.spec}), so nothing is known of them here."
        yield Finding(about, "note", words, f"give them again: resmom.resume('{found.path}', data=…) in Python")
    elif found.refused:
        yield Finding(about, "problem", sentence(found.refused), f"bring them back, or say where they are: {again}")
    elif not found.same:
        words = f"{found.spec} is not what the run was trained on: its images' number, names, sizes or labels changed."
        yield Finding(about, "problem", words, f"put them back as they were, or say where those are: {again}")
    else:
        yield Finding(about, "ok", f"{found.spec} is what the run was trained on.")
