"""The linear probe: learns what is there, chooses without the test set, and agrees with logistic regression."""

from dataclasses import replace

import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from resmom.evaluate.linear import LinearScore, _at_edge, _train, linear_probe
from resmom.evaluate.settings import Linear

QUICK = Linear(lrs=(0.003, 0.03), weight_decays=(0.0, 1e-3), epochs=10)


def clusters(n: int, classes: int, d: int, apart: float, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    centres = apart * torch.randn(classes, d, generator=torch.Generator().manual_seed(99))
    labels = torch.randint(0, classes, (n,), generator=random)
    return centres[labels] + torch.randn(n, d, generator=random), labels


def probe(apart: float = 0.4, config: Linear = QUICK, scale: float = 1.0) -> LinearScore:
    (x, y), (tx, ty) = clusters(600, 7, 16, apart, 0), clusters(300, 7, 16, apart, 1)
    return linear_probe(scale * x, y, scale * tx, ty, config)


def test_clusters_far_apart_are_told_apart() -> None:
    found = probe(apart=5.0)
    assert found.score.top1 == 100.0 and found.score.top5 == 100.0 and found.validation == 100.0


def test_shuffled_labels_are_chance() -> None:
    (x, y), (tx, ty) = clusters(2000, 4, 16, 0.4, 0), clusters(2000, 4, 16, 0.4, 1)
    random = torch.Generator().manual_seed(2)
    # On both sides: with true test labels, a rule learnt from noise follows the clusters, and chance is no fair coin.
    found = linear_probe(
        x, y[torch.randperm(2000, generator=random)], tx, ty[torch.randperm(2000, generator=random)], QUICK
    )
    assert found.score.top1 == pytest.approx(25.0, abs=4.0)  # four standard errors
    assert found.score.top5 is None
    assert linear_probe(x, y, tx, ty, QUICK).score.top1 > 50


def test_the_test_set_has_no_part_in_the_choice() -> None:
    (x, y), (tx, ty) = clusters(600, 7, 16, 0.4, 0), clusters(300, 7, 16, 0.4, 1)
    honest = linear_probe(x, y, tx, ty, QUICK)
    wrong = linear_probe(x, y, 5 * tx.flip(0), (ty + 1) % 7, QUICK)
    assert (wrong.lr, wrong.weight_decay, wrong.validation) == (honest.lr, honest.weight_decay, honest.validation)
    assert wrong.score.top1 < honest.score.top1


def test_it_is_a_function_of_its_arguments() -> None:
    state = torch.get_rng_state()
    assert probe() == probe()
    assert torch.equal(torch.get_rng_state(), state)
    assert probe(config=replace(QUICK, seed=1)).validation != probe().validation


@torch.no_grad()
def test_the_layer_that_is_handed_out_has_the_score() -> None:
    """On features as they are, far from 0 and of several scales, one of them constant."""
    (x, y), (tx, ty) = clusters(600, 7, 16, 0.4, 0), clusters(300, 7, 16, 0.4, 1)
    x, tx = (torch.cat([3 + 50 * part, torch.full((len(part), 1), 0.3)], dim=1) for part in (x, tx))
    found = linear_probe(x, y, tx, ty, QUICK)
    votes = found.layer(tx)
    assert 20 < found.score.top1 < 100
    assert 100 * (votes.argmax(1) == ty).double().mean().item() == pytest.approx(found.score.top1, abs=1e-9)
    mean, deviation = x.double().mean(0), x.double().std(0, correction=0)
    standard = (found.layer.weight.double() * deviation)[:, :-1]
    assert found.layer.weight[:, -1].abs().max() == 0  # of the constant
    again = ((tx.double() - mean) / deviation)[:, :-1] @ standard.T
    bias = found.layer.bias.double() + found.layer.weight.double() @ mean
    torch.testing.assert_close(votes, (again + bias).float(), rtol=1e-4, atol=1e-4)


def test_the_scale_of_features_does_not_matter() -> None:
    plain = probe()
    for scale in (1024.0, 2.0**-20):
        assert probe(scale=scale) == plain
    assert probe(scale=1000.0).score.top1 == pytest.approx(plain.score.top1, abs=0.7)


def test_a_constant_feature_does_not_matter() -> None:
    (x, y), (tx, ty) = clusters(600, 7, 16, 0.4, 0), clusters(300, 7, 16, 0.4, 1)
    dead = torch.cat([x, torch.zeros(600, 1), torch.full((600, 1), 0.1)], 1)
    revived = torch.cat([tx, torch.randn(300, 2)], 1)  # what never varied in training is not learnt from
    found = linear_probe(dead, y, revived, ty, QUICK)
    assert found.score.top1 == pytest.approx(linear_probe(x, y, tx, ty, QUICK).score.top1, abs=0.7)


def test_unlabelled_images_are_left_out() -> None:
    (x, y), (tx, ty) = clusters(600, 7, 16, 0.4, 0), clusters(300, 7, 16, 0.4, 1)
    plain = linear_probe(x, y, tx, ty, QUICK)
    nowhere, none = torch.full((50, 16), 1e6), torch.full((50,), -1)
    more = linear_probe(
        torch.cat([x, nowhere]), torch.cat([y, none]), torch.cat([nowhere, tx]), torch.cat([none, ty]), QUICK
    )
    assert more == plain


def test_it_agrees_with_logistic_regression() -> None:
    digits = load_digits()
    random = torch.Generator().manual_seed(0)
    order = torch.randperm(len(digits.target), generator=random)  # the file goes writer by writer
    x, y = torch.tensor(digits.data, dtype=torch.float32)[order], torch.tensor(digits.target)[order]
    x = x + 6 * torch.randn(x.shape, generator=random)
    ours = linear_probe(x[:1000], y[:1000], x[1000:], y[1000:], Linear())
    mean, deviation = x[:1000].mean(0), x[:1000].std(0)
    standard = ((x - mean) / deviation).numpy()
    best = max(
        LogisticRegression(C=c, max_iter=2000).fit(standard[:1000], y[:1000]).score(standard[1000:], y[1000:])
        for c in (0.003, 0.01, 0.03, 0.1)
    )
    assert 60 < 100 * best < 95
    assert ours.score.top1 == pytest.approx(100 * best, abs=2.0)


def test_all_heads_at_once_are_each_head_alone() -> None:
    for lr in QUICK.lrs:
        for decay in QUICK.weight_decays:
            alone = probe(config=replace(QUICK, lrs=(lr,), weight_decays=(decay,)))
            together = probe()
            if (together.lr, together.weight_decay) == (lr, decay):
                assert alone.score.top1 == pytest.approx(together.score.top1, abs=0.7)
                assert not alone.at_edge
                return
    pytest.fail("the chosen pair is not in the grid")


def test_training_is_torch_sgd_with_a_cosine_and_no_decay_of_the_bias() -> None:
    x, y = clusters(40, 3, 5, 1.0, 0)
    x = torch.cat([x, torch.ones(40, 1)], 1)
    rows, grid = torch.arange(1, 39), [(0.05, 0.0), (0.3, 0.2)]
    heads, _ = _train(x, y, rows, 3, grid, 16, Linear(epochs=4, seed=5))
    for head, (lr, decay) in zip(heads, grid, strict=True):
        weight, bias = torch.zeros(5, 3, requires_grad=True), torch.zeros(3, requires_grad=True)
        groups = [{"params": [weight], "weight_decay": decay}, {"params": [bias], "weight_decay": 0.0}]
        optimiser = torch.optim.SGD(groups, lr=lr, momentum=0.9)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 8)
        random = torch.Generator().manual_seed(5)
        for _ in range(4):
            order = rows[torch.randperm(38, generator=random)]
            for chosen in (order[:16], order[16:32]):
                optimiser.zero_grad()
                torch.nn.functional.cross_entropy(x[chosen, :-1] @ weight + bias, y[chosen]).backward()
                optimiser.step()
                schedule.step()
        torch.testing.assert_close(head, torch.cat([weight, bias[None]]).detach(), rtol=1e-4, atol=1e-5)


def test_weight_decay_shrinks_towards_the_larger_class() -> None:
    x, y = clusters(600, 2, 16, 0.4, 0)
    y = torch.where(torch.arange(600) < 450, 0, y)
    strong = linear_probe(x, y, x, y, Linear(lrs=(0.1,), weight_decays=(1.0,), epochs=10))
    assert strong.score.top1 == pytest.approx(100 * (y == 0).double().mean().item(), abs=2.0)


def test_a_head_that_diverges_is_never_chosen() -> None:
    x, y = clusters(600, 3, 16, 0.4, 0)
    y = torch.where(torch.arange(600) < 560, 0, y)  # so that votes for class 0 alone would win
    found = linear_probe(x, y, x, y, replace(QUICK, lrs=(1e38, 0.01)))
    assert found.lr == 0.01
    with pytest.raises(ValueError, match="every learning rate"):
        linear_probe(x, y, x, y, replace(QUICK, lrs=(1e38,)))


def test_the_edge_of_the_grid_is_told() -> None:
    low = probe(config=replace(QUICK, lrs=(1e38, 0.01), weight_decays=(0.0,)))
    assert low.lr == 0.01 and low.at_edge
    assert "lr 0.01 and wd 0 chosen on" in low.score.protocol and "at the edge of the grid" in low.score.protocol
    only = probe(config=replace(QUICK, lrs=(0.01,), weight_decays=(0.0,)))
    assert not only.at_edge and "edge" not in only.score.protocol


@pytest.mark.parametrize(
    ("lr", "decay", "edge"),
    [(0.01, 0.0, True), (0.1, 1e-3, True), (0.03, 0.0, False), (0.03, 1e-3, False), (0.03, 1e-2, True)],
)
def test_the_ends_of_a_grid_in_any_order(lr: float, decay: float, edge: bool) -> None:
    config = Linear(lrs=(0.03, 0.1, 0.01), weight_decays=(1e-3, 1e-2, 0.0))
    assert _at_edge(config, lr, decay) == edge
    without = replace(config, weight_decays=(1e-3, 1e-2, 1e-4))
    assert _at_edge(without, 0.03, 1e-4)


def test_the_protocol_says_what_was_done() -> None:
    protocol = probe().score.protocol
    for said in ("linear-v1", "standardised by the training set", "10 epochs", "trained on 600", "tested on 300"):
        assert said in protocol


def test_what_cannot_be_probed_is_refused() -> None:
    x, y = clusters(40, 3, 4, 1.0, 0)
    with pytest.raises(ValueError, match="got 0 and 40"):
        linear_probe(x, torch.full((40,), -1), x, y, QUICK)
    with pytest.raises(ValueError, match="1 of 40 test images"):
        linear_probe(x, y, x.clone().index_fill_(0, torch.tensor([3]), torch.nan), y, QUICK)
    with pytest.raises(ValueError, match="no class has two"):
        linear_probe(x[:3], torch.arange(3), x, y, QUICK)
    for wrong in ({"lrs": ()}, {"lrs": (0.0,)}, {"weight_decays": (-1.0,)}, {"epochs": 0}, {"batch": 0}):
        with pytest.raises(ValueError, match="at least"):
            replace(QUICK, **wrong)
