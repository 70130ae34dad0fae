"""The notebook of the documentation runs from top to bottom, and shows what it says it shows."""

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

SHORTER = {
    1: ('write_digits(here / "images")', 'write_digits(here / "images", copies=1)'),
    3: ("steps=40, warmup_steps=5", "steps=8, warmup_steps=2, batch=32"),
}
"""What a reader waits for and a test need not: cell -> what stands there, and what is run."""
NOTEBOOK = Path(__file__).parent.parent / "docs" / "notebooks" / "first-run.ipynb"


def _shown(cell: Any) -> str:
    return "".join(
        output.get("text", "") + str(output.get("data", {}).get("text/plain", "")) for output in cell.get("outputs", [])
    )


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning:jupyter_client|zmq|nbclient")
def test_the_notebook_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert all(not cell.get("outputs") for cell in notebook.cells), "commit the notebook without outputs"
    for number, (written, shorter) in SHORTER.items():
        assert written in notebook.cells[number].source
        notebook.cells[number].source = notebook.cells[number].source.replace(written, shorter)
    NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    shown = [_shown(cell) for cell in cells]
    assert "before" in str(cells[1].outputs[-1]["data"]["text/html"])
    assert shown[2].startswith("loss ")
    assert shown[4].startswith("(Gap(intra=")
    assert "(True, 8)" in shown[5]
    assert "torch.Size([2, 32])" in shown[6]
