"""What is told of a machine, and what of it is passed on."""

import re
from pathlib import Path

import pytest
import torch

from resmom.runs.environment import environment, shareable, without_folders
from resmom.runs.facts import fast_bf16

RESULTS = sorted((Path(__file__).parents[2] / "docs" / "results").rglob("*.json*"))


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        ("/home/me/photos", "photos"),
        ("--data=../a/photos.npz", "photos.npz"),
        ("/home/me/My Photos/2024/", "My 2024/"),
        ("/home/me", "~"),
        ("kept in /Users/me/ for now", "kept in ~ for now"),
        ("start of /home/me/a.pt, step 3", "start of a.pt, step 3"),
        ("train/ and test/ folders", "train/ and test/ folders"),
        ("--train.batch", "--train.batch"),
    ],
)
def test_paths_are_cut_to_their_last_part(words: str, kept: str) -> None:
    assert without_folders(words) == kept


def test_only_the_command_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["/opt/resmom", "compare", "/home/me/grid.json", "--threads", "1"])
    whole = environment()
    assert whole["command"][2] == "/home/me/grid.json"
    assert shareable(whole) == {**whole, "command": ["resmom", "compare", "grid.json", "--threads", "1"]}


@pytest.mark.parametrize("file", RESULTS, ids=lambda file: file.name)
def test_committed_results_hold_no_path_of_a_machine(file: Path) -> None:
    assert not re.findall(r'"/[^"]*"', file.read_text())


def test_the_instructions_are_told_by_which_a_processor_rounds() -> None:
    told = environment()["instructions"]
    assert told.startswith(torch.backends.cpu.get_cpu_capability())
    assert told.endswith(" with bf16") == fast_bf16(torch.device("cpu"))
