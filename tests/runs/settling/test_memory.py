"""Memory: what a step keeps, and the batch that fits."""

from dataclasses import replace

import pytest

from resmom.build import Own
from resmom.config import ConfigError
from resmom.methodconfig import MethodConfig
from resmom.methods.barlow import BarlowTwins
from resmom.methods.dino import Dino
from resmom.methods.mocov2 import MoCoV2
from resmom.methods.mocov3 import MoCoV3
from resmom.methods.msf import MSF
from resmom.runs.settling import memory
from resmom.runs.settling.memory import MEMORY, TRANSIENT, Kept, fit_batch, kept_bytes_of
from resmom.runs.training.job import prepare
from tests.runs.settling.priced import COST, CPU, GIB, MIB, RUN, TINY, images

QUEUE = 30_000 * 4 * 4
"""Bytes of a queue of 30,000 keys of 4 numbers: a step keeps a copy of it, and MSF one with the new targets in it."""


class TestKept:
    """What autograd keeps, counted of a few images, is what it keeps of a whole batch."""

    @pytest.mark.parametrize(
        ("method", "fixed"),
        [
            (MoCoV3(hidden=8, out=4), 0),
            (MoCoV2(hidden=8, out=4, queue=30_000), QUEUE),
            (MoCoV2(hidden=8, out=4, queue=30_000, symmetric=True), 2 * QUEUE),
            (MoCoV2(hidden=8, out=4, queue=30_000, shuffle_bn=3), QUEUE),
            (MSF(hidden=8, out=4, predictor_hidden=8, queue=30_000), 2 * QUEUE),
            (MSF(hidden=8, out=4, predictor_hidden=8, queue=30_000, symmetric=True), 4 * QUEUE),
            (BarlowTwins(hidden=8, out=256), 256 * 256 * 4),
            (Dino(hidden=8, out=64, prototypes=2_048), 2_048 * 64 * 4),
        ],
        ids=["batch", "queue", "two queues", "groups of three", "bank", "two banks", "correlations", "prototypes"],
    )
    def test_whatever_is_there_once(self, method: MethodConfig, fixed: int) -> None:
        job = prepare(replace(TINY, method=method, train=replace(TINY.train, batch=36)), images(), CPU, Own())
        few, whole = kept_bytes_of(job), kept_bytes_of(job, images=36)
        assert few.of(36) == pytest.approx(whole.of(36), rel=0.03)
        assert few.per_image == pytest.approx(whole.per_image, rel=0.03)
        assert fixed <= few.fixed <= 4 * fixed + 4_096  # as they are and normalised, the largest once more

    @pytest.mark.parametrize("batch", [2, 3, 5])
    def test_of_a_batch_too_small_to_be_halved_all_is_the_images(self, batch: int) -> None:
        run = replace(TINY, method=BarlowTwins(hidden=8, out=64), train=replace(TINY.train, batch=batch))
        job = prepare(run, images(), CPU, Own())
        kept = kept_bytes_of(job)
        statistics = sum(buffer.nbytes for buffer in job.state.method.buffers())
        assert kept.per_image > 0 and (kept.fixed > statistics) == (batch >= 4)


class TestBatch:
    """The batch that memory holds."""

    @pytest.mark.parametrize(
        ("share", "expected"), [(4.0, 128), (1.0, 128), (0.99, 64), (0.5, 64), (0.49, 32), (0.1, 8), (4 / 128, 4)]
    )
    def test_halved_until_it_fits(self, monkeypatch: pytest.MonkeyPatch, share: float, expected: int) -> None:
        """`share`: of what the whole batch needs, how much there is."""
        need = 128 * COST.kept.per_image * TRANSIENT * share + COST.weight_bytes
        monkeypatch.setattr(memory, "free_memory", lambda device: int(need / MEMORY) + 2)
        assert fit_batch(RUN, COST.kept, COST.weight_bytes, CPU) == expected

    @pytest.mark.parametrize(
        ("batch", "group", "room", "expected"),
        [(96, 24, 96, 96), (96, 24, 95, 48), (96, 24, 47, 24), (96, 32, 47, 32), (160, 32, 39, 32), (192, 64, 95, 64)],
    )
    def test_a_part_is_whole_groups_of_batch_norm(
        self, monkeypatch: pytest.MonkeyPatch, batch: int, group: int, room: int, expected: int
    ) -> None:
        """`room`: of how many images the graph fits."""
        run = replace(RUN, method=MoCoV2(queue=256, shuffle_bn=group), train=replace(RUN.train, batch=batch))
        need = room * COST.kept.per_image * TRANSIENT + COST.weight_bytes
        monkeypatch.setattr(memory, "free_memory", lambda device: int(need / MEMORY) + 2)
        assert fit_batch(run, COST.kept, COST.weight_bytes, CPU) == expected

    def test_not_even_a_group(self, monkeypatch: pytest.MonkeyPatch) -> None:
        run = replace(RUN, method=MoCoV2(queue=128, shuffle_bn=32), train=replace(RUN.train, batch=64))
        need = 31 * COST.kept.per_image * TRANSIENT + COST.weight_bytes
        monkeypatch.setattr(memory, "free_memory", lambda device: int(need / MEMORY) + 2)
        with pytest.raises(ConfigError, match=r"of 32 images.* set method.shuffle_bn lower, or to 0"):
            fit_batch(run, COST.kept, COST.weight_bytes, CPU)

    def test_what_is_there_once_is_counted_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        kept = Kept(10 * MIB, fixed=500 * MIB)
        for held in (128, 64, 32):
            need = (held * 10 + 500) * MIB * TRANSIENT + COST.weight_bytes
            monkeypatch.setattr(memory, "free_memory", lambda device, need=need: int(need / MEMORY) + 2)
            assert fit_batch(RUN, kept, COST.weight_bytes, CPU) == held
        monkeypatch.setattr(memory, "free_memory", lambda device: GIB)
        with pytest.raises(ConfigError, match=r"10 MiB per image and 500 MiB for all of them together, of 1\.0 GiB"):
            fit_batch(RUN, kept, COST.weight_bytes, CPU)

    def test_not_even_four_images(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(memory, "free_memory", lambda device: 200 * MIB)
        with pytest.raises(
            ConfigError, match=r"0\.1 GiB for weights and 10 MiB per image, of 0\.2 GiB free; take smaller views"
        ):
            fit_batch(RUN, COST.kept, COST.weight_bytes, CPU)

    def test_a_batch_below_four_is_the_users_own(self, monkeypatch: pytest.MonkeyPatch) -> None:
        run = replace(RUN, train=replace(RUN.train, batch=2))
        monkeypatch.setattr(memory, "free_memory", lambda device: GIB)
        assert fit_batch(run, COST.kept, COST.weight_bytes, CPU) == 2
        monkeypatch.setattr(memory, "free_memory", lambda device: MIB)
        with pytest.raises(ConfigError, match="does not fit into memory"):
            fit_batch(run, COST.kept, COST.weight_bytes, CPU)
