"""What a run with a queue, or with a student and a teacher that see different views, may be."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from resmom.config import ConfigError, Run
from resmom.configcheck import check
from resmom.losses.residual import Residual
from resmom.methodconfig import groups_of, pair_kinds, queue_of, sites_of, with_pairs
from resmom.methods.byol import Byol
from resmom.methods.densecl import DenseCL
from resmom.methods.dino import Dino
from resmom.methods.dinov2 import Dinov2
from resmom.methods.ibot import Ibot
from resmom.methods.mocov2 import MoCoV2
from resmom.methods.mocov3 import MoCoV3
from resmom.methods.msf import MSF
from resmom.methods.nnclr_ema import NNCLREma
from resmom.methods.ressl import ReSSL
from resmom.nets.backbones import MoCoViT
from resmom.recipes import recipe, with_residual
from resmom.runs.training.job import fresh_method

ONE_SIDED = [MoCoV2(queue=64), ReSSL(queue=64), DenseCL(queue=64), MSF(queue=64)]
BOTH = [MoCoV2(queue=64, symmetric=True), MSF(queue=64, symmetric=True), NNCLREma(queue=64)]


@pytest.mark.parametrize("method", ONE_SIDED, ids=lambda method: type(method).__name__)
def test_a_term_without_same_view_pairs_is_refused_with_the_option(method: Any) -> None:
    run = replace(recipe("mocov3_digits"), method=method, residual=Residual(1.0, method.traits.sites[-1]))
    with pytest.raises(ConfigError, match=r"does not see the student's view.*set method.same_view"):
        check(run)
    check(replace(run, residual=replace(run.residual, weight=0.0)))
    run = replace(run, method=with_pairs(method))
    assert run.method == replace(method, same_view=True)
    check(run)
    with pytest.raises(ConfigError, match="'cross' needs the student on both views"):
        check(replace(run, residual=replace(run.residual, pairing="cross")))


def test_methods_that_see_both_views_are_left_as_they_are() -> None:
    for method in (MoCoV3(), Byol(), *BOTH):
        assert with_pairs(method) == method


@pytest.mark.parametrize("method", [*ONE_SIDED, *BOTH], ids=str)
def test_a_queue_shorter_than_the_batch_is_refused(method: Any) -> None:
    run = replace(recipe("mocov3_digits"), method=method)
    assert queue_of(method) == 64 == run.train.batch
    check(run)
    with pytest.raises(ConfigError, match=r"method.queue is 63, train.batch 64"):
        check(replace(run, method=replace(method, queue=63)))
    assert queue_of(MoCoV3()) == queue_of(Byol()) == 0


def test_the_twin_has_what_its_term_needs() -> None:
    twin = with_residual(replace(recipe("mocov3_digits"), method=MoCoV2(queue=64)))
    assert (twin.residual.weight, twin.residual.site, twin.method.same_view) == (1.0, "z", True)
    check(twin)


def test_pairs_of_a_kind_that_the_method_does_not_have_are_refused() -> None:
    run = with_residual(replace(recipe("mocov3_digits"), method=DenseCL(queue=64)))
    for kind in ("all", "global", "dense"):
        check(replace(run, residual=replace(run.residual, pairs=kind)))
    with pytest.raises(ConfigError, match=r"no same-view pairs 'local'; residual.pairs is one of all, global, dense"):
        check(replace(run, residual=replace(run.residual, pairs="local")))
    run = replace(recipe("mocov3_digits"), residual=Residual(1.0, "p", pairs="dense"))
    with pytest.raises(ConfigError, match="MoCo-v3 as it is set hands out no same-view pairs 'dense'"):
        check(run)
    check(replace(run, residual=replace(run.residual, weight=0.0)))
    local = Residual(1.0, "z", pairs="local")
    with pytest.raises(ConfigError, match="'local'"):
        check(replace(run, method=Dino(), residual=local))
    check(replace(run, method=Dino(local_pairs=True), residual=local))
    assert pair_kinds(Ibot(local_pairs=True)) == ("global", "patch", "local")
    assert pair_kinds(Ibot(patch_pairs=False, local_pairs=True)) == ("global", "local")
    assert pair_kinds(Ibot(patch_pairs=False)) == ("global",)
    assert pair_kinds(Dinov2()) == ("global",) and pair_kinds(Dinov2(patch_pairs=True)) == ("global", "patch")
    assert sites_of(Dinov2()) == ("h", "z", "logits") and sites_of(Dinov2(patch_pairs=True)) == ("h", "z")


@pytest.mark.parametrize("method", [*ONE_SIDED, MoCoV2(queue=64, symmetric=True)], ids=str)
class TestGroupsOfBatchNorm:
    def run(self, method: Any, groups: int, **train: int) -> Run:
        run = recipe("mocov3_digits")
        run = replace(run, method=replace(method, shuffle_bn=groups), train=replace(run.train, **train))
        assert groups_of(run.method) == groups
        return run

    def test_two_whole_groups_at_least(self, method: Any) -> None:
        for good in (0, 2, 16, 32):
            check(self.run(method, good))
        with pytest.raises(
            ConfigError, match=r"shuffle_bn is 64, train.batch 64: .* or train.batch to a multiple of 128"
        ):
            check(self.run(method, 64))
        with pytest.raises(ConfigError, match=r"shuffle_bn is 24, .* a multiple of 48; or set method.shuffle_bn to 0"):
            check(self.run(method, 24))

    @pytest.mark.parametrize("groups", [1, -8])
    def test_no_group_of_one(self, method: Any, groups: int) -> None:
        with pytest.raises(ConfigError, match=rf"shuffle_bn is {groups}; .* at least 2"):
            check(self.run(method, groups))

    def test_micro_batches_are_whole_groups(self, method: Any) -> None:
        check(self.run(method, 16, micro_batch=32))
        with pytest.raises(ConfigError, match=r"shuffle_bn is 16, train.micro_batch 24: .* a multiple of 16"):
            check(self.run(method, 16, micro_batch=24))

    def test_each_device_has_whole_groups(self, method: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("RANK", "0")
        monkeypatch.setenv("WORLD_SIZE", "4")
        check(self.run(method, 16))
        with pytest.raises(ConfigError, match=r"train.batch 64, 16 on each of 4 devices: .* a multiple of 128"):
            check(self.run(method, 32))


def test_other_methods_have_no_groups() -> None:
    assert groups_of(MoCoV3()) == groups_of(Byol()) == groups_of(NNCLREma()) == 0


def test_a_network_without_batch_norm_is_refused() -> None:
    run = recipe("mocov3_digits")
    run = replace(run, method=MoCoV2(queue=64, shuffle_bn=16), backbone=MoCoViT("tiny", image=32, patch=8))
    with pytest.raises(ConfigError, match=r"no BatchNorm .* set method.shuffle_bn to 0"):
        fresh_method(run, torch.device("cpu"))
