"""iBOT by its numbers: both losses, what the student sees, two centres, the patches' pairs, and that it learns."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from timm.models.vision_transformer import VisionTransformer

from resmom.data.order import Order
from resmom.diagnose.gap import gaps
from resmom.export.weights import exported
from resmom.losses.cosine import cosine_distance
from resmom.losses.prototypes import over_hidden
from resmom.losses.residual import Residual, residual_term
from resmom.methods.ibot import Ibot, IbotMethod
from resmom.nets.backbones import Backbone, DinoViT
from resmom.nets.teacher import twins
from resmom.nets.vit import ViTBody
from resmom.train.optim import AdamW, Sgd, build_optimizer
from resmom.train.plan import Plan
from resmom.train.state import State
from resmom.train.step import Rules, total_loss, train_step
from resmom.types import Batch, Encoding
from resmom.views.apply import views
from tests import oracle, toy
from tests.methods import golden
from tests.methods.test_golden import found_again, spread

CONFIG = Ibot(hidden=16, out=8, prototypes=10, frozen_epochs=0.0, temperature_epochs=0)
PLAN = Plan(lr=0.1, momentum=0.9, residual=1.0)
ALL = slice(0, 8)


def method(config: Ibot = CONFIG) -> IbotMethod:
    """iBOT on a transformer of 4 x 4 patches that takes views of any size; centres not 0, a teacher of its own."""
    torch.manual_seed(0)
    made = IbotMethod(Backbone(ViTBody(4, 1, 12, depth=1, heads=2), 12), config).double()
    with torch.no_grad():
        for centre in (made.centre, made.patch_centre):
            centre.copy_(torch.randn(centre.shape))
        made.student.mask_token.copy_(torch.randn(1, 12))
        for p in made.teacher.parameters():
            p.add_(0.1 * torch.randn(p.shape).double())
    return made


def patches(encodings: list[Encoding]) -> list[np.ndarray]:
    """Logits of images x places x prototypes."""
    return [e.places.logits.unflatten(0, (len(e.h), -1)).numpy() for e in encodings[:2]]


@pytest.mark.parametrize("local", [0, 2])
@pytest.mark.parametrize("own", [0, 7])
def test_the_loss_is_the_papers_formula(local: int, own: int) -> None:
    config = replace(CONFIG, patch_prototypes=own, class_weight=0.9, patch_weight=0.6, patch_temperature=0.05)
    made, given = method(config), toy.masked(local)
    s, t = toy.said(made, given)
    of_class = oracle.dino([e.logits.numpy() for e in s], [e.logits.numpy() for e in t], made.centre.numpy(), 0.1, 0.07)
    masks = [mask.flatten(1).numpy() for mask in given.masks]
    of_patches = oracle.ibot(patches(s), patches(t), masks, made.patch_centre.numpy(), 0.05)
    with torch.no_grad():
        outcome = made(given, made.teach(given), ALL)
    terms = {term.name: term for term in outcome.terms}
    assert terms["cross_entropy_hidden"].value.item() == pytest.approx(of_patches, rel=1e-12)
    total = sum(term.weight * term.value.item() for term in outcome.terms)
    assert total == pytest.approx(0.9 * of_class + 0.6 * of_patches, rel=1e-12)


def test_hidden_places_by_hand() -> None:
    """Means of an image's hidden places: (1 + 4) / 2, none, 12; what is not hidden does not count."""
    losses = torch.tensor([1.0, 9.0, 4.0, 9.0, 9.0, 9.0, 9.0, 9.0, 9.0, 9.0, 9.0, 12.0], requires_grad=True)
    hidden = torch.zeros(3, 2, 2, dtype=torch.bool)
    hidden[0, :, 0], hidden[2, 1, 1] = True, True
    found = over_hidden(losses, hidden)
    assert found.tolist() == [2.5, 0.0, 12.0]
    found.sum().backward()
    assert losses.grad is not None
    assert losses.grad.tolist() == [0.5, 0.0, 0.5, 0, 0, 0, 0, 0, 0, 0, 0, 1.0]


@torch.no_grad()
def test_the_student_does_not_see_what_is_hidden_and_the_teacher_does() -> None:
    made, given = method(), toy.masked()
    hidden = given.masks[0]
    other = torch.where(hidden[:, None], torch.randn(8, 3, 4, 4).double(), given.views[0])
    changed = replace(given, views=(other, given.views[1]))
    (before, after), (t_before, t_after) = zip(toy.said(made, given), toy.said(made, changed), strict=True)
    torch.testing.assert_close(before[0].logits, after[0].logits)
    torch.testing.assert_close(before[0].places.z, after[0].places.z)
    seen = hidden.flatten(1).any(1)
    assert ((t_before[0].logits - t_after[0].logits).norm(dim=1) > 1e-3).equal(seen)


@torch.no_grad()
def test_unmasked_the_network_is_a_plain_encoder() -> None:
    """Measurements and export see the whole view; the mask token is no part of the backbone, nor of the teacher."""
    made, given = method(), toy.masked()
    for network in (made.student, made.teacher):
        found = network(given.views[0])
        tokens, h = network.backbone(given.views[0])
        assert found.places is None and found.sites == ("h", "z", "logits")
        assert torch.equal(found.h, h) and torch.equal(h, tokens[:, 0])
        places = network(given.views[0], patches=True).places
        torch.testing.assert_close(places.h, tokens[:, 1:].flatten(0, 1))
        torch.testing.assert_close(places.logits, network.prototypes(network.projector(places.h)))
    names = {name for name, _ in made.student.named_parameters()} - {n for n, _ in made.teacher.named_parameters()}
    assert names == {"mask_token"}
    start = IbotMethod(made.student.backbone, CONFIG)
    assert twins(start.teacher, start.student) and not start.student.mask_token.any()


@torch.no_grad()
def test_exported_weights_are_those_of_timms_transformer() -> None:
    made = method().float()
    for network in (made.student, made.teacher):
        plain = VisionTransformer(4, 1, embed_dim=12, depth=1, num_heads=2, num_classes=0).eval()
        plain.load_state_dict(exported(network.state_dict(), DinoViT("tiny", image=4, patch=1)), strict=True)
        view = toy.masked().views[0].float()
        torch.testing.assert_close(plain(view), network.eval()(view).h)


@torch.no_grad()
def test_rows_of_an_encoding_take_their_places_along() -> None:
    made, given = method(), toy.masked()
    whole = made.teacher(given.views[0], patches=True)
    some = made.teacher(given.views[0][2:5], patches=True)
    torch.testing.assert_close(whole.rows(slice(2, 5)).places.logits, some.places.logits)
    assert torch.equal(whole.rows(slice(6, 99)).places.h, whole.places.h[96:])


@pytest.mark.parametrize("own", [0, 7])
def test_both_centres_follow_the_teachers_means(own: int) -> None:
    made, given = method(replace(CONFIG, patch_prototypes=own, patch_centre_momentum=0.8)), toy.masked(1)
    centre, patch_centre = made.centre.clone(), made.patch_centre.clone()
    _, t = toy.said(made, given)
    state = State(made, build_optimizer(Sgd(), made.student))
    train_step(state, given, PLAN, Rules(Residual(), micro_batch=3))
    torch.testing.assert_close(made.centre, 0.9 * centre + 0.1 * torch.cat([e.logits for e in t]).mean(0))
    mean = torch.cat([e.places.logits for e in t]).mean(0)
    torch.testing.assert_close(made.patch_centre, 0.8 * patch_centre + 0.2 * mean)


def test_a_skipped_step_leaves_both_centres() -> None:
    made, given = method(), toy.masked()
    before = {name: value.clone() for name, value in made.state_dict().items()}
    given.views[1][3] = math.nan
    state = State(made, build_optimizer(Sgd(), made.student))
    assert train_step(state, given, PLAN, Rules(Residual(1.0, "z")))["skipped"] == 1
    assert all(torch.equal(value, before[name]) for name, value in made.state_dict().items())


def test_temperatures_of_class_and_patches_rise_by_whole_epochs() -> None:
    config = replace(CONFIG, temperature_epochs=4, patch_warmup_temperature=0.02, patch_temperature=0.05)
    made, given = method(config), toy.masked(epoch=1.5)
    s, t = toy.said(made, given)
    masks = [mask.flatten(1).numpy() for mask in given.masks]
    expected = oracle.dino([e.logits.numpy() for e in s], [e.logits.numpy() for e in t], made.centre.numpy(), 0.1, 0.05)
    expected += oracle.ibot(patches(s), patches(t), masks, made.patch_centre.numpy(), 0.03)
    with torch.no_grad():
        outcome = made(given, made.teach(given), ALL)
    assert sum(term.weight * term.value.item() for term in outcome.terms) == pytest.approx(expected, rel=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("micro", [1, 3, 5])
@pytest.mark.parametrize("distance", ["cosine", "kd_relation"])
def test_accumulation_is_exact(micro: int, distance: str) -> None:
    """However many patches are hidden in the images of a micro-batch, none in some of them."""
    results = []
    for size in (0, micro):
        made = method(replace(CONFIG, patch_prototypes=7))
        state = State(made, build_optimizer(Sgd(), made.student))
        for step in range(3):
            rules = Rules(Residual(1.5, "z", distance=distance), micro_batch=size)
            metrics = train_step(state, toy.masked(2, seed=step), PLAN, rules)
        results.append(torch.cat([metrics["loss"][None], *(p.flatten() for p in made.state_dict().values())]))
    assert (results[0] - results[1]).norm() <= 1e-10 * results[0].norm()


@pytest.mark.parametrize("gated", [False, True])
def test_frozen_prototypes_do_not_move_and_all_else_does(gated: bool) -> None:
    made = method(replace(CONFIG, frozen_epochs=1.0, gains=True, patch_prototypes=7))
    state = State(made, build_optimizer(AdamW(), made.student, gated=gated))
    start = {name: p.clone() for name, p in made.student.named_parameters()}
    still = {name for name in start if "prototypes." in name}
    assert len(still) == 4
    for step in range(4):
        train_step(state, toy.masked(seed=step, epoch=step / 2), PLAN, Rules(Residual(), gated=gated))
        moved = {name for name, p in made.student.named_parameters() if not torch.equal(p, start[name])}
        assert moved >= start.keys() - still
        assert not moved & still if step < 2 else moved >= still, step


def test_pairs_are_the_same_view_with_a_masked_input() -> None:
    made, given = method(), toy.masked(1)
    outcome = made(given, made.teach(given), slice(2, 5))
    s, t = toy.said(made, given)
    assert [pair.name for pair in outcome.pairs] == ["global", "global", "patch", "patch"]
    for view in range(2):
        whole, places = outcome.pairs[view], outcome.pairs[2 + view]
        torch.testing.assert_close(whole.student.z, s[view].z[2:5])
        torch.testing.assert_close(whole.teacher.z, t[view].z[2:5])
        torch.testing.assert_close(places.student.h, s[view].places.h[32:80])
        torch.testing.assert_close(places.teacher.logits, t[view].places.logits[32:80])
        torch.testing.assert_close(places.bank.z, t[view].places.z)
    assert len(outcome.encodings) == 2
    more, given = method(replace(CONFIG, local_pairs=True)), toy.masked(local=2)
    targets = more.teach(given)
    outcome = more(given, targets, ALL)
    assert [pair.name for pair in outcome.pairs] == ["global", "global", "patch", "patch", "local", "local"]
    with torch.no_grad():
        for pair, view in zip(outcome.pairs[4:], given.views[2:], strict=True):  # local views are not masked
            torch.testing.assert_close(pair.student.z, more.student(view).z)
            torch.testing.assert_close(pair.teacher.logits, more.teacher(view).logits)
    plain = method(CONFIG)
    plain.load_state_dict(more.state_dict())
    without = plain(given, plain.teach(given), ALL)
    for one, other in zip(outcome.memory, without.memory, strict=True):  # the centres are of the global views alone
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    torch.testing.assert_close(outcome.terms[0].value, without.terms[0].value, rtol=0, atol=0)
    fewer = method(replace(CONFIG, patch_pairs=False))
    assert [pair.name for pair in fewer(given, fewer.teach(given), ALL).pairs] == ["global", "global"]


def test_the_term_is_the_mean_over_pairs_of_images_and_of_places() -> None:
    made, given = method(), toy.masked()
    outcome = made(given, made.teach(given), ALL)
    each = [cosine_distance(pair.student.z, pair.teacher.z) for pair in outcome.pairs]
    term = residual_term(outcome.pairs, Residual(1.0, "z"))
    torch.testing.assert_close(term, torch.stack(each).mean())
    cross = residual_term(outcome.pairs, Residual(1.0, "z", "cross"))  # a place has no partner on another view
    torch.testing.assert_close(cross, residual_term(outcome.pairs[:2], Residual(1.0, "z", "cross")))
    total, parts = total_loss(outcome, Residual(1.0, "z"), 0.5)
    torch.testing.assert_close(total, parts["loss/method"] + 0.5 * term)


def test_gaps_of_places_have_no_other_view() -> None:
    made, given = method(), toy.masked()
    outcome = made(given, made.teach(given), ALL)
    found = gaps(outcome.pairs[2:], "z")
    s, t = outcome.pairs[2].student.z.detach().numpy(), outcome.pairs[2].teacher.z.numpy()
    chance = [1 - oracle.cos(s[i], t[j]) for i in range(len(s)) for j in range(len(t)) if i // 16 != j // 16]
    assert found.inter is None and gaps(outcome.pairs[:2], "z").inter is not None
    assert gaps(outcome.pairs[2:3], "z").chance.item() == pytest.approx(np.mean(chance), rel=1e-10)
    state = State(made, build_optimizer(Sgd(), made.student))
    metrics = train_step(state, given, PLAN, Rules(Residual()), measure=True)
    assert {"gap/z/inter", "gap/patch/h/intra", "gap/patch/z/chance", "gap/patch/logits/intra"} < metrics.keys()
    assert "gap/patch/z/inter" not in metrics


def test_chance_is_what_equal_logits_give() -> None:
    """On average over masks: half of the views are masked, and the others have no loss of patches."""
    made, given = method(replace(CONFIG, patch_prototypes=7, class_weight=0.5, patch_weight=2.0)), toy.masked(2)
    with torch.no_grad():
        for prototypes in (made.student.prototypes, made.student.patch_prototypes):
            prototypes.directions.weight.fill_(1.0)
        outcome = made(given, made.teach(given), ALL)
    values = {term.name: term.value.item() for term in outcome.terms}
    masked = torch.stack(given.masks).flatten(2).any(2).double().mean().item()
    assert values["cross_entropy_global"] == pytest.approx(math.log(10)) == values["cross_entropy_local"]
    assert values["cross_entropy_hidden"] == pytest.approx(masked * math.log(7))
    assert outcome.chance == pytest.approx(0.5 * math.log(10) + 2.0 * 0.5 * math.log(7))


def run(residual: float, steps: int = 80) -> tuple[list[float], IbotMethod]:
    """A short run with AdamW on the golden images: the method's loss at every step, and the method."""
    made = golden.start("ibot").train()
    assert isinstance(made, IbotMethod)
    state, order = State(made, build_optimizer(AdamW(weight_decay=0.01), made.student)), Order(32, 16, golden.SEED)
    pixels, losses = golden.images(), []
    for step in range(steps):
        index, epoch = order.index(step), step // order.steps
        seen = views(pixels[index], index, golden.mild(), golden.SEED, epoch)
        given = Batch(seen, torch.from_numpy(index), golden.hidden("ibot", index, epoch), step / order.steps)
        metrics = train_step(state, given, Plan(3e-3, 0.98, residual), Rules(Residual(residual, "z")))
        losses.append(metrics["loss/method"].item())
    return losses, made


@pytest.mark.slow
@pytest.mark.parametrize("residual", [0.0, 1.0])
def test_a_short_run_learns(residual: float) -> None:
    """Images are told apart across views.

    The loss starts low, where networks that are equal agree on everything, and falls after the centres have moved in.
    """
    start = golden.start("ibot")
    losses, made = run(residual)
    assert np.mean(losses[-16:]) < min(0.92 * max(losses), made.chance + 0.1)
    assert found_again(made) > found_again(start) + 12
    assert spread(made) > 0.2


@pytest.mark.parametrize(
    "change",
    [
        {"hidden": 0},
        {"patch_prototypes": -1},
        {"teacher_temperature": 0.0},
        {"patch_warmup_temperature": math.nan},
        {"patch_centre_momentum": 1.5},
        {"patch_weight": -1.0},
        {"frozen_epochs": -0.5},
    ],
)
def test_impossible_settings_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"method.*{next(iter(change))}"):
        Ibot(**change)


def test_other_backbones_are_refused() -> None:
    with pytest.raises(ValueError, match="Vision Transformer alone, and Pooled is none of ours"):
        IbotMethod(Backbone(toy.Pooled(), 12), CONFIG)
