"""A kept classifier as an ONNX file: pixels in, probabilities out, without torch."""

import json
from dataclasses import dataclass
from pathlib import Path

from resmom.called import called
from resmom.errors import RunDirError, UserError
from resmom.export.loading import classifying_lines, onnx_preparing_lines, session_lines
from resmom.export.onnx import Checked, ExportError, parts, require_onnx, save_onnx
from resmom.export.weights import About
from resmom.ondisk import draft_beside
from resmom.runs.measuring.classifierfile import load_classifier
from resmom.which import Network

SUFFIX = ".onnx"
TOLD = ("classes", "method", "protocol", "top1", "data")
"""What the file's metadata has of the classifier's, beside that of its backbone."""


@dataclass(frozen=True)
class ExportedClassifier:
    """The file, what was found when it was run, and lines of Python that run it."""

    path: Path
    checked: Checked
    lines: str


def export_classifier(file: Path, out: Path | None = None) -> ExportedClassifier:
    """Write the classifier in `file` to the new file `out`, by default beside it.

    Raises WeightsError for a file that is no classifier, RunDirError for an `out` that is there already or has another
    ending, and UserError where packages are missing or ONNX cannot hold the network.
    """
    out = file.with_suffix(SUFFIX) if out is None else out
    if out.suffix != SUFFIX:
        raise RunDirError(f"{out} must end in {SUFFIX}: of a classifier one file is made, and no folder")
    if taken := [path for path in parts(out) if path.exists()]:
        raise RunDirError(f"{taken[0]} is there already; give another {called('out')}, or take it away")
    require_onnx()
    made = load_classifier(file)
    said = made.said
    network: Network = "teacher" if said.get("network") == "teacher" else "student"
    seen = (made.mean, made.std, made.side, made.resize)
    about = About(network, json.loads(said["architecture"]), int(said.get("step", 0)), *seen)
    more = {name: said[name] for name in TOLD if name in said}
    try:
        with draft_beside(out) as draft:
            found = save_onnx(draft / out.name, made.backbone, about, more | {"kind": "classifier"}, made.layer)
            for part, place in zip(reversed(parts(draft / out.name)), reversed(parts(out)), strict=True):
                if part.exists():
                    part.replace(place)
    except ExportError as error:
        raise UserError(f"{file} cannot be exported as ONNX: {error}") from error
    prepare = onnx_preparing_lines(len(made.mean), made.side, made.resize)
    return ExportedClassifier(out, found, f"{prepare}\n\n{session_lines(out.name)}\n{classifying_lines()}")
