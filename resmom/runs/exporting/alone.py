"""Export weights without a run: in another format, with the size and the normalisation that go with them."""

from dataclasses import replace
from pathlib import Path

from resmom.called import called, setting
from resmom.errors import RunDirError, UserError
from resmom.export.alonecard import AloneCard, alone_card
from resmom.export.detectron2 import require_detectron2, save_detectron2
from resmom.export.loading import width_lines
from resmom.export.onnx import ExportError, require_onnx, save_onnx
from resmom.export.weights import About, exported, save_weights
from resmom.nets.copies import copied
from resmom.nets.weightfile import metadata
from resmom.ondisk import draft_beside, write_whole
from resmom.runs.alone.bare import Bare
from resmom.runs.exporting.export import CARD, Exported, file_of, file_with, publish, require_free
from resmom.which import Form


def export_alone(weights: Bare, out: Path, form: Form = "safetensors") -> Exported:
    """Write weights and their card to the folder `out`: new, empty, or that of an earlier export, which is replaced.

    Raises as `export` does for a folder, a backbone or packages that do not do.
    """
    require_free(out)
    if weights.file is not None and weights.file.resolve().parent == out.resolve():
        raise RunDirError(
            f"{weights.file} lies in {out}, whose files an export replaces; {called('out')} must be another folder"
        )
    if form == "detectron2":
        require_detectron2(weights.config, "the")
    if form == "onnx":
        require_onnx()
    name = file_of(weights.name, form)
    about = About.of(weights.name, weights.architecture, None, weights.policy)
    if weights.file is not None:  # whose they are, and with which licence, goes with published weights
        about = replace(about, source=metadata(weights.file).get("source", ""))
    with draft_beside(out) as draft:
        found = None
        if form == "onnx":
            try:
                # A copy: it is moved to the CPU and frozen, and the caller's goes on where it is.
                found = save_onnx(draft / name, copied(weights.backbone).cpu(), about, {"backbone": weights.what})
            except ExportError as error:
                raise UserError(
                    f"{weights.what} cannot be exported as ONNX: {error}. The weights can: "
                    f"{setting('to', 'safetensors')}"
                ) from error
        else:
            save = save_weights if form == "safetensors" else save_detectron2
            save(draft / name, exported(weights.encoder.state_dict(), weights.config), about)
        file = file_with(weights.config, weights.policy, name, form, found)
        seen = (about.mean, about.std, about.side, about.resize)
        card = AloneCard(weights.what, weights.told, *seen, width_lines(weights.config), file)
        write_whole(draft / CARD, f"{alone_card(card).rstrip()}\n")
        names = publish(draft, out)
    checked = {} if found is None else {str(weights.name): found}
    return Exported(out, tuple(out / name for name in names), None, "", checked=checked)
