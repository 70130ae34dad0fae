"""What is derived, as its user wants it."""

from dataclasses import replace

import pytest

from resmom.config import Run
from resmom.methods.densecl import DenseCL
from resmom.methods.mocov2 import MoCoV2
from resmom.recipes.facts import Facts, Limits
from resmom.runs.settling.offer import offered

FACTS = Facts(images=5_000, side=300, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.25))


def without_term(run: Run) -> Run:
    return replace(run, residual=replace(run.residual, weight=0.0))


def in_small_batches(run: Run) -> Run:
    return replace(run, train=replace(run.train, batch=64))


@pytest.mark.parametrize("method", [MoCoV2(), DenseCL()])
def test_pairs_that_the_term_alone_needs_go_when_it_is_left_out(method: MoCoV2 | DenseCL) -> None:
    facts = replace(FACTS, method=method)
    offer, run = offered(facts, Limits(), lambda run: run)
    assert isinstance(run.method, MoCoV2 | DenseCL) and run.method.same_view and run.residual.weight == 1
    for ask in (without_term, lambda run: in_small_batches(without_term(run))):
        _, other = offered(facts, Limits(), ask)
        assert other.residual.weight == 0 and other.method == replace(run.method, same_view=False)
    _, heavier = offered(facts, Limits(), lambda run: replace(run, residual=replace(run.residual, weight=2.0)))
    assert heavier.method == run.method
    own = replace(run.method, queue=128)  # who says more of the method says what pairs it has
    assert offered(facts, Limits(), lambda run: replace(without_term(run), method=own))[1].method == own
    assert offer.run == run


def test_of_other_methods_nothing_goes() -> None:
    _, run = offered(FACTS, Limits(), lambda run: run)
    assert offered(FACTS, Limits(), without_term)[1] == without_term(run)
