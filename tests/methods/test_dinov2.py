"""DINOv2 by its numbers: its losses, targets by Sinkhorn-Knopp and by centres, KoLeo, its heads, and that it learns."""

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier

import numpy as np
import pytest
import torch
from torch import Tensor

from resmom.data.order import Order
from resmom.losses.koleo import koleo
from resmom.losses.prototypes import over_chosen, over_hidden, sinkhorn
from resmom.losses.residual import Residual, residual_term
from resmom.methods.dinov2 import Dinov2, Dinov2Method
from resmom.nets.backbones import Backbone
from resmom.nets.vit import ViTBody
from resmom.train.optim import AdamW, Sgd, build_optimizer
from resmom.train.plan import Plan
from resmom.train.state import State, memory_of
from resmom.train.step import Rules, train_step
from resmom.types import Batch, numbered
from resmom.views.apply import views
from tests import oracle, toy
from tests.methods import golden
from tests.methods.test_golden import found_again, spread

CONFIG = Dinov2(16, 8, prototypes=10, patch_prototypes=7, frozen_epochs=0.0, temperature_epochs=0)
PLAN = Plan(lr=0.1, momentum=0.9, residual=1.0)
ALL = slice(0, 8)


def method(config: Dinov2 = CONFIG) -> Dinov2Method:
    """On a transformer of 4 x 4 patches that takes views of any size; centres not 0, a teacher of its own."""
    torch.manual_seed(0)
    made = Dinov2Method(Backbone(ViTBody(4, 1, 12, depth=1, heads=2), 12), config).double()
    with torch.no_grad():
        for centre in memory_of(made).values():
            centre.copy_(torch.randn(centre.shape))
        made.student.mask_token.copy_(torch.randn(1, 12))
        for p in made.teacher.parameters():
            p.add_(0.1 * torch.randn(p.shape).double())
    return made


def expected(made: Dinov2Method, given: Batch) -> dict[str, float]:
    """The terms, out of loops over every image and patch."""
    s, t = toy.said(made, given)
    masks = [mask.flatten().numpy() for mask in given.masks]
    classes = [e.logits.numpy() for e in t]
    hidden = [e.places.logits.numpy()[mask] for e, mask in zip(t, masks, strict=True)]
    if made.config.centring == "sinkhorn":
        of_class = np.split(oracle.sinkhorn(np.concatenate(classes), 0.07), 2)
        of_patches = np.split(oracle.sinkhorn(np.concatenate(hidden), 0.07), [len(hidden[0])])
    else:
        of_class = [np.stack([oracle.softmax((row - made.centre.numpy()) / 0.07) for row in x]) for x in classes]
        of_patches = [np.stack([oracle.softmax((row - made.patch_centre.numpy()) / 0.07) for row in x]) for x in hidden]
    cross = [
        oracle.assigned(of_class[i], s[j].logits.numpy()).mean() for i in range(2) for j in range(len(s)) if i != j
    ]
    kinds = ["global" if j < 2 else "local" for i in range(2) for j in range(len(s)) if i != j]
    patches = []
    for v in range(2):
        losses = oracle.assigned(of_patches[v], s[v].places.logits.numpy()[masks[v]])
        of_image = np.repeat(np.arange(8), 16)[masks[v]]
        means = [losses[of_image == image].mean() if (of_image == image).any() else 0.0 for image in range(8)]
        patches.append(np.mean(means))
    terms = {
        f"cross_entropy_{kind}": float(np.mean([x for x, k in zip(cross, kinds, strict=True) if k == kind]))
        for kind in dict.fromkeys(kinds)
    }
    return terms | {
        "cross_entropy_hidden": float(np.mean(patches)),
        "koleo": sum(oracle.koleo(e.h.numpy()) for e in s[:2]),
    }


@pytest.mark.parametrize("local", [0, 2])
@pytest.mark.parametrize("own", [0, 7])
@pytest.mark.parametrize("centring", ["sinkhorn", "mean"])
@pytest.mark.parametrize("patch_pairs", [False, True])
def test_the_losses_are_the_papers_formulas(local: int, own: int, centring: str, patch_pairs: bool) -> None:
    config = replace(
        CONFIG, patch_prototypes=own, centring=centring, class_weight=0.9, patch_weight=0.6, patch_pairs=patch_pairs
    )
    made, given = method(config), toy.masked(local)
    with torch.no_grad():
        outcome = made(given, made.teach(given), ALL)
    found = {term.name: term for term in outcome.terms}
    by_hand = expected(made, given)
    assert found.keys() == by_hand.keys()
    for name, value in by_hand.items():
        # Of KoLeo, whose 1e-8 beside the distances the formula has not, seven digits.
        assert found[name].value.item() == pytest.approx(value, rel=1e-6 if name == "koleo" else 1e-9), name
    shares = {"global": 2 / (2 + 2 * local), "local": 2 * local / (2 + 2 * local)}
    for name, term in found.items():
        kind = name.removeprefix("cross_entropy_")
        assert term.weight == pytest.approx({"hidden": 0.6, "koleo": 0.1}.get(kind, 0.9 * shares.get(kind, 0.0)))


def test_with_and_without_pairs_of_patches_it_is_the_same_method() -> None:
    """Bit for bit: pairs of patches only make the MLP see the others too."""
    results = []
    for patch_pairs in (False, True):
        made, given = method(replace(CONFIG, patch_pairs=patch_pairs)), toy.masked(2)
        state = State(made, build_optimizer(Sgd(), made.student))
        metrics = train_step(state, given, PLAN, Rules(Residual()))
        results.append((metrics["loss"], torch.cat([p.flatten() for p in made.parameters()])))
    torch.testing.assert_close(results[0], results[1], rtol=1e-12, atol=1e-13)


def test_sinkhorn_knopp_spreads_rows_over_prototypes() -> None:
    logits = torch.randn(9, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = sinkhorn(logits, 0.3)
    assert np.allclose(found.numpy(), oracle.sinkhorn(logits.numpy(), 0.3), rtol=1e-12)
    assert torch.allclose(found.sum(1), torch.ones(9, dtype=torch.float64))
    converged = sinkhorn(logits, 0.3, rounds=200)
    assert torch.allclose(converged.sum(0), torch.full((5,), 9 / 5, dtype=torch.float64), rtol=1e-9)
    assert sinkhorn(logits[:0], 0.3).shape == (0, 5)


def test_sinkhorn_knopp_of_logits_beyond_exponentials() -> None:
    """Against float64 by hand; one row lies far below the others, as large gains of prototypes would have it."""
    logits = torch.tensor([[4.0, -4.0, 0.0], [3.9, -4.0, 0.1], [-9.0, -8.0, -9.5]])  # / .04: e^100 and e^-237
    q = torch.exp((logits.double() - 4) / 0.04)
    for _ in range(3):
        q = q / q.sum(0)
        q = q / q.sum(1, keepdim=True)
    torch.testing.assert_close(sinkhorn(logits, 0.04).double(), q, rtol=1e-4, atol=1e-6)
    assert torch.equal(sinkhorn(logits.half(), 0.04), sinkhorn(logits.half().float(), 0.04))


class Exchange:
    """Two threads that put their tensors together, as ranks do."""

    def __init__(self) -> None:
        self.barrier, self.brought = Barrier(2), [torch.empty(0)] * 2

    def together(self, rank: int, mine: Tensor) -> Tensor:
        self.brought[rank] = mine
        self.barrier.wait(timeout=60)
        both = torch.stack(self.brought)
        self.barrier.wait(timeout=60)
        return both


@pytest.mark.parametrize("first", [0, 1, 4])
def test_sinkhorn_knopp_of_parts_is_that_of_the_whole(first: int) -> None:
    """Of two parts, one of which may have no row."""
    logits, exchange = torch.randn(6, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64), Exchange()

    def part(rank: int) -> Tensor:
        mine = logits[:first] if rank == 0 else logits[first:]
        return sinkhorn(
            mine,
            0.2,
            summed=lambda x: exchange.together(rank, x).sum(0),
            largest=lambda x: exchange.together(rank, x).amax(0),
        )

    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(part, range(2)))
    assert torch.allclose(torch.cat(found), sinkhorn(logits, 0.2), rtol=1e-12)


def test_koleo_by_hand() -> None:
    """Three directions at 0, 60 and 180 degrees: chords of 1 (twice) and of sqrt 3; lengths do not count."""
    h = torch.tensor([[2.0, 0.0], [0.5, 0.5 * math.sqrt(3)], [-3.0, 0.0]], dtype=torch.float64)
    assert koleo(h).item() == pytest.approx(-math.log(math.sqrt(3)) / 3, abs=1e-7)
    assert koleo(torch.ones(4, 3)).item() == pytest.approx(-math.log(1e-8 * (math.sqrt(3) + 1)), rel=1e-4)
    with pytest.raises(ValueError, match="KoLeo compares the images of a batch with each other, and here is 1"):
        koleo(h[:1])


def test_koleo_drives_neighbours_apart() -> None:
    h = torch.randn(6, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_(True)
    before = oracle.koleo(h.detach().numpy())
    koleo(h).backward()
    assert h.grad is not None and oracle.koleo((h - 0.05 * h.grad).detach().numpy()) < before
    assert torch.autograd.gradcheck(koleo, (h,), eps=1e-6, atol=1e-4)


def test_the_mean_over_chosen_places_is_that_over_hidden_ones() -> None:
    mask = toy.masked().masks[0]
    losses = torch.rand(mask.numel(), dtype=torch.float64)
    chosen = numbered(mask)
    assert torch.allclose(over_chosen(losses[chosen], chosen, mask), over_hidden(losses, mask).mean(), rtol=1e-12)
    nothing = torch.zeros_like(mask)
    assert over_chosen(losses[:0], numbered(nothing), nothing) == 0


def test_numbers_that_come_with_the_batch_are_used() -> None:
    given = toy.masked()
    counted = replace(given, hidden=tuple(numbered(mask) for mask in given.masks))
    made = method()
    with torch.no_grad():
        first, second = (made(x, made.teach(x), ALL) for x in (given, counted))
    for one, other in zip(first.terms, second.terms, strict=True):
        assert torch.equal(one.value, other.value)
    assert counted.hidden_places(1) is counted.hidden[1]
    assert counted.rows(ALL) is counted and not counted.rows(slice(0, 3)).hidden


def test_only_hidden_patches_meet_the_prototypes() -> None:
    made, given = method(), toy.masked()
    rows: list[int] = []
    made.student.patch_prototypes.register_forward_hook(lambda module, seen, out: rows.append(len(seen[0])))
    made(given, made.teach(given), ALL)
    assert rows == [int(mask.sum()) for mask in given.masks]


def test_nothing_hidden_is_no_loss_of_patches() -> None:
    for centring in ("sinkhorn", "mean"):
        made, given = method(replace(CONFIG, centring=centring)), toy.masked()
        given = replace(given, masks=tuple(torch.zeros_like(mask) for mask in given.masks))
        before = {name: value.clone() for name, value in memory_of(made).items()}
        state = State(made, build_optimizer(Sgd(), made.student))
        metrics = train_step(state, given, PLAN, Rules(Residual()))
        assert metrics["skipped"] == 0 and metrics["loss/cross_entropy_hidden"] == 0
        if centring == "mean":
            assert torch.equal(made.patch_centre, before["patch_centre"])
            assert not torch.equal(made.centre, before["centre"])


def test_centres_follow_images_and_hidden_patches() -> None:
    made, given = method(replace(CONFIG, centring="mean")), toy.masked()
    _, t = toy.said(made, given)
    images = torch.cat([e.logits for e in t]).mean(0)
    patches = torch.cat([e.places.logits[mask.flatten()] for e, mask in zip(t, given.masks, strict=True)]).mean(0)
    expected = [0.9 * made.centre + 0.1 * images, 0.9 * made.patch_centre + 0.1 * patches]
    train_step(State(made, build_optimizer(Sgd(), made.student)), given, PLAN, Rules(Residual()))
    torch.testing.assert_close(made.centre, expected[0], rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(made.patch_centre, expected[1], rtol=1e-10, atol=1e-12)
    assert memory_of(method()) == {}  # Sinkhorn-Knopp remembers nothing


def test_it_cannot_be_learnt_from_in_parts() -> None:
    made, given = method(), toy.masked()
    with pytest.raises(ValueError, match="of the whole batch: it cannot be learnt from in parts"):
        made(given, made.teach(given), slice(0, 4))


def test_its_chance_level_is_that_of_equal_logits() -> None:
    """With prototypes that are all the same the cross-entropies are their chance, whatever the class tokens do."""
    masks = replace(CONFIG.masks, share=1.0)
    made, given = method(replace(CONFIG, masks=masks, gains=False)), toy.masked()
    given = replace(
        given, masks=tuple(mask | (torch.arange(16).view(4, 4) == 3) for mask in given.masks)
    )  # some in all
    with torch.no_grad():
        for prototypes in (made.student.prototypes, made.student.patch_prototypes):
            prototypes.directions.weight.copy_(prototypes.directions.weight[:1].expand_as(prototypes.directions.weight))
        outcome = made(given, made.teach(given), ALL)
    total = sum(term.weight * term.value for term in outcome.terms)
    assert float(outcome.chance) == pytest.approx(total.item(), rel=1e-9)
    without = method(replace(CONFIG, koleo=0.0))
    with torch.no_grad():
        outcome = without(given, without.teach(given), ALL)
    assert outcome.chance == pytest.approx(math.log(10) + 0.5 * math.log(7)) and len(outcome.terms) == 2


@pytest.mark.parametrize("patch_pairs", [False, True])
def test_its_pairs(patch_pairs: bool) -> None:
    made, given = method(replace(CONFIG, patch_pairs=patch_pairs, local_pairs=True)), toy.masked(1)
    targets = made.teach(given)
    outcome = made(given, targets, ALL)
    names = ["global"] * 2 + ["patch"] * 2 * patch_pairs + ["local"]
    assert [pair.name for pair in outcome.pairs] == names
    for site in ("h", "z"):
        term = residual_term(outcome.pairs, Residual(1.0, site))
        distances = []
        for pair in outcome.pairs:
            ours, theirs = pair.student.at(site), pair.teacher.at(site)
            assert len(ours) == (128 if pair.name == "patch" else 8)
            distances.append(1 - torch.nn.functional.cosine_similarity(ours, theirs).mean())
        assert term.item() == pytest.approx(torch.stack(distances).mean().item(), rel=1e-9)


def test_prototypes_stand_still_at_first() -> None:
    made = method(replace(CONFIG, frozen_epochs=1.0))
    state = State(made, build_optimizer(AdamW(), made.student))
    heads = ("prototypes.", "patch_prototypes.")
    before = {name: p.clone() for name, p in made.student.named_parameters() if name.startswith(heads)}
    train_step(state, toy.masked(epoch=0.5), PLAN, Rules(Residual()))
    assert all(torch.equal(made.student.get_parameter(name), p) for name, p in before.items()) and len(before) == 4
    train_step(state, toy.masked(epoch=1.0), PLAN, Rules(Residual()))
    assert not any(torch.equal(made.student.get_parameter(name), p) for name, p in before.items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden": 0}, r"method.hidden is 0; it must be at least 1"),
        ({"koleo": -0.1}, r"method.koleo is -0.1; it must be 0 \(none\) or positive"),
        ({"teacher_temperature": 0.0}, r"method.teacher_temperature is 0.0; set it above 0"),
        ({"centre_momentum": 1.5}, r"method.centre_momentum is 1.5; it must be in \[0, 1\]"),
    ],
)
def test_settings_that_cannot_be_are_refused(change: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(CONFIG, **change)


@pytest.mark.slow
@pytest.mark.parametrize("residual", [0.0, 1.0])
def test_a_short_run_learns(residual: float) -> None:
    """Images are told apart across views, and KoLeo spreads them further than they were."""
    start, made = golden.start("dinov2"), golden.start("dinov2").train()
    state, order = State(made, build_optimizer(AdamW(weight_decay=0.01), made.student)), Order(32, 16, golden.SEED)
    pixels, losses = golden.images(), []
    for step in range(160):
        index, epoch = order.index(step), step // order.steps
        seen = views(pixels[index], index, golden.mild(), golden.SEED, epoch)
        given = Batch(seen, torch.from_numpy(index), golden.hidden("dinov2", index, epoch), step / order.steps)
        metrics = train_step(state, given, Plan(3e-3, 0.98, residual), Rules(Residual(residual, "z")))
        losses.append(metrics["loss/method"].item())
    assert np.mean(losses[-16:]) < 0.7 * losses[0]
    assert found_again(made) > found_again(start) + 12
    assert spread(made) > spread(start)
