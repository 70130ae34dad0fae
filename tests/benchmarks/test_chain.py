"""The chain: killed anywhere and called again it ends as if undisturbed; what is refused, and what the table says."""

import json
import math
import signal
from pathlib import Path
from typing import Any

import pytest

from benchmarks.chain.__main__ import main
from benchmarks.chain.places import open_photos, open_places
from benchmarks.chain.plan import RANDOM, chain_of, read_chain
from benchmarks.chain.table import found_in
from benchmarks.pages.chains import classes, detectors, pairs, pretrained
from benchmarks.pages.collect import collect
from resmom.config import ConfigError
from resmom.configcheck import check
from resmom.data.errors import DataError
from resmom.errors import UserError
from resmom.jsonfiles import append_line, read_lines
from resmom.runs.comparisons.results import RESULTS
from tests.benchmarks.chains import CHAIN, start, write_chain

GRIDS = sorted((Path(__file__).parents[2] / "benchmarks" / "chain").glob("*.json"))
ARMS = [RANDOM, "mocov3-2ep", "densecl+res-2ep"]


def kept(out: Path) -> list[dict[str, Any]]:
    """The lines without what is no result."""
    lines = [
        {k: v for k, v in line.items() if k not in ("environment", "seconds", "processor_seconds")}
        for line in read_lines(out / RESULTS)
    ]
    return sorted(lines, key=lambda line: (line["seed"], line["place"]))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], Path]:
    """What the command was called with, and the folder of a chain that was never stopped."""
    folder = tmp_path_factory.mktemp("chain")
    call = write_chain(folder)
    process = start([*call, "--out", str(folder / "out")])
    process.join()
    assert process.exitcode == 0
    return call, folder / "out"


@pytest.mark.slow
def test_every_cell_is_a_line(undisturbed: tuple[list[str], Path], tmp_path: Path) -> None:
    _, out = undisturbed
    lines = read_lines(out / RESULTS)
    assert [(line["arm"], line["seed"]) for line in lines] == [(arm, seed) for seed in (0, 1) for arm in ARMS]
    for line in lines:
        trained = line["arm"] != RANDOM
        assert {f"{s}/{n}" for s in ("ap", "ap50", "ap75") for n in ("student", "teacher")} <= line["measures"].keys()
        networks = {"student", "teacher"} if trained else {RANDOM}
        assert line["per_class"].keys() == line["curves"].keys() == networks
        for name in networks:
            assert set(line["per_class"][name]["per_class"]) == {"red", "green"}
            assert [one["step"] for one in line["curves"][name]["detection"]] == [2, 3]
        assert line["steps"] == (2 if trained else 0)  # 2 epochs of 26 // 16
        assert line["detect"]["seed"] == line["run"]["train"]["seed"] == line["seed"]
        assert str(out.parent) not in json.dumps(line)  # no path of this machine
        assert ("pretraining" in line) == trained and line["boxes"]["test"]["images"] == 6
    before, first = lines[0]["measures"], lines[1]
    assert before["ap/student"] == before["ap/teacher"] and first["settings"] == {"train.epochs": 2}
    quantities = {(one["quantity"], one["network"]) for one in first["pretraining"]}
    assert ("own other view found (%)", "teacher") in quantities and all(one["before"] for one in first["pretraining"])
    assert lines[2]["against"] == "mocov3-2ep" and lines[1]["against"] is None
    assert collect(out, tmp_path / "kept.jsonl") == 6
    assert "-> densecl+res-2ep" in str(found_in(read_lines(tmp_path / "kept.jsonl")))


KILLS = [
    ("pretraining", 2), ("written", 2), ("detector", 5), ("measurement", 4), ("line", 2),
]  # fmt: skip
"""The last step of pretraining; detectors begun of which no file tells; learning, between two checkpoints; a
measurement; half a line."""


@pytest.mark.slow
@pytest.mark.parametrize(("where", "at"), KILLS)
def test_killed_and_called_again_is_as_if_undisturbed(
    undisturbed: tuple[list[str], Path], where: str, at: int, tmp_path: Path
) -> None:
    # One seed is enough; the drawn images lie elsewhere and are the same.
    arguments = [*write_chain(tmp_path, seeds=[0]), "--out", str(tmp_path / "out")]
    process = start(arguments, where, at)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    done = len(read_lines(tmp_path / "out" / RESULTS))
    assert done < 3
    again = start(arguments)
    again.join()
    assert again.exitcode == 0 and kept(tmp_path / "out") == kept(undisturbed[1])[:3]


@pytest.mark.slow
def test_a_finished_chain_is_left_as_it_is(
    undisturbed: tuple[list[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    call, out = undisturbed
    before = (out / RESULTS).read_text()
    assert main([*call, "--out", str(out)]) == 0
    table = capsys.readouterr().out
    assert (out / RESULTS).read_text() == before and "AP50 of the teacher, %" in table
    assert main(["show", str(out)]) == 0 and capsys.readouterr().out == table
    assert main([*call, "--out", str(out), "--list"]) == 0
    assert capsys.readouterr().out == "6 of 6 cells done\n"


@pytest.mark.slow
def test_others_cells_are_refused(undisturbed: tuple[list[str], Path], tmp_path: Path) -> None:
    call, out = undisturbed

    def refused(words: str, **changes: object) -> None:
        (tmp_path / "other.json").write_text(json.dumps(CHAIN | changes))
        with pytest.raises(UserError, match=words):
            main([str(tmp_path / "other.json"), *call[1:], "--out", str(out), "--list"])

    refused(r"arm mocov3-2ep, seed 0 with another configuration: train\.epochs", budgets={"2ep": {"train.epochs": 3}})
    detect = CHAIN["detect"] | {"set": CHAIN["detect"]["set"] | {"steps": 9}}
    refused("random, seed 0: its line has other settings of the detector", detect=detect)
    write_chain(tmp_path)
    with pytest.raises(UserError, match="was measured with other boxes"):
        main([str(tmp_path / "drawn.json"), *call[1:6], "--test", str(tmp_path / "train"), "--out", str(out), "--list"])


@pytest.mark.slow
def test_a_chain_of_students_alone(undisturbed: tuple[list[str], Path], tmp_path: Path) -> None:
    call = write_chain(tmp_path, seeds=[0], network="student")
    out = tmp_path / "out"
    assert main([*call, "--out", str(out), "--threads", "1", "--workers", "0", "--device", "cpu", "--quiet"]) == 0
    for line, both in zip(kept(out), kept(undisturbed[1])[:3], strict=True):
        own = {name: value for name, value in both["measures"].items() if name.endswith("/student")}
        assert line["measures"] == own and "teacher" not in line["curves"] and line["network"] == "student"
    table = str(found_in(read_lines(out / RESULTS)))
    assert "AP of the student, %" in table and "of the teacher" not in table
    (tmp_path / "drawn.json").write_text(json.dumps(CHAIN | {"seeds": [0]}))
    with pytest.raises(UserError, match="its line tells of student, the grid asks for both"):
        main([*call, "--out", str(out), "--list"])


@pytest.mark.slow
def test_chains_that_cannot_be(tmp_path: Path) -> None:
    def refused(words: str, **changes: object) -> None:
        with pytest.raises(ConfigError, match=words):
            chain_of(CHAIN | changes).cells()

    refused("has no 'vary'", vary={})
    refused("arm alone-2ep has no teacher", arms={"alone": {"method": "simsiam"}}, against={})
    refused("must both be arms; there are mocov3", against={"densecl+res": "moco"})
    refused("budgets is an object such as", budgets=[10])
    refused("a backbone of its own", arms={"mocov3": {}, "wide": {"backbone.widths": [8, 8]}}, against={})
    refused("normalised as ImageNet's", set=CHAIN["set"] | {"policy.mean": [0.5, 0.5, 0.5]})
    refused(
        "detect has no setting 'detector.depth.x'", detect={"recipe": "detect_small", "set": {"detector.depth.x": 1}}
    )
    refused("no setting 'seed' here", detect={"recipe": "detect_small", "set": {"seed": 1}})
    refused("unknown 'stepz', did you mean 'steps'", detect={"recipe": "detect_small", "set": {"stepz": 1}})
    refused("no detection recipe 'x'", detect={"recipe": "x"})
    refused(r"detect is \{", detect="detect_small")
    refused("network is one of student, teacher, both; got 'init'", network="init")
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"x\.json: a chain is an object with arms, budgets and detect"):
        read_chain(tmp_path / "x.json")


def test_photos_of_folders(tmp_path: Path) -> None:
    call = write_chain(tmp_path)
    (tmp_path / "train" / "SegmentationClass").mkdir()
    mask = (tmp_path / "train/JPEGImages/000.png").rename(tmp_path / "train/SegmentationClass/000.png")
    photos = open_photos([str(tmp_path / "train"), str(tmp_path / "test")])
    assert len(photos.train) == 25 and photos.train.labels is None and photos.test is None
    assert photos.train.names()[0] == "train/JPEGImages/001.png"  # type: ignore[index]
    assert len(open_photos([str(mask.parent)]).train) == 1
    with pytest.raises(DataError, match="holds no photos"):
        open_photos([str(tmp_path / "train/Annotations")])
    with pytest.raises(DataError, match="named twice"):
        open_photos([str(tmp_path / "test"), str(tmp_path / "test/JPEGImages")])
    mask.rename(tmp_path / "train/JPEGImages/000.png")
    with pytest.raises(DataError, match="20 images are in --train and in --test"):
        open_places(call[2:4], [call[2]], [call[2]])


def line(arm: str, place: int, seed: int, ap: float, against: str | None = None) -> dict[str, Any]:
    run = chain_of(CHAIN).cells()[0]
    return {
        "format": 1, "arm": arm, "place": place, "seed": seed, "settings": {}, "digest": f"{place}{seed}", "steps": 9,
        "seconds": 1.0, "failed": None, "before": None, "queries": None, "against": against, "boxes": {}, "detect": {},
        "measures": {f"{s}/{n}": ap for s in ("ap", "ap50", "ap75") for n in ("student", "teacher")},
        "protocols": {"detect": "detect-v1"}, "data": {"fingerprint": "f", "name": "x", "origin": "y"},
        "run": {"recipe": run.arm, "place": place, "train": {"seed": seed}},
    }  # fmt: skip


def lines(values: dict[str, tuple[float, ...]], against: dict[str, str] | None = None) -> list[dict[str, Any]]:
    return [
        line(arm, place, seed, ap, (against or {}).get(arm))
        for place, (arm, own) in enumerate(values.items())
        for seed, ap in enumerate(own)
    ]


def test_an_arm_counts_only_three_deviations_above_random() -> None:
    values = {RANDOM: (1.0, 1.2, 1.4), "a": (2.0, 2.3, 2.3), "b": (1.3, 1.6, 1.6), "c": (2.3, 2.7, 2.5)}
    found = found_in(lines(values, {"c": "a", "b": "a"}))
    assert found.standing("a", "ap/student").ratio == pytest.approx(5.0)
    assert found.standing("a", "ap/student").counts and not found.standing("b", "ap/student").counts
    text = str(found).split("\n\n")[1].splitlines()
    assert text[0] == "AP of the student, %" and "random   3  1.20 ± 0.20" in text[2]
    assert text[3] == "  a        3  2.20 ± 0.17     +1.00 [+0.75, +1.25], n = 3: resolved; 5.0 sd: counts"
    said = "not resolved: +0.30, 1.5 of 3 sd; told from 0, more seeds do not help"
    assert text[4] == f"  b        3  1.50 ± 0.17     {said}"
    assert text[6] == "  a -> b: not resolved: b not 3 sd above random, see there"
    assert text[7].startswith("  a -> c: +0.30 [+0.05, +0.55], n = 3: resolved")


def test_how_many_seeds_it_would_take() -> None:
    values = {RANDOM: (1.0, 1.2, 1.4), "a": (1.6, 1.3, 1.9), "b": (1.0, 1.1, 0.9), "c": (1.0, 1.2, 1.4)}
    text = str(found_in(lines(values))).split("\n\n")[1].splitlines()
    # a - random: .6, .1, .5; mean .4, sd .265; by hand n = 5: ((2.776 + .941) .265 / .4)^2 = 6.05, n = 6: 5.3.
    assert text[3].endswith("not resolved: +0.40, 1.3 of 3 sd; needs about 6 seeds")
    assert text[4].endswith("not resolved: -0.20, -1.0 of 3 sd; not ahead")
    assert text[5].endswith("not resolved: +0.00, 0.0 of 3 sd; not ahead")


def test_what_does_not_vary_is_infinitely_far_from_what_is_lower() -> None:
    found = found_in(lines({RANDOM: (1.0, 1.0), "a": (2.0, 2.0), "b": (1.0, 1.0), "c": (0.5, 0.5)}))
    assert [found.standing(arm, "ap/student").ratio for arm in "abc"] == [math.inf, 0.0, -math.inf]


def test_what_nothing_can_be_said_of() -> None:
    one = found_in(lines({RANDOM: (1.0,), "a": (9.0,)}))
    assert (
        "one seed: no interval; one seed has no sd: not resolved" in str(one)
        and not one.standing("a", "ap/student").counts
    )
    alone = found_in(lines({"a": (1.0,)}))
    assert str(alone) == "no cell of random is finished yet, and without it no other can be judged"
    mixed = lines({RANDOM: (1.0, 2.0)})
    mixed[1]["boxes"] = {"train": 1}
    with pytest.raises(UserError, match="differ in 'boxes'"):
        found_in(mixed)


def test_a_diverged_arm_says_so() -> None:
    made = lines({RANDOM: (1.0, 1.2), "a": (2.0, 2.2), "b": (2.0, 2.2)}, {"b": "a"})
    made[-1] |= {"failed": "the loss", "measures": {}}
    assert str(found_in(made)).count("diverged (seed 1)") == 12  # six tables, against random and against a


def test_the_tables_of_a_page(tmp_path: Path) -> None:
    values = {RANDOM: (1.0, 1.2, 1.4), "a-1ep": (2.0, 2.3, 2.3), "a+res-1ep": (2.3, 2.7, 2.5), "b-1ep": (1.3, 1.6, 1.6)}
    ends = [
        {"quantity": "RankMe", "network": n, "before": 1.0, "after": v} for n, v in (("student", 4.0), ("teacher", 9.0))
    ]
    (tmp_path / "results").mkdir()
    for one in lines(values, {"a+res-1ep": "a-1ep", "b-1ep": "a-1ep"}):
        networks = [RANDOM] if one["arm"] == RANDOM else ["student"]
        extra = {} if one["arm"] == RANDOM else {"pretraining": ends}
        scores = {"cat": one["measures"]["ap/student"], "dog": 5.0 - one["seed"], "cow": 0.01, "bus": 0.0}
        per_class = {name: {"voc07_ap50_per_class": scores} for name in networks}
        append_line(tmp_path / "results/x.jsonl", one | extra | {"per_class": per_class})
    names = {RANDOM: "random weights", "a-1ep": "A", "a+res-1ep": "A with the term", "b-1ep": "B"}
    kinds = [("ap/student", "AP"), ("ap50/student", "AP50")]
    first, second = detectors(tmp_path, "x.jsonl", names, kinds).split("\n\n")
    assert first.startswith("| AP, % | n |") and second.startswith("| AP50, % | n |")
    rows = first.splitlines()
    assert rows[2] == "| random weights | 3 | 1.20 ± 0.20 |  |" and rows[3].startswith("| A | 3 | 2.20 ± 0.17 | +1.00")
    assert rows[3].endswith("5.0 sd: counts |") and rows[5].startswith(
        "| B | 3 | 1.50 ± 0.17 | not resolved: +0.30, 1.5 of 3 sd; told from 0"
    )
    rows = pairs(tmp_path, "x.jsonl", names, kinds).splitlines()
    assert rows[2].startswith("| A with the term minus A | AP | +0.30 [+0.05, +0.55], n = 3: resolved")
    assert rows[4] == "| B minus A | AP | not resolved: B not 3 sd above random weights, see there |"
    assert pretrained(tmp_path, "x.jsonl", names, {"RankMe": "rank"}).splitlines()[2] == "| A | 4.0 ± 0.0 |"
    rows = classes(tmp_path, "x.jsonl", names, "student").splitlines()
    assert rows[0] == "| class | random weights | A | A with the term | B |"
    assert rows[2:] == [
        "| dog | 4.0 | 4.0 | 4.0 | 4.0 |", "| cat | 1.2 | 2.2 | 2.5 | 1.5 |",
        "| each of the other 2 | below 0.1 | below 0.1 | below 0.1 | below 0.1 |",
    ]  # fmt: skip


@pytest.mark.parametrize("file", GRIDS, ids=lambda file: file.stem)
def test_every_cell_of_the_grids_could_start(file: Path) -> None:
    chain = read_chain(file)
    cells = chain.cells()
    assert chain.name == file.stem and len(chain.grid.about) > 40 and len(cells) == 9 * len(chain.grid.seeds)
    for cell in cells:
        check(cell.run)
    by_arm = {cell.arm: cell.run for cell in cells}
    for arm, other in chain.against.items():
        if "+res" in arm or arm.startswith("res-"):  # the pair differs in the term, and in what it needs, alone
            one, base = by_arm[arm], by_arm[other]
            assert one.residual.weight == 1 and base.residual.weight == 0
            assert (one.optim, one.ema, one.policy, one.train) == (base.optim, base.ema, base.policy, base.train)
