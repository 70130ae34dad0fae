"""The measurements behind the automatic settings: what is compared at equal work, and going on."""

import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import settings
from benchmarks.settings import images_of, main, table
from benchmarks.tried import BASE, SETTINGS, derived, operations
from resmom.jsonfiles import read_lines
from resmom.nets.backbones import ResNet
from resmom.recipes.facts import Facts
from resmom.runs.training.interrupt import Finished

FACTS = Facts(images=5000, side=32, mean=(0.5,) * 3, std=(0.2,) * 3, steps=1250, backbone=BASE)


@pytest.mark.slow
def test_every_setting_changes_the_derived_run() -> None:
    base = derived(FACTS)
    assert SETTINGS["base"](FACTS) == base
    same = [name for name, setting in SETTINGS.items() if setting(FACTS) == base]
    assert same == ["base", "views of 32, for its work"], "on photos, 32 pixels are not what is derived"


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in SETTINGS if name.endswith("for its work")])
def test_at_equal_work_the_operations_of_the_encoder_are_those_of_the_base(name: str) -> None:
    base, run = derived(FACTS), SETTINGS[name](FACTS)
    least = 0.5 / run.train.steps  # steps are whole
    ratio = operations(run) * run.train.steps / (operations(base) * base.train.steps)
    assert ratio == pytest.approx(1.0, abs=least * 2)
    assert run.train.batch == base.train.batch
    assert run.ema == derived(replace(FACTS, steps=run.train.steps)).ema, (
        "the teacher follows the length, as in the rule"
    )


def test_operations_of_a_convolution_grow_with_the_area() -> None:
    large = replace(FACTS, side=64)
    assert operations(derived(large)) == pytest.approx(4 * operations(derived(FACTS)), rel=0.01)


def test_how_much_more_work_a_resnet_18_is() -> None:
    """The numbers of docs/results/settings.md: of the base, and of what is derived now."""
    large = operations(derived(replace(FACTS, backbone=ResNet(18, stem="small"))))
    assert large / operations(derived(FACTS)) == pytest.approx(35, abs=0.5)
    assert large / operations(derived(replace(FACTS, backbone=None))) == pytest.approx(140, abs=5)


def _photos(folder: Path, rng: np.random.Generator) -> None:
    for part, number in (("train", 40), ("val", 10)):
        for label in range(2):
            own = folder / part / f"class{label}"
            own.mkdir(parents=True)
            for n in range(number):
                pixels = rng.integers(100 * label, 100 * label + 120, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(own / f"{n}.png")


def _words(folder: Path, out: Path) -> list[str]:
    return ["--data", str(folder), "--out", str(out), "--images", "70", "--seen", "70", "--only"]


def _call(folder: Path, out: Path, *names: str) -> None:
    assert main([*_words(folder, out), *names]) == 0


@pytest.mark.slow
def test_finished_cells_are_not_run_again_and_others_are_added(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _photos(tmp_path / "photos", np.random.default_rng(0))
    out = tmp_path / "out"
    _call(tmp_path / "photos", out, "base")
    first = read_lines(out / "cells.jsonl")
    capsys.readouterr()
    _call(tmp_path / "photos", out, "base", "views of 24, for its work")
    lines = read_lines(out / "cells.jsonl")
    assert lines[:1] == first
    assert [line["name"] for line in lines] == ["base", "views of 24, for its work"]
    assert lines[1]["steps"] == 3, "two steps of the base at 32 pixels"
    assert lines[0]["cpu_seconds"] > 0
    printed = capsys.readouterr().out
    assert "| base | " in printed
    assert "| views of 24, for its work | " in printed


def test_a_stopped_cell_is_said_to_be_stopped_and_not_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _photos(tmp_path / "photos", np.random.default_rng(0))
    stopped = Finished(tmp_path, 1, 2, signal.SIGTERM)
    monkeypatch.setattr(settings, "pretrain", lambda *arguments: stopped)
    out = tmp_path / "out"
    assert main([*_words(tmp_path / "photos", out), "base"]) == 128 + signal.SIGTERM
    assert not (out / "cells.jsonl").exists()
    assert "goes on" in capsys.readouterr().err


def line(name: str, student: float, of: str = "1000 of a", **more: float) -> dict[str, object]:
    return {"images": 1000, "name": name, "seen": 40, "student": student, "protocol": f"knn-v1, {of}", **more}


def test_the_table_keeps_other_images_apart_and_says_nothing_of_unrecorded_times() -> None:
    lines = [
        line("base", 10.0),
        line("base, seed 1", 12.0),
        line("batch 64", 13.0, cpu_seconds=5.0),
        line("base", 50.0, "1000 of b", cpu_seconds=10.0),
        line("batch 64", 40.0, "1000 of b", cpu_seconds=15.0),
    ]
    text = "\n".join(table(lines)) + "\n"
    assert "| base | 11.00 ± 1.41 (2) | +0.00 |\n" in text
    assert "| batch 64 | 13.00 (1) | +2.00 |\n" in text
    assert "| batch 64 | 40.00 (1) | -10.00 | x 1.50 |" in text
    assert images_of(lines[-1]) == "1000 of b"


def test_settings_with_several_seeds_are_paired_with_the_first_of_them() -> None:
    lines = [line("base", 9.0)]  # one seed tells nothing of its spread
    for name, values in (("temperature .1", (10.0, 12.0, 11.0)), ("residual term, weight 1", (11.0, 14.0, 14.0))):
        lines += [line(f"{name}{f', seed {seed}' if seed else ''}", value) for seed, value in enumerate(values)]
    # Differences of 1, 2 and 3: mean 2, sd 1, half of the interval 4.303 / sqrt(3).
    told = "Against temperature .1, paired by seed, with 95 % intervals: residual term, weight 1 +2.00 [-0.48, +4.48] "
    assert f"{told}(n = 3)." in "\n".join(table(lines)).splitlines()
    assert "Against" not in "\n".join(table(lines[:4]))


def test_without_the_base_the_table_compares_with_the_first_setting_there() -> None:
    text = "\n".join(table([line("batch 64", 13.0), line("batch 256", 12.0)])) + "\n"
    assert "against the first" in text
    assert "against the base" not in text
    assert "| batch 256 | 12.00 (1) | -1.00 |\n" in text
