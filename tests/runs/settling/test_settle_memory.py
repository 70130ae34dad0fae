"""A run that is settled within the memory there is, with made-up costs and once with a real trial."""

from dataclasses import replace
from pathlib import Path

import pytest

from resmom import dist
from resmom.build import Own
from resmom.config import ConfigError, Run
from resmom.recipes.automatic import automatic
from resmom.runs.settling import memory, settle
from resmom.runs.settling.facts import gather
from resmom.runs.settling.memory import MEMORY, TRANSIENT
from resmom.runs.settling.offer import Asked
from resmom.runs.settling.trial import trial
from tests.runs.settling.derived import CPU, Settle, images, reasons, set_memory, tiny, train_with


class TestMemory:
    """A batch that does not fit."""

    @pytest.mark.parametrize(("held", "batch"), [(127, 64), (64, 64), (40, 32)])
    def test_is_halved_and_the_run_gets_longer(
        self, settled: Settle, tried: list[Run], monkeypatch: pytest.MonkeyPatch, held: int, batch: int
    ) -> None:
        set_memory(monkeypatch, held)
        found = settled()
        assert (found.run.train.batch, found.run.train.micro_batch) == (batch, 0)
        assert found.run.train.steps == 1_000_000 // batch
        assert "memory" in reasons(found)["train.batch"]
        assert [run.train.batch for run in tried] == [128, batch]  # what runs was tried
        assert f"{batch * 10 * TRANSIENT + 100:.0f} MiB of memory" in found.estimate.words

    @pytest.mark.parametrize(("held", "batch", "micro"), [(64, 126, 0), (25, 63, 0), (20, 33, 10), (9, 33, 5)])
    def test_each_of_several_processes_holds_its_part(
        self, settled: Settle, monkeypatch: pytest.MonkeyPatch, held: int, batch: int, micro: int
    ) -> None:
        """Of three the whole batch is 126, 42 each, and then 21 each; three times 10 are too few for the negatives."""
        monkeypatch.setattr(dist, "world", lambda: 3)
        set_memory(monkeypatch, held)
        found = settled()
        assert (found.run.train.batch, found.run.train.micro_batch) == (batch, micro)

    def test_below_32_the_graph_is_cut(
        self, settled: Settle, tried: list[Run], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        set_memory(monkeypatch, 20)
        found = settled()
        assert (found.run.train.batch, found.run.train.micro_batch) == (32, 16)
        assert [(run.train.batch, run.train.micro_batch) for run in tried] == [(128, 0), (32, 16)]
        assert f"{16 * 10 * TRANSIENT + 100:.0f} MiB of memory" in found.estimate.words

    @pytest.mark.parametrize("seconds", [None, 600.0])
    def test_a_batch_of_ones_own_is_kept_and_cut(
        self, settled: Settle, monkeypatch: pytest.MonkeyPatch, seconds: float | None
    ) -> None:
        set_memory(monkeypatch, 64)
        found = settled(train_with(batch=256), time=seconds)
        assert (found.run.train.batch, found.run.train.micro_batch) == (256, 64)
        assert reasons(found)["train.batch"].startswith("asked for; derived: ")
        own = Own(method=lambda backbone: pytest.fail("the trial is made up"))  # that does not say it may be cut
        whole = settled(train_with(batch=256), time=seconds, own=own).run.train
        assert (whole.batch, whole.micro_batch) == (256, 0)

    def test_micro_batches_of_ones_own_that_fit_are_left_alone(
        self, settled: Settle, tried: list[Run], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        set_memory(monkeypatch, 40)
        found = settled(train_with(micro_batch=16))
        assert (found.run.train.batch, found.run.train.micro_batch, len(tried)) == (128, 16, 1)

    def test_not_even_four(self, settled: Settle, monkeypatch: pytest.MonkeyPatch) -> None:
        set_memory(monkeypatch, 3)
        with pytest.raises(ConfigError, match="does not fit into memory"):
            settled()

    @pytest.mark.slow
    def test_really_tried(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """A first trial tells the needs of a tiny network; with less than that the batch is halved."""
        monkeypatch.setattr(settle, "GLANCE", 0.0)

        def ask(run: Run) -> Run:
            return replace(tiny(run), train=run.train)

        data = images(300)
        run = ask(automatic(gather(data, CPU)).run)
        assert run.train.batch == 64
        cost = trial(run, data, CPU, 1, Own(), 0.0)
        need = 40 * cost.kept.per_image * TRANSIENT + cost.weight_bytes
        monkeypatch.setattr(memory, "free_memory", lambda device: int(need / MEMORY))
        found = settle.settle(Asked(change=ask), data, tmp_path / "run", CPU, 1, Own())
        assert (found.run.train.batch, found.run.train.micro_batch) == (32, 0)
