"""The loops of docs/in-your-own-loop.md, taken from the page and run: the term trains, and closes its gap."""

import functools
import re
from pathlib import Path
from typing import Any

import pytest
import torch

PAGE = Path(__file__).parent.parent / "docs" / "in-your-own-loop.md"


def blocks() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def run(number: int, training: str) -> dict[str, Any]:
    """One block as a script of its own; what it defined. Its function `training` does not do again what it has done."""
    names: dict[str, Any] = {"__name__": "page"}
    for part in blocks()[number].partition("\n\n\nfor weight in")[::2]:
        code = f"for weight in{part}" if training in names else part
        exec(compile(code, f"{PAGE.name}, block {number}", "exec"), names)
        names[training] = functools.cache(names[training])
    return names


@pytest.mark.slow
@pytest.mark.parametrize(("number", "function"), [(0, "train_byol"), (1, "train_contrastive")])
def test_the_loss_falls_and_the_term_closes_the_gap(
    number: int, function: str, capsys: pytest.CaptureFixture[str]
) -> None:
    page = run(number, function)
    told = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in told] == ["weight 0", "weight 1"]
    assert all("Gap(intra=" in line for line in told)
    (without, gap_without), (with_it, gap_with) = page[function](0.0), page[function](1.0)
    assert without[0] == with_it[0]  # one seed, and the term is not in the loss that is compared
    assert sum(without[-5:]) / 5 < 0.7 * without[0] and sum(with_it[-5:]) / 5 < 0.7 * with_it[0]
    assert float(gap_with.intra) < 0.8 * float(gap_without.intra)
    assert float(gap_with.intra) < 0.5 * float(gap_with.chance)  # not because everything became alike


@pytest.mark.slow
def test_the_lightning_module(capsys: pytest.CaptureFixture[str]) -> None:
    page = run(2, "fit")
    assert capsys.readouterr().out.count("gap/intra") == 2
    first, (module, without), (_, with_it) = page["fit"](1.0, steps=1)[1], page["fit"](0.0), page["fit"](1.0)
    assert without["loss"] < 0.7 * first["loss"] and with_it["loss"] < 0.7 * first["loss"]
    assert with_it["gap/intra"] < 0.8 * without["gap/intra"]
    assert with_it["gap/intra"] < 0.5 * with_it["gap/chance"]
    assert not any(p.requires_grad for p in module.teacher.parameters())


@pytest.mark.slow
def test_lightning_moves_the_teacher_once_per_step_of_the_optimiser(monkeypatch: pytest.MonkeyPatch) -> None:
    page, moves = run(2, "fit"), []
    lerp = torch.Tensor.lerp_

    def counted(self: torch.Tensor, *others: Any) -> torch.Tensor:
        moves.append(self.shape)
        return lerp(self, *others)

    monkeypatch.setattr(torch.nn.Parameter, "lerp_", counted, raising=False)
    page["fit"](1.0, steps=3, accumulate=2)
    assert len(moves) == 3 * 4  # weights and biases of two layers
