"""Winograd's algorithm computes what a convolution does, and its benchmark writes what the page quotes."""

import json
import re
from pathlib import Path
from statistics import median

import pytest
import torch
from torch.nn import functional

from benchmarks.winograd import STAGES, convolved, filters, main, ratios


def test_it_is_the_convolution() -> None:
    torch.manual_seed(0)
    images, weight = torch.randn(3, 5, 8, 8).double(), torch.randn(7, 5, 3, 3).double()
    found = convolved(images, filters(weight))
    torch.testing.assert_close(found, functional.conv2d(images, weight, padding=1), rtol=1e-12, atol=1e-12)


def test_all_stages_are_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "winograd.json"
    assert main(["--batch", "1", "--precision", "fp32", "--rounds", "2", "--out", str(out)]) == 0
    found = json.loads(out.read_text())["stages"]
    assert [(stage["channels"], stage["side"]) for stage in found] == list(STAGES)
    assert all(len(own) == 2 for stage in found for own in stage["seconds"].values())
    assert all(0 < error < 1e-5 for stage in found for error in stage["errors"].values())
    assert capsys.readouterr().out.count("products alone") == len(STAGES)


def test_the_page_quotes_the_committed_measurement() -> None:
    stages = json.loads(Path("docs/results/speed/winograd.json").read_text())["stages"]
    page = " ".join(Path("docs/results/speed/README.md").read_text().split())
    assert f"| channels of the stage | {' | '.join(str(stage['channels']) for stage in stages)} |" in page
    for name, row in (("Winograd", "the whole algorithm"), ("its products alone", "its matrix products alone")):
        told = [f"{median(ratios(stage, name)):.2f}" for stage in stages]
        assert re.search(rf"\| {row}[^|]* \| {re.escape(' | '.join(told))} \|", page)
    assert {round(stage["errors"]["Winograd"] / stage["errors"]["convolution"]) for stage in stages} == {5}
