"""What is told of a machine, and what of it is passed on."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch

import resmom.runs.environment as told
from resmom.runs.environment import environment, last_part, prose_without_folders, shareable, without_folders
from resmom.runs.settling.facts import fast_bf16

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


@pytest.mark.parametrize(
    ("word", "kept"),
    [
        ("/home/me/My Secret Project/photos", "photos"),
        ("--data=/home/me/My Secret Project/my photos", "--data=my photos"),
        ("--out=runs", "--out=runs"),
        ("/home/me/2024 photos/", "2024 photos"),
        ("/home/my name", "~"),
        ("--init=/Users/my name/", "--init=~"),
        ("/data/a b@shorter-side=256", "a b@shorter-side=256"),
        ("optim.lr=1,2", "optim.lr=1,2"),
        ("/", "/"),
    ],
)
def test_a_word_of_a_command_is_cut_whole(word: str, kept: str) -> None:
    assert last_part(word) == kept


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        ("there is no /home/me too/My Photos/2024 and 25", "there is no 2024 and 25"),
        ("/home/me too/My Photos/2024 and 25/a b.jpg is damaged", "a b.jpg is damaged"),
        ("/home/me too/Other Photos/b is missing", "Other b is missing"),
        ("nothing in /home/me too", "nothing in ~"),
        ("nothing in /home/me", "nothing in ~"),
    ],
)
def test_known_paths_are_cut_where_they_have_spaces(words: str, kept: str) -> None:
    assert without_folders(words, "", "/home/me too/My Photos/2024 and 25") == kept


def test_only_the_command_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["/opt/resmom", "compare", "/home/me/my runs/grid.json", "--threads", "1"])
    whole = environment()
    assert whole["command"][2] == "/home/me/my runs/grid.json"
    assert shareable(whole) == {**whole, "command": ["resmom", "compare", "grid.json", "--threads", "1"]}


def test_sources_without_their_history_are_told_their_commit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(told, "__file__", str(tmp_path / "resmom" / "runs" / "environment.py"))
    monkeypatch.delenv(told.COMMIT, raising=False)
    assert environment()["commit"] is None
    monkeypatch.setenv(told.COMMIT, "0123abc")
    assert environment()["commit"] == "0123abc"


def test_what_a_gpu_computes_with_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "tf32" not in environment() or torch.cuda.is_available()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 91000)
    found = told._cuda()
    assert found["cudnn"] == 91000 and found["tf32"] == {"convolutions": True, "products": False}


@pytest.mark.parametrize(
    ("about", "words"),
    [
        ({"gpu": ["H200"], "cpu": "EPYC", "threads": 16}, "H200"),
        ({"gpu": [], "cpu": "EPYC", "threads": 2}, "EPYC, 2 threads"),
        ({"gpu": [], "cpu": "EPYC"}, "EPYC, 1 thread"),
    ],
)
def test_a_machine_in_words(about: dict[str, Any], words: str) -> None:
    assert told.machine_of(about) == words


@pytest.mark.parametrize("file", RESULTS, ids=lambda file: file.name)
def test_committed_results_hold_no_path_of_a_machine(file: Path) -> None:
    assert not re.findall(r'"/[^"]*"', file.read_text())


def test_the_instructions_are_told_by_which_a_processor_rounds() -> None:
    told = environment()["instructions"]
    assert told.startswith(torch.backends.cpu.get_cpu_capability())
    assert told.endswith(" with bf16") == fast_bf16(torch.device("cpu"))


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        ("MoCo-v3, temperature 0.1, heads 512/128", "MoCo-v3, temperature 0.1, heads 512/128"),
        ("of photos too (docs/automatic.md); and/or more", "of photos too (docs/automatic.md); and/or more"),
        ("the file /data/nets/r18.pth, (/data/a.pt) and ~/b.pt", "the file r18.pth, (a.pt) and b.pt"),
        ("starts from ../../x/r18.pth or ./y", "starts from r18.pth or y"),
        ("under /home/me", "under ~"),
        ("in /home/me too/My Photos/2024 and 25/a.pt", "in a.pt"),
        ("1 / 2", "1 / 2"),
    ],
)
def test_strokes_in_prose_are_no_paths(words: str, kept: str) -> None:
    assert prose_without_folders(words, "/home/me too/My Photos/2024 and 25") == kept
