"""Shares of a step: by names of operations, one record per step, and the page that quotes them."""

import json
from pathlib import Path
from statistics import median

import pytest

from benchmarks.shares import KINDS, REST, ROUNDS, kind_of, main, shares


def test_every_operation_is_of_one_kind() -> None:
    assert kind_of("aten::mkldnn_convolution") == "convolutions, forward"
    assert kind_of("aten::convolution_backward") == "convolutions, backward"
    assert kind_of("aten::native_batch_norm_backward") == "batch norm"
    assert kind_of("aten::add_") == kind_of("aten::clamp_min_") == "ReLU and additions"
    assert kind_of("aten::addmm") == "matrix products of the heads"
    assert kind_of("aten::copy_") == REST


def test_shares_are_of_the_whole() -> None:
    found = shares({"aten::mkldnn_convolution": 3.0, "aten::_convolution": 1.0, "aten::copy_": 4.0})
    assert found["convolutions, forward"] == 0.5 and found[REST] == 0.5 and sum(found.values()) == 1.0


def test_a_step_is_taken_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--batch", "2", "--side", "8", "--precision", "fp32", "--out", str(tmp_path / "shares.json")]) == 0
    found = json.loads((tmp_path / "shares.json").read_text())["shares"]
    assert len(found) == ROUNDS and all(sum(one.values()) == pytest.approx(1.0) for one in found)
    assert all(one[kind] > 0 for one in found for kind in KINDS)
    assert "convolutions, backward" in capsys.readouterr().out


def test_the_page_quotes_the_committed_shares() -> None:
    found = json.loads(Path("docs/results/speed/shares.json").read_text())["shares"]
    middle = {kind: median(100 * one[kind] for one in found) for kind in found[0]}
    forward, backward = middle["convolutions, forward"], middle["convolutions, backward"]
    page = " ".join(Path("docs/results/speed/README.md").read_text().split())
    assert f"convolutions, which are {forward + backward:.0f} % together" in page
    assert (
        f"| oneDNN's convolutions, forward | {forward:.0f} % | | oneDNN's convolutions, backward | {backward:.0f} % |"
        in page
    )
    assert (
        f"| batch norm | {middle['batch norm']:.0f} % | | ReLU and additions | {middle['ReLU and additions']:.0f} % |"
        in page
    )
